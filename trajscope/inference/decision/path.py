"""Which way an inquiry took, and what it could not have seen, in words."""

from typing import Final

from trajscope.inference.decision.catalogue import TESTS
from trajscope.inference.decision.order import FEWEST_CORRELATION_TIMES
from trajscope.inference.decision.settings import Judgement
from trajscope.inference.decision.words import Detail, Run, number, p_text
from trajscope.inference.statistics.oscillation import FEWEST_RINGING_TIMES

_DRIFT_COUNTS: Final = ("drifting", "noise_scale_changes")
"""Verdicts of windows whose drift was told from what pulls back or persists."""


def unseen(found: Judgement, detail: Detail, run: Run) -> list[str]:
    """What the window could not have shown, each to follow "could not have been seen:"."""
    n = len(run.steps)
    phrases = []
    if found.draws is None:
        return [f"anything: {n} checkpoints were not tested"]
    if detail.slowest_well is None:
        phrases.append("a well of any depth: too few independent increments")
    else:
        phrases.append(
            f"a well slower than {run.length(detail.slowest_well)}: on this window it looks like "
            "Brownian motion"
        )
    if "circulation" not in found.evidence:
        phrases.append("a circulation: it is looked for only in a path that is confined")
    elif detail.least_circulation is None:
        phrases.append("a circulation of any speed: too few correlation times")
    else:
        phrases.append(
            f"a circulation slower than {number(detail.least_circulation)} radians per relaxation "
            "time: areas of reversible paths are as large by chance"
        )
    if "ringing_time" in found.evidence:
        phrases.append(
            "an oscillation narrower than ringing: ringing with the momentum given lasts "
            f"{run.length(found.evidence['ringing_time'])}, and the window holds fewer than "
            f"{FEWEST_RINGING_TIMES} of these"
        )
    return phrases


def gates(found: Judgement, alpha: float) -> list[dict[str, object]]:
    """The questions in the order they are asked, with their answers."""
    long_enough = found.reason not in ("few", "still")
    passed: list[dict[str, object]] = [
        {
            "test": "length",
            "question": "long enough?",
            "answer": "yes" if long_enough else "no",
            "p_value": None,
            "finding": "" if long_enough else found.reason,
        }
    ]
    for test in (test for test in TESTS if test.question):
        p_value = found.evidence.get(test.name)
        kept = p_value is not None and p_value > alpha
        answer = "yes" if kept == test.yes_when_kept else "no"
        if test.name == "drift" and answer == "yes" and found.code not in _DRIFT_COUNTS:
            # Its null is a walk, and this path is none: what it found has other reasons.
            p_value = None
        passed.append(
            {
                "test": test.name,
                "question": test.question,
                "answer": "not asked" if p_value is None else answer,
                "p_value": p_value,
                "finding": "" if p_value is None else f"p = {p_text(p_value)}",
            }
        )
    return passed


def guard(found: Judgement) -> str:
    """Which guard let the test for a circulation speak, or did not."""
    if "circulation" in found.evidence:
        return (
            f"held: the window is at least {FEWEST_CORRELATION_TIMES} correlation times of "
            f"{number(found.evidence['correlation_time'])} checkpoints long"
        )
    if found.reason == "correlation_time":
        return (
            f"refused: fewer than {FEWEST_CORRELATION_TIMES} correlation times of "
            f"{number(found.evidence['correlation_time'])} checkpoints"
        )
    return f"not asked: the verdict is {found.code}"
