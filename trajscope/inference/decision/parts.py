"""The verdict in three parts, noise, course and rest: its code, its numbers, its words."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from trajscope.errors import printable
from trajscope.inference.course.apart import FEWEST_BLOCKS, Found
from trajscope.inference.course.clock import NoiseCourse
from trajscope.inference.course.rest import FEWEST_TIMES
from trajscope.inference.decision.settings import Decision
from trajscope.inference.decision.words import Run, number, p_text
from trajscope.kernels.gram import Floats

_ONE_WAY: Final = 0.9
"""Share of the course's squares along one direction, from which it is called straight."""
_BRIEF: Final = 0.2
_SAME: Final = 1.5
"""Ratio of the last noise variance to the first, up to which noise neither falls nor rises."""
_SLOWING: Final = 0.5
_FIRST: Final = {
    "course": "Follows a slow course; {rest} about it.",
    "anomalous": "Diffuses anomalously, without a time scale.",
    "alternating": "Alternates from one checkpoint to the next, as at the edge of stability.",
    "brownian": "Indistinguishable from Brownian motion.",
    "confined": "Confined: mean-reverting.",
    "circulating": "Circulates: the path is confined and rotates in one direction on average.",
    "drifting": "Drifts in one direction; a random walk besides.",
}
"""First sentences of verdicts that the first procedure did not come to."""
_STEADY_BUT_FOR_NOISE: Final = "The noise variance changes; {rest} in the noise's own time."
_IN_A_WORD: Final = {
    "brownian": "a random walk",
    "confined": "confined",
    "circulating": "circulating",
    "anomalous": "anomalous",
    "alternating": "alternating",
    "unknown": "unknown",
}
_ANSWERED: Final = ("brownian", "circulating", "oscillating")
"""Verdicts of a steady path, by tests that nothing slow or changing can pass."""
_STEADY: Final = (*_ANSWERED, "confined")
_UNASKED: Final = ("few", "still", "rounding")
"""Reasons for which a window cannot be taken apart either."""


def is_worth_taking_apart(decision: Decision) -> bool:
    """Whether a course or noise that changes may hide what the path does besides."""
    is_tested = decision.draws is not None and decision.reason not in _UNASKED
    return is_tested and decision.code not in _ANSWERED


def is_told_already(decision: Decision, found: Found) -> bool:
    """Whether a window taken apart shows no more than the first procedure: one steady state."""
    return decision.code == "confined" and not found.count and found.rest.code in _STEADY


def code_of(decision: Decision, found: Found, burn_in: float = 0.0) -> str:
    """The verdict's code, of the first procedure and of the window taken apart.

    A steady verdict stays, unless positions follow a course, and noise that changes where there is
    none. Where a course or persistence ended the first procedure, it is what the rest does;
    "course" where the path follows one that is more than a drift in one direction, or than a brief
    beginning.

    Parameters
    ----------
    burn_in :
        Share of the window after which the rest is one steady state, 0 where there is none.
    """
    code, rest = decision.code, found.rest.code
    if rest == "unknown" or 0 < burn_in <= _BRIEF:
        return code
    if rest == "anomalous" or (rest == "alternating" and found.count == 0):
        return rest
    if code == "drifting" and rest == "brownian":
        return code if found.count < 2 or found.directions[0] >= _ONE_WAY else "course"
    if found.count == 0:
        return rest if code == "too_short" else code
    return "drifting" if found.count == 1 and rest == "brownian" else "course"


def numbers(
    decision: Decision,
    found: Found | None,
    followed: NoiseCourse | None,
    run: Run,
    layers: Mapping[str, float],
) -> dict[str, object]:
    """The objects "noise", "course" and "rest" of a verdict, times in the run's unit.

    Parameters
    ----------
    followed :
        Noise that follows the learning rate, though no test sees it change.
    layers :
        Share of the course's squares in every layer.
    """
    p = decision.evidence
    course_of_noise = followed or (found.noise if found and "change" in p else None)
    known = run.learning_rate is not None and bool(np.isfinite(run.learning_rate).any())
    noise: dict[str, object] = {
        "changes": "change" in p or followed is not None,
        "p_value": p.get("noise_scale"),
        "follows_rate": bool(course_of_noise and course_of_noise.kind == "rate") if known else None,
    }
    if course_of_noise:
        steps = [run.steps[place].item() for place in course_of_noise.places]
        kind, ratio = course_of_noise.kind, course_of_noise.ratio
        noise |= {"kind": kind, "ratio": ratio, "change_steps": steps}
    if found is None:
        return {"noise": noise, **_as_it_is(decision, run)}
    spacing = run.spacing or 1.0
    course = {
        "components": found.count,
        "share": found.share,
        "p_value": min(found.slow.p_value, found.rest.evidence.get("course_of_positions", 1.0)),
        "time": _time(found) if found.count else None,
        "one_direction": bool(found.count and found.directions[0] >= _ONE_WAY),
        "speed_ratio": found.speed_ratio if found.count else None,
        "layers": dict(layers),
    }
    evidence = found.rest.evidence
    time = evidence.get("correlation_time")
    exponent = evidence.get("exponent")
    rest = {
        "code": found.rest.code,
        "reason": found.rest.reason,
        "p_value": evidence.get("brownian"),
        "correlation_time": None if time is None else time * spacing,
        "exponent": exponent,
        "exponent_interval": None
        if exponent is None
        else [evidence["exponent_low"], evidence["exponent_high"]],
        "blocks": int(evidence["blocks"]),
    }
    return {"noise": noise, "course": course, "rest": rest}


def _time(found: Found) -> str:
    """What the functions of a course are of."""
    c = found.slow.time_constant
    return "linear" if c == 0 else "logarithmic" if c > 0 else "exponential"


def _as_it_is(decision: Decision, run: Run) -> dict[str, object]:
    """The course and the rest of a window that was not taken apart."""
    if decision.code not in _STEADY:
        return {"course": None, "rest": None}
    p = decision.evidence
    time = p.get("correlation_time")
    rest = {
        "code": decision.code,
        "reason": "",
        "p_value": p["brownian"],
        "correlation_time": None if time is None else time * (run.spacing or 1.0),
        "exponent": None,
        "exponent_interval": None,
        "blocks": len(run.steps) - 1,
    }
    return {"course": {"components": 0, "share": 0.0, "layers": {}}, "rest": rest}


def in_words(  # noqa: PLR0913 - a sentence is made of as much
    decision: Decision,
    found: Found,
    run: Run,
    layers: Mapping[str, float],
    code: str,
    sentence: str,
    *,
    followed: NoiseCourse | None = None,
) -> str:
    """The sentence of the verdict, and one each on noise that changes, a course, and the rest.

    Parameters
    ----------
    code :
        That of `code_of`.
    sentence :
        Of the first procedure.
    followed :
        Noise that follows the learning rate, though no test sees it change.
    """
    changes = "change" in decision.evidence
    is_new = code != decision.code
    noise = [of_noise(found.noise, run, decision.evidence["noise_scale"])] if changes else []
    noise += [of_noise(followed, run)] if followed is not None else []
    if not is_new and not changes and not found.count and code in ("confined", "drifting"):
        return " ".join([sentence, *noise])
    first = _FIRST[code].format(rest=_IN_A_WORD[found.rest.code]) if is_new else sentence
    if code == "noise_scale_changes" and found.rest.code != "unknown":
        first = _STEADY_BUT_FOR_NOISE.format(rest=_IN_A_WORD[found.rest.code])
    rest = _of_rest(found, run, in_noise_time=changes)
    return " ".join([first, *noise, _of_course(found, layers), rest])


def of_noise(noise: NoiseCourse, run: Run, p_value: float | None = None) -> str:
    """The sentence on noise that changes, with the p-value of the test that saw it, if one did."""
    ratio = noise.ratio
    p = "" if p_value is None else f" (p = {p_text(p_value)})"
    way, by = "falls" if ratio < 1 else "rises", max(ratio, 1 / ratio)
    if noise.kind == "steps":
        places = " and ".join(run.place(place) for place in noise.places)
        in_all = " in all" if len(noise.places) > 1 else ""
        how = f"{way} {number(by)}-fold{in_all}," if by >= _SAME else "ends as it began, with steps"
        return f"Noise: its variance {how} at {places}{p}."
    over = " over the window"
    if by < _SAME or p_value is None:
        widest = float((noise.scale.max() / noise.scale.min()) ** 2)
        way, by, over = "varies", widest, " between its extremes"
    if noise.kind == "rate":
        return f"Noise: its variance {way} {number(by)}-fold, as the squared learning rate does{p}."
    return f"Noise: its variance {way} gradually, {number(by)}-fold{over}{p}."


def _of_course(found: Found, layers: Mapping[str, float]) -> str:
    if not found.count:
        return "Course: none found."
    share = f"{100 * found.share:.0f}% of the squared movement"
    form = "in one direction" if found.directions[0] >= _ONE_WAY else "curved"
    slowing = ""
    if found.speed_ratio < _SLOWING:
        slowing = f", {number(1 / found.speed_ratio, 2)} times slower in the second half"
    elif found.speed_ratio > 1 / _SLOWING:
        slowing = f", {number(found.speed_ratio, 2)} times faster in the second half"
    where = ""
    if len(layers) > 1:
        most = max(layers, key=lambda name: layers[name])
        where = f"; most of it in '{printable(most, limit=40)}' ({100 * layers[most]:.0f}%)"
    count = "one slow component" if found.count == 1 else f"{found.count} slow components"
    return f"Course: {count}, {share}, {form}{slowing}{where}."


def _of_rest(found: Found, run: Run, *, in_noise_time: bool) -> str:
    parts = ["about the course"] * (found.count > 0) + ["in the noise's own time"] * in_noise_time
    when = f" ({', '.join(parts)})" if parts else ""
    unit = "blocks of equal noise time" if in_noise_time else "intervals"
    blocks = int(found.rest.evidence["blocks"])
    if found.rest.code == "unknown":
        return f"Rest{when}: {_unknown(found, run, f'{blocks} {unit}')}"
    said = _RESTS[found.rest.code](found.rest.evidence, run)
    return f"Rest{when}: {said}. Judged by {blocks} {unit}."


def _walk(evidence: Mapping[str, float], run: Run) -> str:
    over = f" over {run.length(evidence['block'])} and more" if evidence["block"] > 1 else ""
    p = f"p = {p_text(evidence['brownian'])}"
    if "departure" in evidence:
        size = number(evidence["departure"], 2)
        return f"all but a random walk{over}: no variance ratio is further than {size} off ({p})"
    return f"a random walk{over} ({p})"


def _anomalous(evidence: Mapping[str, float], run: Run) -> str:
    del run
    power, low, high = (
        number(2 * evidence[f"exponent{edge}"], 2) for edge in ("", "_low", "_high")
    )
    return f"the squared displacement grows as time to the power {power} ({low} to {high})"


def _confined(evidence: Mapping[str, float], run: Run) -> str:
    return f"confined, correlation time {run.length(evidence['correlation_time'])}"


def _circulating(evidence: Mapping[str, float], run: Run) -> str:
    p = p_text(evidence["circulation"])
    time = run.length(evidence["correlation_time"])
    return f"confined and circulating (p = {p}), correlation time {time}"


def _alternating(evidence: Mapping[str, float], run: Run) -> str:
    del run
    turns, p = number(evidence["turns"], 2), p_text(evidence["alternation"])
    return f"one direction turns over at every checkpoint (correlation {turns}, p = {p})"


_RESTS: Final = {
    "alternating": _alternating,
    "brownian": _walk,
    "anomalous": _anomalous,
    "confined": _confined,
    "circulating": _circulating,
}


def _unknown(found: Found, run: Run, held: str) -> str:
    if found.rest.reason == "few":
        return f"cannot be judged, the window holds {held} and {FEWEST_BLOCKS} are needed."
    if found.rest.reason == "correlation_time":
        time = run.length(found.rest.evidence["correlation_time"])
        return (
            f"mean-reverting with a correlation time of {time}, of which the window holds fewer "
            f"than {FEWEST_TIMES}."
        )
    return "increments stay alike over every time scale of the window."


def shares(found: Found, layers: Mapping[str, Floats]) -> dict[str, float]:
    """Of the course's squares, what each layer holds.

    Parameters
    ----------
    layers :
        Increments by layer, (interval, component).
    """
    if not found.count:
        return {}
    squares = {name: float((found.course_of(y) ** 2).sum()) for name, y in layers.items()}
    total = sum(squares.values())
    return {name: each / total for name, each in squares.items()} if total > 0 else {}
