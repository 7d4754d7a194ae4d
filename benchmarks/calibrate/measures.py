"""p-values of every test on one simulated window, in the way the verdict uses them."""

from typing import Final

import numpy as np

from trajscope.inference.decision.catalogue import BROWNIAN, CIRCULATION, NAMES, TESTS
from trajscope.inference.decision.loops import leading_path
from trajscope.inference.decision.order import (
    FEWEST_CORRELATION_TIMES,
    FEWEST_FOR_A_BEGINNING,
)
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.verdict import decide
from trajscope.inference.statistics import brownian
from trajscope.inference.statistics.areas import draw_agreement
from trajscope.inference.statistics.circulation import (
    draw_circulation,
    draw_independent_modes,
    draw_least_favourable,
    series_of,
    slow_modes,
    spectra_of,
)
from trajscope.inference.statistics.components import leading
from trajscope.inference.statistics.drift import draw_drift
from trajscope.inference.statistics.oscillation import (
    FEWEST_RINGING_TIMES,
    draw_line,
    line,
    ringing_time,
)
from trajscope.inference.statistics.permutations import MOST_NUMBERS, draw_increments
from trajscope.inference.statistics.stationarity import correlation_time, draw_early_excess
from trajscope.inference.statistics.volatility import with_even_noise
from trajscope.inference.statistics.window import Window
from trajscope.kernels.factors import factor_of_gram
from trajscope.kernels.gram import Floats

_ELSEWHERE: Final = ("drift", "slow_drift")
"""Twice the smaller of two that have a rate; and a test of persistent increments only."""
OF_POSITIONS: Final = (
    "noise_scale", "early_excess", "phases", "AR modes", "slow_planes", "all_planes", "circulation",
    "line",
)  # fmt: skip
OF_INCREMENTS: Final = tuple(name for name in NAMES if name not in (*OF_POSITIONS[1:], *_ELSEWHERE))
LABELS: Final = {test.name: test.label for test in TESTS} | {
    null: null for null in ("phases", "AR modes")
}
LEVEL: Final = 0.01

Measured = dict[str, float]


def window_of(path: Floats) -> Window:
    """The tested window: increments in as few components as `trajscope.analyze` keeps of them."""
    increments = np.diff(path, axis=0)
    if increments.shape[1] > len(increments):
        increments = factor_of_gram(increments @ increments.T)
    return Window(increments)


def increment_tests(window: Window, n_surrogates: int, seed: int) -> Measured:
    """p-values of the tests of increments."""
    draws = draw_increments(window.increments, n_surrogates, seed)
    statistics = {
        "noise_scale": draws.noise_scale,
        "omnibus": brownian.omnibus(draws),
        "confined": brownian.confinement(draws),
        "constant_drift": draw_drift(window.increments, n_surrogates, seed),
        "relaxation": brownian.relaxation(draws),
    }
    found = {name: brownian.p_value(statistic) for name, statistic in statistics.items()}
    found["brownian"] = BROWNIAN.twice_the_smaller(found)
    reverts = found["confined"] <= LEVEL or draws.lowest_power[0] <= 1
    return found | {"reverts": float(reverts)}


def position_tests(window: Window, n_surrogates: int, seed: int, damping: float | None) -> Measured:
    """p-values of the tests of positions, where they apply."""
    n_steps, positions = window.n_steps, leading_path(window)
    time = correlation_time(window.walked)
    found: Measured = {"guard": float(n_steps >= FEWEST_CORRELATION_TIMES * time)}
    if n_steps >= FEWEST_FOR_A_BEGINNING * time:
        found["early_excess"] = max(
            brownian.p_value(
                brownian.standardised(draw_early_excess(path, n_surrogates, seed)).max(axis=-1)
            )
            for path in (positions, leading(with_even_noise(window.walked)))
        )
    if not found["guard"] or positions.shape[1] < 2:
        return found
    spectra = spectra_of(positions)
    longest = min(20, n_steps // 10)
    phases = brownian.p_value(draw_circulation(spectra, n_steps, n_surrogates, seed))
    modes = brownian.p_value(
        draw_independent_modes(spectra, n_steps, n_surrogates, seed, longest=longest)
    )
    drawn = draw_least_favourable(
        positions,
        lambda: leading(with_even_noise(window.walked)),
        (n_surrogates, n_surrogates),
        seed,
    )
    agreement = draw_agreement(window.walked, MOST_NUMBERS, seed)
    found |= {"phases": phases, "AR modes": modes, "slow_planes": brownian.p_value(drawn)}
    if agreement is not None:
        found["all_planes"] = brownian.p_value(agreement)
    found["circulation"] = CIRCULATION.twice_the_smaller(found)
    if damping is None or n_steps >= FEWEST_RINGING_TIMES * ringing_time(damping):
        series = series_of(slow_modes(spectra, n_steps).spectra, n_steps)
        is_narrow = line(series).is_narrow
        drawn = draw_line(series, damping, n_surrogates, seed) if is_narrow else np.zeros(1)
        found["line"] = brownian.p_value(drawn)
    return found


def verdict(
    window: Window, n_surrogates: int, seed: int, damping: float | None
) -> tuple[str, Measured]:
    """Code and evidence."""
    found = decide(window, DecisionSettings(n_surrogates, alpha=LEVEL, seed=seed, damping=damping))
    return found.code, {name: float(value) for name, value in found.evidence.items()}
