"""The first verdicts: every window goes through the decision procedure, layers all at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trajscope.inference.decision.catalogue import NAMES
from trajscope.inference.decision.order import decision_procedure
from trajscope.inference.decision.settings import Decision, DecisionSettings, PendingTest, Procedure
from trajscope.inference.statistics import brownian
from trajscope.inference.statistics.window import Window
from trajscope.kernels.gram import Floats

__all__ = ["DecisionSettings", "decide", "decide_together", "together"]


def decide(window: Window, settings: DecisionSettings) -> Decision:
    """The verdict on one window.

    Fewer than 32 checkpoints are too short. Then, each at level alpha: whether the noise variance
    changes (up to a factor of 1.5, the other tests go on with sign flips instead of permutations);
    whether the increments are exchangeable in time (Brownian motion, with any drift); if so,
    whether there is a drift. If not: autocorrelated increments are tested again in blocks; a
    mean-reverting path is tested for a drift, and must span three and a half correlation times.
    Then it is confined, and tested for an initial transient (if it spans five and a half
    correlation times), for circulation and for a spectral peak. Where the momentum is known, the
    last test needs a window of seven ringing times.
    """
    return decide_together([window], settings)[0]


def decide_together(windows: Sequence[Window], settings: DecisionSettings) -> list[Decision]:
    """The verdicts on several windows of the same steps, with p-values for all of them together.

    Every test covers all windows that reach it, with the same random draws, and a p-value
    is that of the largest statistic among them: alpha bounds the probability of any false positive
    (maxT of Westfall & Young 1993).
    """
    decisions = [Decision() for _ in windows]
    procedures = [
        decision_procedure(*each, settings) for each in zip(windows, decisions, strict=True)
    ]
    with ThreadPoolExecutor(min(len(windows), os.cpu_count() or 1)) as pool:
        first = pool.map(lambda procedure: next(procedure, None), procedures)
        pending = {number: test for number, test in enumerate(first) if test is not None}
        while pending:
            name = min((test.name for test in pending.values()), key=NAMES.index)
            now = {number: test for number, test in pending.items() if test.name == name}
            p_values = together([test.statistic for test in now.values()])
            for (number, test), p_value in zip(now.items(), p_values, strict=True):
                decisions[number].statistics[name] = test.statistic
                decisions[number].evidence[name] = p_value
            answered = pool.map(_next_test, [procedures[number] for number in now], p_values)
            for number, test in zip(now, answered, strict=True):
                del pending[number]
                if test is not None:
                    pending[number] = test
    return decisions


def _next_test(procedure: Procedure, p_value: float) -> PendingTest | None:
    """The next test of a procedure, after the p-value of the last one."""
    try:
        return procedure.send(p_value)
    except StopIteration:
        return None


def together(statistics: Sequence[Floats]) -> list[float]:
    """The p-value of each among the largest of all, on a common scale."""
    # A long window may have fewer draws of some null; these equal the first draws of the others.
    n = min(len(statistic) for statistic in statistics)
    comparable = [brownian.standardised(statistic[:n]) for statistic in statistics]
    largest = np.max(comparable, axis=0)
    return [brownian.p_value(np.append(own[0], largest[1:])) for own in comparable]
