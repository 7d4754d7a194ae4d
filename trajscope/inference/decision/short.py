"""What windows of eight to thirty-one checkpoints say exactly."""

from typing import Final

import numpy as np

from trajscope.inference.decision.settings import (
    Decision,
    DecisionSettings,
    PendingTest,
    Procedure,
)
from trajscope.inference.statistics.short import (
    draw_neighbours,
    draw_noise_trend,
    draw_one_way,
    least_p,
    two_sided,
)
from trajscope.inference.statistics.window import Window

FEWEST_FOR_SIGNS: Final = 8
"""Checkpoints from which signs and orders of the increments are counted."""
_MAY_BE_ALIKE: Final = 0.2
"""p-value at which neighbours may be alike."""

_MOST_GROWTH: Final = 100.0
"""Logarithm: what stands still and then jumps grows beyond all numbers."""


def short_procedure(window: Window, decision: Decision, settings: DecisionSettings) -> Procedure:
    """A trend of the noise, neighbours alike or opposed, movement in one direction.

    Each at level alpha. Increments that resemble their neighbours add up to a long way without a
    drift, so the path drifts only where they do not.
    """
    decision.reason = "few"
    if window.n_steps < FEWEST_FOR_SIGNS:
        return
    alpha, n, seed = settings.alpha, settings.n_surrogates, settings.seed
    evidence, rows = decision.evidence, window.exchangeable
    trend = draw_noise_trend(rows, n, seed)
    evidence["noise_growth"] = float(np.exp(np.clip(trend[0], -_MOST_GROWTH, _MOST_GROWTH)))
    has_trend = (yield PendingTest("noise_trend", two_sided(trend))) <= alpha
    beside = draw_neighbours(rows, n, seed, flip=has_trend)
    evidence["neighbour_correlation"] = float(beside[0])
    p_beside = yield PendingTest("neighbours", two_sided(beside))
    may_be_alike = p_beside <= _MAY_BE_ALIKE and beside[0] > 0
    one_way = draw_one_way(window.increments, n, seed)
    evidence["least_p"] = least_p(len(window.increments), n)
    evidence["displacement_ratio"] = float(one_way[0])
    if (yield PendingTest("constant_drift", one_way)) <= alpha and not may_be_alike:
        decision.code = "drifting"
