"""The decision path to a verdict and the detection limits of the window, in words."""

from typing import Final

from trajscope.inference.decision.catalogue import TESTS
from trajscope.inference.decision.order import FEWEST_CORRELATION_TIMES
from trajscope.inference.decision.settings import Decision
from trajscope.inference.decision.words import Detail, Run, number, p_text
from trajscope.inference.statistics.oscillation import FEWEST_RINGING_TIMES

_DRIFT_COUNTS: Final = ("drifting", "noise_scale_changes")
"""Verdicts of windows whose drift was distinguished from mean reversion and autocorrelation."""
_SHORT: Final = (
    ("noise_trend", "noise trend?"),
    ("neighbours", "neighbours correlated?"),
    ("constant_drift", "one direction?"),
)
"""Tests of windows that are too short for the others, and their questions."""
_UNTESTED: Final = "walks, relaxation and rotation: {n} checkpoints are too few to test for them"
_NOTHING: Final = "any effect: {n} checkpoints were not tested"


def detection_limits(decision: Decision, detail: Detail, run: Run) -> list[str]:
    """The detection limits: effects that this window cannot show, each with the reason."""
    n = len(run.steps)
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
            "motion in this window"
        )
    if "circulation" not in decision.evidence:
        phrases.append("rotation: tested only where the path is confined")
    elif detail.slowest_rotation is None:
        phrases.append("rotation at any rate: too few correlation times")
    else:
        phrases.append(
            f"rotation slower than {number(detail.slowest_rotation)} radians per relaxation time: "
            "reversible paths enclose areas as large by chance"
        )
    if "ringing_time" in decision.evidence:
        phrases.append(
            "a spectral peak narrower than ringing: at the given momentum ringing lasts "
            f"{run.length(decision.evidence['ringing_time'])}, and the window spans fewer than "
            f"{FEWEST_RINGING_TIMES} of these times"
        )
    return phrases


def decision_path(decision: Decision, alpha: float) -> list[dict[str, object]]:
    """The decision path: each question in order, with its answer."""
    long_enough = decision.reason not in ("few", "still")
    passed: list[dict[str, object]] = [
        {
            "test": "length",
            "question": "long enough?",
            "answer": "yes" if long_enough else "no",
            "p_value": None,
            "finding": "" if long_enough else decision.reason,
        }
    ]
    if decision.reason == "few":
        return passed + [
            _of_short_window(name, question, decision.evidence.get(name), alpha)
            for name, question in _SHORT
        ]
    for test in (test for test in TESTS if test.question):
        p_value = decision.evidence.get(test.name)
        kept = p_value is not None and p_value > alpha
        answer = "yes" if kept == test.yes_when_kept else "no"
        if test.name == "drift" and answer == "yes" and decision.code not in _DRIFT_COUNTS:
            # Its null is a random walk. This path is not one, so the rejection has other reasons.
            p_value = None
        passed.append(
            {
                "test": test.name,
                "question": test.question,
                "answer": "not tested" if p_value is None else answer,
                "p_value": p_value,
                "finding": "" if p_value is None else f"p = {p_text(p_value)}",
            }
        )
    return passed


def _of_short_window(
    name: str, question: str, p_value: float | None, alpha: float
) -> dict[str, object]:
    answer = "not tested" if p_value is None else "yes" if p_value <= alpha else "no"
    finding = "" if p_value is None else f"p = {p_text(p_value)}"
    return {
        "test": name, "question": question, "answer": answer, "p_value": p_value, "finding": finding
    }  # fmt: skip


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
