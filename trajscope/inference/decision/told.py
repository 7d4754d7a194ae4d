"""The verdict in three parts, noise, course and rest, in words."""

from collections.abc import Mapping
from typing import Final

from trajscope.errors import printable
from trajscope.inference.course.apart import FEWEST_BLOCKS, Found
from trajscope.inference.course.clock import NoiseCourse
from trajscope.inference.course.rest import FEWEST_TIMES
from trajscope.inference.decision.settings import Decision
from trajscope.inference.decision.words import Run, number, p_text

_SAME: Final = 1.5
"""Ratio of the last noise variance to the first, up to which noise neither falls nor rises."""
_TURNS: Final = 4
"""Largest ratio of two noise variances over that of the ends, from which noise falls and rises."""
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
SMOOTH: Final = "Follows a slow course, smoothly: no noise is to be seen."
_STRAIGHT: Final = "Drifts in one direction, smoothly: no noise is to be seen."
_STEADY_BUT_FOR_NOISE: Final = "The noise variance changes; {rest} in the noise's own time."
_IN_A_WORD: Final = {
    "brownian": "a random walk",
    "confined": "confined",
    "circulating": "circulating",
    "anomalous": "anomalous",
    "alternating": "alternating",
    "unknown": "unknown",
}


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
    if found.is_smooth:
        first = SMOOTH if code == "course" else _STRAIGHT
        return " ".join([first, _of_no_noise(found), _of_course(found, layers)])
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
    widest = float((noise.scale.max() / noise.scale.min()) ** 2)
    if by < _SAME or p_value is None or widest > _TURNS * by:
        way, by, over = "varies", widest, " between its extremes"
    if by < _SAME:
        return f"Noise: its variance varies by less than {number(_SAME)}-fold{p}."
    if noise.kind == "rate":
        return f"Noise: its variance {way} {number(by)}-fold, as the squared learning rate does{p}."
    return f"Noise: its variance {way} gradually, {number(by)}-fold{over}{p}."


def _of_no_noise(found: Found) -> str:
    share = number(found.rest.evidence["noise"], 2)
    return (
        f"Noise: at most {share} of the squared movement between checkpoints, as rounding leaves; "
        "training on all samples at once is as smooth."
    )


def _of_course(found: Found, layers: Mapping[str, float]) -> str:
    if not found.count:
        return "Course: none found."
    share = f"{100 * found.share:.0f}% of the squared movement"
    form = "curved" if found.is_curved else "in one direction"
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
