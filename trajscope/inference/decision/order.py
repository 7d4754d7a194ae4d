"""The decision procedure: the order of the tests that lead to a verdict."""

from functools import cache
from typing import Final

import numpy as np

from trajscope.inference.decision.catalogue import BROWNIAN, DRIFT
from trajscope.inference.decision.loops import MadeWhenAsked, leading_path, loops
from trajscope.inference.decision.settings import (
    Decision,
    DecisionSettings,
    PendingTest,
    Procedure,
    PValueProcedure,
)
from trajscope.inference.decision.short import short_procedure
from trajscope.inference.statistics import brownian
from trajscope.inference.statistics.components import leading
from trajscope.inference.statistics.drift import draw_drift, draw_slow_drift
from trajscope.inference.statistics.growth import exponential_growth
from trajscope.inference.statistics.increments import decays
from trajscope.inference.statistics.noise import change_place, squared_differences
from trajscope.inference.statistics.permutations import IncrementDraws, draw_increments
from trajscope.inference.statistics.stationarity import correlation_time, draw_early_excess
from trajscope.inference.statistics.volatility import with_even_noise
from trajscope.inference.statistics.window import Window
from trajscope.kernels.gram import Floats

FEWEST_CHECKPOINTS: Final = 32
FEWEST_BLOCKS: Final = 16
"""Of a coarser grid that is still tested."""
FEWEST_CORRELATION_TIMES: Final = 3.5
FEWEST_FOR_A_BEGINNING: Final = 5.5
"""Correlation times: shorter paths that look longer are those that began far out."""
MOST_SLOW: Final = 12
"""Slow cosines that the mean of coloured increments is compared with."""
_WORTH_CONFIRMING: Final = 0.1
"""p-value above which a transient needs no second look."""
_PERSISTS: Final = 0.1
"""p-value below which memory, not a drift, is taken to be what drew increments together."""
_MILD: Final = 1.5
"""Ratio of noise variances up to which one verdict still fits both parts."""
_SPACING: Final = 4.0
"""Times the growth of the intervals that squares may change by it."""
_LEAST_ROUNDING: Final = 1e-3
"""Share of squared increments below which rounding does not matter."""
_ROUNDING: Final = 2
"""Times its share that rounding may have lowered a variance ratio."""


def decision_procedure(window: Window, decision: Decision, settings: DecisionSettings) -> Procedure:
    """The tests of one window: each needs its p-value before the next; fills `decision`.

    The order is that of `verdict.decide`.
    """
    n_moves = int(np.count_nonzero(window.increments.any(axis=1)))
    is_long = window.n_steps >= FEWEST_CHECKPOINTS
    if n_moves == 0 or (is_long and n_moves < FEWEST_CHECKPOINTS - 1):
        decision.reason = "still" if is_long else "few"
        decision.evidence["moves"] = n_moves
        return
    growth = None if window.lengths is not None else exponential_growth(window.increments)
    if growth is not None:
        decision.code = "diverging"
        decision.evidence |= {"growth": growth.factor, "explained": growth.explained}
        decision.evidence["alternates"] = float(growth.alternates)
        return
    if window.n_steps < FEWEST_CHECKPOINTS:
        yield from short_procedure(window, decision, settings)
        return
    alpha, increments = settings.alpha, window.increments
    decision.draws = _draw(window.exchangeable, decision, settings)
    if (yield PendingTest("noise_scale", decision.draws.noise_scale)) <= alpha:
        decision.flips = True
        decision.evidence |= _change(window.exchangeable)
        decision.draws = _draw(window.exchangeable, decision, settings)
    is_brownian = (yield from _brownian(decision)) > alpha
    steady = (yield from _drift(increments, decision, settings)) > alpha
    ratio = decision.evidence.get("noise_ratio", 1.0)
    if max(ratio, 1 / max(ratio, 1e-300)) > _MILD:
        if _may_be_spacing(window, decision):
            decision.reason = "uneven_noise"
            decision.evidence["evenly_spaced"] = window.n_even
        else:
            decision.code = "noise_scale_changes"
    elif is_brownian:
        decision.code = "brownian" if steady else "drifting"
    elif brownian.has_memory(decision.draws, alpha) or (
        decision.evidence["confined"] > alpha and decision.draws.lowest_power[0] > 1
    ):
        yield from _persistent(window, decision, settings)
    else:
        yield from _confined(window, decision, settings)


def _draw(increments: Floats, decision: Decision, settings: DecisionSettings) -> IncrementDraws:
    return draw_increments(
        increments,
        settings.n_surrogates,
        settings.seed,
        flip=decision.flips,
        most=settings.most_numbers,
    )


def _brownian(decision: Decision) -> PValueProcedure:
    assert decision.draws is not None
    yield PendingTest("omnibus", brownian.omnibus(decision.draws))
    yield PendingTest("confined", brownian.confinement(decision.draws))
    return decision.doubled(BROWNIAN)


def _drift(increments: Floats, decision: Decision, settings: DecisionSettings) -> PValueProcedure:
    assert decision.draws is not None
    drift = draw_drift(increments, settings.n_surrogates, settings.seed)
    yield PendingTest("constant_drift", drift)
    yield PendingTest("relaxation", brownian.relaxation(decision.draws))
    return decision.doubled(DRIFT)


def _change(increments: Floats) -> dict[str, float]:
    """Where the noise changes, as a number of intervals, and the ratio of its variances."""
    values = squared_differences(increments.T[np.newaxis])[0]
    place = change_place(values)
    before, after = values[:place].mean(), values[place:].mean()
    return {"change": place + 1, "noise_ratio": float(after / max(before, 1e-300))}


def _may_be_spacing(window: Window, decision: Decision) -> bool:
    """Whether longer intervals, of a path that is confined or persists, look like other noise.

    Squares over the length of their interval fall no more than the length grows where positions
    are white, and rise no more than that where the path goes straight on.
    """
    if window.lengths is None:
        return False
    place = round(decision.evidence["change"])
    before, after = window.lengths[:place].mean(), window.lengths[place:].mean()
    longer = max(after / before, before / after)
    ratio = decision.evidence["noise_ratio"]
    return bool(longer > _MILD and max(ratio, 1 / max(ratio, 1e-300)) <= _SPACING * longer)


def _persistent(window: Window, decision: Decision, settings: DecisionSettings) -> Procedure:
    """Increments with more power at low frequencies: a drift, or memory of single steps."""
    assert decision.draws is not None
    increments, alpha = window.increments, settings.alpha
    if decision.evidence["drift"] <= alpha and _is_explained_by_drift(window, decision, settings):
        decision.code = "drifting"
        return
    n = len(increments)
    decision.reason = "memory"
    if window.lengths is not None:
        decision.reason = "uneven_memory"
        decision.evidence["evenly_spaced"] = window.n_even
        return
    for size in (2, 3, 4, 6, 9, 13, 19, 28, 42, 63, 94, 141):
        if n // size < FEWEST_BLOCKS:
            return
        if _p_of(_draw(window.coarser(size).increments, decision, settings)) > alpha:
            n_slow = min(MOST_SLOW, n // (2 * size))
            slow = draw_slow_drift(increments, n_slow, settings.n_surrogates, settings.seed)
            decision.evidence["brownian_beyond"] = size
            steady = (yield PendingTest("slow_drift", slow)) > alpha
            decision.code, decision.reason = "brownian" if steady else "drifting", ""
            return


def _is_explained_by_drift(window: Window, decision: Decision, settings: DecisionSettings) -> bool:
    """Whether what is left without it is Brownian, or does not persist."""
    rest = _draw(_without_drift(window.exchangeable), decision, settings)
    p_value = _p_of(rest)
    persists = brownian.p_value(brownian.persistence(rest)) <= _PERSISTS
    return p_value > settings.alpha or not persists


def _p_of(draws: IncrementDraws) -> float:
    statistics = {"omnibus": brownian.omnibus(draws), "confined": brownian.confinement(draws)}
    return BROWNIAN.twice_the_smaller({k: brownian.p_value(v) for k, v in statistics.items()})


def _without_drift(increments: Floats) -> Floats:
    """Increments without a mean and the best decay, or steady change, along the displacement."""
    net = increments.sum(axis=0)
    along = net / (np.linalg.norm(net) or 1)
    n = len(increments)
    change = np.linspace(-1, 1, n)
    courses = np.column_stack([decays(n), change / np.linalg.norm(change)])
    progress = increments @ along
    course = courses[:, np.abs(progress @ courses).argmax()]
    explained = progress.mean() + course * (course @ progress)
    return np.asarray(increments - np.outer(explained, along))


def _confined(window: Window, decision: Decision, settings: DecisionSettings) -> Procedure:
    assert decision.draws is not None
    alpha = settings.alpha
    if decision.evidence["constant_drift"] <= alpha:
        decision.code = "drifting"
        return
    ratios = decision.draws.variance_ratio[:, -1]
    is_rounded = window.rounding > _LEAST_ROUNDING
    if is_rounded and 1 - ratios[0] / ratios[1:].mean() <= _ROUNDING * window.rounding:
        decision.reason = "rounding"
        return
    n_steps = window.n_even
    if n_steps < FEWEST_CHECKPOINTS:
        decision.reason = "uneven"
        decision.evidence["evenly_spaced"] = n_steps
        return
    path = leading_path(window)
    time = decision.evidence["correlation_time"] = correlation_time(window.walked)
    if n_steps < FEWEST_CORRELATION_TIMES * time:
        # Longer windows ask for an early excess: they can draw a null that fits them.
        is_early = brownian.p_value(brownian.asymmetry(decision.draws)) <= alpha / 2
        if decision.evidence["relaxation"] <= alpha / 2 and is_early:
            decision.code = "drifting"
        else:
            decision.reason = "correlation_time"
        return
    even = cache(lambda: leading(with_even_noise(window.walked_or_leading)))
    if n_steps >= FEWEST_FOR_A_BEGINNING * time:
        early = _early_excess(path, even, settings)
        if (yield PendingTest("early_excess", early)) <= alpha:
            decision.code = "drifting"
            return
    decision.code = "confined"
    if path.shape[1] > 1:
        yield from loops(window, path, even, decision, settings)


def _early_excess(path: Floats, even: MadeWhenAsked, settings: DecisionSettings) -> Floats:
    """Draws of the initial transient: of the path, or without volatility where that is less."""

    def drawn(path: Floats) -> Floats:
        excess = draw_early_excess(path, settings.n_draws(len(path)), settings.seed)
        return np.asarray(brownian.standardised(excess).max(axis=-1))

    early = drawn(path)
    if brownian.p_value(early) > _WORTH_CONFIRMING:
        return early
    return max(early, drawn(even()), key=brownian.p_value)
