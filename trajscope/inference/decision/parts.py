"""The verdict in three parts, noise, course and rest: its code and its numbers."""

from collections.abc import Mapping
from typing import Final

import numpy as np

from trajscope.inference.course.apart import Found
from trajscope.inference.course.clock import NoiseCourse
from trajscope.inference.decision.settings import Decision
from trajscope.inference.decision.words import Run
from trajscope.kernels.gram import Floats

_BRIEF: Final = 0.2
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
    beginning, or that has no noise about it.

    Parameters
    ----------
    burn_in :
        Share of the window after which the rest is one steady state, 0 where there is none.
    """
    code, rest = decision.code, found.rest.code
    if found.is_smooth:
        is_straight = found.count < 2 or (code == "drifting" and not found.is_curved)
        return "drifting" if is_straight else "course"
    if rest == "unknown" or 0 < burn_in <= _BRIEF:
        return code
    if rest == "anomalous" or (rest == "alternating" and found.count == 0):
        return rest
    if code == "drifting" and rest == "brownian":
        return "course" if found.count > 1 and found.is_curved else code
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
    is_smooth = found is not None and found.is_smooth
    course_of_noise = followed or (found.noise if found and "change" in p else None)
    if is_smooth:
        course_of_noise = None
    known = run.learning_rate is not None and bool(np.isfinite(run.learning_rate).any())
    noise: dict[str, object] = {
        "changes": ("change" in p and not is_smooth) or followed is not None,
        "p_value": p.get("noise_scale"),
        "follows_rate": bool(course_of_noise and course_of_noise.kind == "rate") if known else None,
    }
    if found is not None and found.is_smooth:
        noise["largest_share"] = found.rest.evidence["noise"]
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
        "one_direction": found.count > 0 and not found.is_curved,
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
