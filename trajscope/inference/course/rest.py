"""What a path does about its course, in the noise's own time."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np

from trajscope.inference.course.alternation import FEWEST_TURNS, draw_alternation
from trajscope.inference.course.blocks import Blocks
from trajscope.inference.course.exponent import anomalous_exponent
from trajscope.inference.course.slow import (
    Slow,
    integrals,
    most_functions,
    p_of_further,
)
from trajscope.inference.statistics import brownian
from trajscope.inference.statistics.areas import draw_agreement
from trajscope.inference.statistics.circulation import draw_least_favourable
from trajscope.inference.statistics.components import leading
from trajscope.inference.statistics.permutations import (
    MOST_NUMBERS,
    IncrementDraws,
    draw_increments,
)
from trajscope.inference.statistics.power import slowest_relaxation, slowest_rotation
from trajscope.inference.statistics.stationarity import correlation_time
from trajscope.inference.statistics.volatility import with_even_noise
from trajscope.kernels.gram import Floats

FEWEST_TIMES: Final = 3.5
"""Correlation times that a confined rest must span."""
_SAME: Final = 0.1
"""Of variance ratios: smaller departures from a walk do not matter."""
_MORE: Final = 4
"""Functions that a current must outlive."""


@dataclass(frozen=True)
class Draws:
    """How many are drawn of every null, of how many numbers, the level of every test, the seed."""

    count: int
    alpha: float
    seed: int
    most_numbers: int = MOST_NUMBERS


@dataclass(frozen=True)
class Rest:
    """What a path does about its course.

    Attributes
    ----------
    code :
        "brownian", "confined", "circulating", "alternating", "anomalous", or "unknown".
    reason :
        Why it is unknown: "few", "memory" or "correlation_time"; else empty.
    evidence :
        p-values and numbers, in order.
    """

    code: str
    reason: str = ""
    evidence: dict[str, float] = field(default_factory=dict)


def rest_of(blocks: Blocks, slow: Slow, draws: Draws) -> tuple[Rest, int, Floats]:
    """What is left, how many functions the positions follow, and what these are in positions."""
    taken = _in_positions(blocks, slow, slow.count)
    course = _with_constant(slow.functions)
    drawn = draw_increments(blocks.rows, draws.count, draws.seed, course=course)
    evidence = {"blocks": float(len(blocks.rows)), "block": float(blocks.size)} | _p_values(drawn)
    ratios = drawn.variance_ratio
    departure = float(np.abs(ratios[0] - ratios[1:].mean(axis=0)).max())

    def found(code: str, reason: str = "") -> tuple[Rest, int, Floats]:
        return Rest(code, reason, evidence), slow.count, taken

    least = slowest_relaxation(ratios[1:, -1], len(blocks.rows), draws.alpha)
    if least is not None:
        evidence["slowest_relaxation"] = least * blocks.size
    if slow.is_whole and evidence["brownian"] > draws.alpha:
        return found("brownian")
    if slow.is_whole and departure <= _SAME:
        evidence["departure"] = departure
        return found("brownian")
    # A course that is taken off takes low frequencies with it, and with them the exponent.
    is_asked = slow.count < 2 or not slow.is_whole
    exponent = anomalous_exponent(blocks.rows) if is_asked else None
    if exponent is not None:
        evidence["exponent"] = exponent.hurst
        evidence["exponent_low"], evidence["exponent_high"] = exponent.interval
        return found("anomalous")
    has_memory = brownian.has_memory(drawn, draws.alpha) or (
        evidence["confined"] > draws.alpha and drawn.lowest_power[0] > 1
    )
    if has_memory or not slow.is_whole:
        return found("unknown", "memory")
    return _confined(blocks, slow, evidence, draws)


def _confined(
    blocks: Blocks, slow: Slow, evidence: dict[str, float], draws: Draws
) -> tuple[Rest, int, Floats]:
    m = len(blocks.rows)
    positions = blocks.walked / blocks.scale[:, np.newaxis]
    count, is_whole = slow.count, False
    taken = _in_positions(blocks, slow, count)
    while count + 2 <= most_functions(m):
        more = _in_positions(blocks, slow, count + 2)
        p = p_of_further(positions, taken, more, draws.seed + count)
        if count == slow.count:
            evidence["course_of_positions"] = p
        if p > draws.alpha / 2:
            is_whole = True
            break
        count, taken = count + 2, more
    left = positions - taken @ (taken.T @ positions)
    time = correlation_time(positions, taken)
    evidence["correlation_time"] = time * blocks.size
    if m < FEWEST_TIMES * time:
        return Rest("unknown", "correlation_time", evidence), count, taken
    turns = draw_alternation(left, taken, draws.count, draws.seed)
    evidence["alternation"] = brownian.p_value(turns)
    if evidence["alternation"] <= draws.alpha and -turns[0] <= FEWEST_TURNS:
        evidence["turns"] = -turns[0]
        return Rest("alternating", "", evidence), count, taken
    if not is_whole:
        # What a course of the most functions leaves may be more of it, and turn.
        return Rest("confined", "", evidence), count, taken
    areas = _slow_planes(left, count, draws)
    evidence["circulation"] = _p_of_turning(left, areas, draws)
    least = slowest_rotation(areas[1:], m, time, draws.alpha / 2) if len(areas) > 1 else None
    if least is not None:
        evidence["slowest_rotation"] = least
    if evidence["circulation"] <= draws.alpha:
        # What is left over of a course bends, and looks like a current.
        further = _in_positions(blocks, slow, count + _MORE)
        without = positions - further @ (further.T @ positions)
        areas = _slow_planes(without, count + _MORE, draws)
        if _p_of_turning(without, areas, draws) <= draws.alpha:
            return Rest("circulating", "", evidence), count, taken
    return Rest("confined", "", evidence), count, taken


def _in_positions(blocks: Blocks, slow: Slow, count: int) -> Floats:
    return integrals(slow.basis[:, :count], blocks.lengths, blocks.scale)


def _p_of_turning(path: Floats, areas: Floats, draws: Draws) -> float:
    """Twice the smaller p-value: of slow modes, and of all planes."""
    if len(areas) == 1:
        return 1.0
    p = brownian.p_value(areas)
    agreement = draw_agreement(path, draws.most_numbers, draws.seed)
    if agreement is not None:
        p = min(p, brownian.p_value(agreement))
    return min(1.0, 2 * p)


def _slow_planes(path: Floats, count: int, draws: Draws) -> Floats:
    """Areas of slow modes above the frequencies of the course, (draw,), the data first."""
    modes = leading(path)
    if modes.shape[1] < 2:
        return np.zeros(1)
    return draw_least_favourable(
        modes,
        lambda: leading(with_even_noise(path)),
        (draws.count, draws.count),
        draws.seed,
        n_slow=count // 2,
    )


def _p_values(draws: IncrementDraws) -> dict[str, float]:
    omnibus = brownian.p_value(brownian.omnibus(draws))
    confined = brownian.p_value(brownian.confinement(draws))
    return {
        "omnibus": omnibus,
        "confined": confined,
        "brownian": min(1.0, 2 * min(omnibus, confined)),
    }


def _with_constant(functions: Floats) -> Floats:
    """Orthonormal functions with the same span and the constant."""
    return np.linalg.qr(np.column_stack([np.ones(len(functions)), functions]))[0][
        :, : _rank(functions)
    ]


def _rank(functions: Floats) -> int:
    """Of the functions and the constant: cosines hold it already."""
    both = np.column_stack([np.ones(len(functions)) / len(functions) ** 0.5, functions])
    return int(np.linalg.matrix_rank(both, tol=1e-6))
