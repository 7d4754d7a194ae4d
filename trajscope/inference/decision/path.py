"""The decision path to a verdict and the detection limits of the window, in words."""

import math
from collections.abc import Mapping
from typing import Final

from trajscope.inference.course.apart import Found
from trajscope.inference.decision.catalogue import TESTS, Test
from trajscope.inference.decision.order import FEWEST_CORRELATION_TIMES
from trajscope.inference.decision.settings import Decision
from trajscope.inference.decision.words import Detail, Run, number, p_text
from trajscope.inference.statistics.oscillation import FEWEST_RINGING_TIMES

_WALK: Final = "its null is a random walk"
_STEADY_NOISE: Final = "its null is steady noise"
_SHORT: Final = (
    ("noise_trend", "noise trend?"),
    ("neighbours", "neighbours correlated?"),
    ("constant_drift", "one direction?"),
)
"""Tests of windows that are too short for the others, and their questions."""
_UNTESTED: Final = "walks, relaxation and rotation: {n} checkpoints are too few to test for them"
_NOTHING: Final = "any effect: {n} checkpoints were not tested"


def detection_limits(
    decision: Decision, detail: Detail, run: Run, found: Found | None = None
) -> list[str]:
    """The detection limits: effects that this window cannot show, each with the reason.

    Parameters
    ----------
    found :
        The window taken apart; its limits are then those of the rest.
    """
    n = len(run.steps)
    if found is not None:
        return _limits_of_rest(found, run)
    phrases = []
    if decision.draws is None:
        if decision.code == "diverging":
            return ["any effect beside the growth: increments that grow are not tested further"]
        return [(_UNTESTED if decision.evidence else _NOTHING).format(n=n)]
    if detail.slowest_relaxation is None:
        phrases.append("relaxation at any rate: too few independent increments")
    else:
        phrases.append(
            f"relaxation slower than {run.length(detail.slowest_relaxation)}: looks like Brownian "
            f"motion in this window{_seen(decision.evidence, detail.slowest_relaxation)}"
        )
    if "circulation" not in decision.evidence:
        phrases.append("rotation: tested only where the path is confined")
    elif detail.slowest_rotation is None:
        phrases.append("rotation at any rate: too few correlation times")
    else:
        phrases.append(
            f"rotation slower than {number(detail.slowest_rotation)} radians per relaxation time: "
            "in one plane, reversible paths enclose areas as large by chance"
        )
    if "ringing_time" in decision.evidence:
        phrases.append(
            "a spectral peak narrower than ringing: at the given momentum ringing lasts "
            f"{run.length(decision.evidence['ringing_time'])}, and the window spans fewer than "
            f"{FEWEST_RINGING_TIMES} of these times"
        )
    return phrases


def _seen(evidence: Mapping[str, float], slowest: float) -> str:
    """What is said of the limit of relaxation where the run itself is slower than that."""
    is_slower = evidence.get("correlation_time", 0.0) > slowest
    return " in more than one run of five; here it was seen" if is_slower else ""


def _limits_of_rest(found: Found, run: Run) -> list[str]:
    evidence = found.rest.evidence
    if found.is_smooth:
        return ["noise below what rounding leaves, and what it would do about the course"]
    about = "about the course, " if found.count else ""
    slowest = evidence.get("slowest_relaxation")
    phrases = [
        f"{about}relaxation at any rate: too few independent increments"
        if slowest is None
        else f"{about}relaxation slower than {run.length(slowest)}: looks like a random walk"
        f"{_seen(evidence, slowest)}"
    ]
    if "circulation" not in evidence and found.rest.code == "confined":
        phrases.append(
            f"{about}rotation at any rate: what a course of {found.count} components leaves may be "
            "more of it, and turn"
        )
    elif "circulation" not in evidence:
        phrases.append(f"{about}rotation: tested only where the rest is confined")
    elif "slowest_rotation" in evidence:
        phrases.append(
            f"{about}rotation slower than {number(evidence['slowest_rotation'])} radians per "
            "relaxation time: in one plane, reversible paths enclose areas as large by chance"
        )
    else:
        phrases.append(f"{about}rotation at any rate: too few correlation times")
    return phrases


def _step(test: str, question: str, p_value: float | None, *, is_yes: bool) -> dict[str, object]:
    """A question of the decision path with its answer; not tested where there is no p-value."""
    return {
        "test": test,
        "question": question,
        "answer": "not tested" if p_value is None else "yes" if is_yes else "no",
        "p_value": p_value,
        "finding": "" if p_value is None else f"p = {p_text(p_value)}",
    }


def _unused(test: Test, why: str) -> dict[str, object]:
    """A test whose null is rejected for another reason than what it asks."""
    return {
        "test": test.name,
        "question": test.question,
        "answer": "not used",
        "p_value": None,
        "finding": why,
    }


def unused(decision: Decision, alpha: float, why_noise: str = "") -> dict[str, str]:
    """Tests whose null is rejected for another reason than what they ask, and that reason.

    Or that of constant noise, where there is a reason not to use it.
    """
    rejected = [
        test
        for test in TESTS
        if test.question and decision.evidence.get(test.name, math.inf) <= alpha
    ]
    reasons = {test.name: _other_reason(test, decision.code) for test in rejected}
    found = {name: why for name, why in reasons.items() if why}
    return {"noise_scale": why_noise, **found} if why_noise else found


def _other_reason(test: Test, code: str) -> str:
    """Why the rejection of a null says nothing of what it asks; empty where it does."""
    if code == "noise_scale_changes" and test.name in ("brownian", "drift"):
        return _STEADY_NOISE
    return _WALK if test.name == "drift" and code != "drifting" else ""


def _path_of_rest(found: Found, alpha: float) -> list[dict[str, object]]:
    evidence = found.rest.evidence
    course = min(found.slow.p_value, evidence.get("course_of_positions", 1.0))
    walk, turns = evidence.get("brownian"), evidence.get("circulation")
    return [
        _step("course", "slow course?", course, is_yes=found.count > 0),
        _step("rest_brownian", "rest Brownian?", walk, is_yes=(walk or 0.0) > alpha),
        _step("rest_circulation", "rest circulating?", turns, is_yes=(turns or 1.0) <= alpha),
    ]


def decision_path(
    decision: Decision, alpha: float, found: Found | None = None, why_noise: str = ""
) -> list[dict[str, object]]:
    """The decision path: each question in order, with its answer."""
    long_enough = decision.reason not in ("few", "still")
    length: dict[str, object] = {
        "test": "length",
        "question": "long enough?",
        "answer": "yes" if long_enough else "no",
        "p_value": None,
        "finding": "" if long_enough else decision.reason,
    }
    p_values = decision.evidence
    if decision.reason == "few":
        return [length] + [
            _step(name, question, p, is_yes=p is not None and p <= alpha)
            for name, question in _SHORT
            for p in [p_values.get(name)]
        ]
    passed, idle = [length], unused(decision, alpha, why_noise)
    for test in (test for test in TESTS if test.question):
        p_value = p_values.get(test.name)
        kept = p_value is not None and p_value > alpha
        is_yes = kept == test.yes_when_kept
        step = _step(test.name, test.question, p_value, is_yes=is_yes)
        passed.append(_unused(test, idle[test.name]) if test.name in idle else step)
    if found is None:
        return passed
    asked = [step for step in passed if step["answer"] != "not tested"]
    return asked + _path_of_rest(found, alpha)


def guard(decision: Decision) -> str:
    """Whether the test for circulation applied, and why."""
    if "circulation" in decision.evidence:
        return (
            f"passed: the window spans at least {FEWEST_CORRELATION_TIMES} correlation times of "
            f"{number(decision.evidence['correlation_time'])} checkpoints"
        )
    if decision.reason == "correlation_time":
        return (
            f"failed: the window spans fewer than {FEWEST_CORRELATION_TIMES} correlation times of "
            f"{number(decision.evidence['correlation_time'])} checkpoints"
        )
    return f"not tested: the verdict is {decision.code}"
