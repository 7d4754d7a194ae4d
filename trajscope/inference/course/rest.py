"""The course of a window, and what its path does about it, in the noise's own time."""

from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.course.alternation import FEWEST_TURNS, draw_alternation
from trajscope.inference.course.clock import NoiseCourse, blocks_of, constant, fitted
from trajscope.inference.course.exponent import anomalous_exponent
from trajscope.inference.course.slow import (
    Slow,
    find_course,
    goes_on,
    integrals,
    leading,
    most_functions,
)
from trajscope.inference.statistics import brownian
from trajscope.inference.statistics.circulation import (
    Spectra,
    draw_circulation,
    draw_independent_modes,
    spectra_of,
)
from trajscope.inference.statistics.permutations import IncrementDraws, draw_increments
from trajscope.inference.statistics.stationarity import correlation_time
from trajscope.kernels.gram import Floats

FEWEST_BLOCKS: Final = 32
FEWEST_TIMES: Final = 7
"""Correlation times that a confined rest must span."""
_SIZES: Final = (1, 2, 3, 4, 6, 9, 13, 19, 28, 42, 63)
_FEWEST_COARSE: Final = 16
_MOST_BLOCKS: Final = 4000
"""Longer windows are looked at in blocks: a course and a rest of thousands of points are plain."""
_SAME: Final = 0.1
"""Of variance ratios: smaller departures from a walk do not matter."""
_WORTH_CONFIRMING: Final = 0.2
_MORE: Final = 4
"""Functions that a current must outlive."""


@dataclass(frozen=True)
class Draws:
    """How many are drawn of every null, the level of every test, and the seed."""

    count: int
    alpha: float
    seed: int


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


@dataclass(frozen=True)
class Found:
    """A window taken apart.

    Attributes
    ----------
    noise :
        How its scale runs.
    slow :
        The functions that its increments follow, by blocks of equal noise time.
    in_positions :
        How many functions the path's positions follow, where they are confined about it.
    ends :
        Intervals before each position, (position,).
    design : (position, function)
        What the course is a sum of, the constant first.
    share :
        Of the squared displacements between all pairs of positions, what the course holds.
    directions :
        Squares of the course's displacements by direction, over their sum, largest first.
    speed_ratio :
        Mean speed of the course in the last half of the window over that in the first.
    rest :
        What is left of the path.
    """

    noise: NoiseCourse
    slow: Slow
    in_positions: int
    ends: NDArray[np.int64]
    design: Floats
    share: float
    directions: Floats
    speed_ratio: float
    rest: Rest

    @property
    def count(self) -> int:
        """Functions of the course."""
        return max(self.slow.count, self.in_positions)

    def course_of(self, increments: Floats) -> Floats:
        """The course that other increments of the same intervals follow, (position, component)."""
        walked = np.concatenate([np.zeros((1, increments.shape[1])), increments.cumsum(axis=0)])
        weights, *_ = np.linalg.lstsq(self.design, walked[self.ends], rcond=None)
        course = self.design @ weights
        return np.asarray(course - course.mean(axis=0))


def take_apart(
    increments: Floats,
    draws: Draws,
    *,
    noise_changes: bool,
    rate: Floats | None = None,
) -> Found:
    """Noise, course and rest of evenly spaced increments.

    Where the noise changes its scale s[t] is fitted, and time is counted by
    ``c[t] = sum_u s[u] / max s``: ``dx = -s h x dt + s dW`` and every walk are steady in it.

    Parameters
    ----------
    increments : (interval, component)
    rate : (interval,)
        Learning rate, where it is known.
    """
    n = len(increments)
    noise = fitted(increments, rate) if noise_changes else constant(n)
    ticks = blocks_of(noise.scale)
    finest = -(-n // _MOST_BLOCKS)
    best: Found | None = None
    for size in _SIZES:
        ends = ticks[size * finest - 1 :: size * finest]
        if len(ends) < (FEWEST_BLOCKS if best is None else _FEWEST_COARSE):
            break
        found = _judged(noise, _Blocks.of(increments, noise.scale, ends, size * finest), draws)
        if found.rest.code != "unknown" or found.rest.reason == "correlation_time":
            return found
        # Memory of single steps is gone in blocks of several.
        best = best or found
    if best is not None:
        return best
    # Of a walk every interval is worth as much as another, once it is over its standard deviation.
    found = _judged(noise, _Blocks.of(increments, noise.scale, np.arange(1, n + 1), 1), draws)
    if found.rest.code == "brownian":
        return found
    few = {"blocks": float(len(ticks)), "block": 1.0}
    return replace(found, rest=Rest("unknown", "few", few))


@dataclass(frozen=True)
class _Blocks:
    """Intervals of equal noise time.

    Attributes
    ----------
    rows : (block, component)
        Displacements over their standard deviation.
    walked : (block + 1, component)
        Where each ends, the start first.
    lengths : (block,)
        Standard deviations of the displacements.
    scale : (block + 1,)
        Root of the noise's standard deviation at the ends.
    ends : (block + 1,)
        Intervals before each of these places.
    times : tuple of (block,)
        Times from 0 to 1: of the noise, and of the checkpoints where these differ.
    size :
        Ticks of the noise's clock in a block.
    """

    rows: Floats
    walked: Floats
    lengths: Floats
    scale: Floats
    ends: NDArray[np.int64]
    times: tuple[Floats, ...]
    size: int

    @classmethod
    def of(cls, increments: Floats, scale: Floats, ends: NDArray[np.int64], size: int) -> "_Blocks":
        n = len(increments)
        starts = np.concatenate([[0], ends[:-1]])
        walked = np.concatenate([np.zeros((1, increments.shape[1])), increments.cumsum(axis=0)])
        squares = np.concatenate([[0.0], (scale**2).cumsum()])
        lengths = np.sqrt(squares[ends] - squares[starts])
        moved = walked[ends] - walked[starts]
        own = (np.arange(len(ends)) + 0.5) / len(ends)
        middle = (starts + ends) / (2 * n)
        return cls(
            moved / lengths[:, np.newaxis],
            walked[np.concatenate([[0], ends])],
            lengths,
            np.sqrt(scale[np.concatenate([[0], ends - 1])]),
            np.concatenate([[0], ends]),
            (own,) if np.ptp(np.diff(ends)) == 0 else (own, middle),
            size,
        )


def _judged(noise: NoiseCourse, blocks: _Blocks, draws: Draws) -> Found:
    slow = find_course(blocks.rows, blocks.times, draws.seed)
    rest, count, taken = _rest(blocks, slow, draws)
    return _told(noise, slow, count, blocks, taken, rest)


def _rest(blocks: _Blocks, slow: Slow, draws: Draws) -> tuple[Rest, int, Floats]:
    """What is left, how many functions the positions follow, and what these are in positions."""
    taken = _in_positions(blocks, slow, slow.count)
    course = _with_constant(slow.functions)
    drawn = draw_increments(blocks.rows, draws.count, draws.seed, course=course)
    evidence = {"blocks": float(len(blocks.rows)), "block": float(blocks.size)} | _p_values(drawn)
    ratios = drawn.variance_ratio
    is_near = bool(np.all(np.abs(ratios[0] - ratios[1:].mean(axis=0)) <= _SAME))

    def found(code: str, reason: str = "") -> tuple[Rest, int, Floats]:
        return Rest(code, reason, evidence), slow.count, taken

    if slow.is_whole and (evidence["brownian"] > draws.alpha or is_near):
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
    blocks: _Blocks, slow: Slow, evidence: dict[str, float], draws: Draws
) -> tuple[Rest, int, Floats]:
    m = len(blocks.rows)
    positions = blocks.walked / blocks.scale[:, np.newaxis]
    count = slow.count
    taken = _in_positions(blocks, slow, count)
    while count + 2 <= most_functions(m):
        more = _in_positions(blocks, slow, count + 2)
        p = goes_on(positions, taken, more, draws.seed + count)
        if count == slow.count:
            evidence["course_of_positions"] = p
        if p > draws.alpha / 2:
            break
        count, taken = count + 2, more
    left = positions - taken @ (taken.T @ positions)
    time = correlation_time(left)
    evidence["correlation_time"] = time * blocks.size
    if m < FEWEST_TIMES * time:
        return Rest("unknown", "correlation_time", evidence), count, taken
    turns = draw_alternation(left, taken, draws.count, draws.seed)
    evidence["alternation"] = brownian.p_value(turns)
    if evidence["alternation"] <= draws.alpha and -turns[0] <= FEWEST_TURNS:
        evidence["turns"] = -turns[0]
        return Rest("alternating", "", evidence), count, taken
    evidence["circulation"] = p = _circulation(left, count, draws)
    if p <= draws.alpha:
        # What is left over of a course bends, and looks like a current.
        further = _in_positions(blocks, slow, count + _MORE)
        without = positions - further @ (further.T @ positions)
        if _circulation(without, count + _MORE, draws) <= draws.alpha:
            return Rest("circulating", "", evidence), count, taken
    return Rest("confined", "", evidence), count, taken


def _in_positions(blocks: _Blocks, slow: Slow, count: int) -> Floats:
    return integrals(slow.basis[:, :count], blocks.lengths, blocks.scale)


def _circulation(path: Floats, count: int, draws: Draws) -> float:
    """p-value of a current at frequencies above those of the course."""
    modes = leading(path)
    if modes.shape[1] < 2:
        return 1.0
    n_steps = len(modes)
    spectra: Spectra = spectra_of(modes)
    spectra = spectra.copy()
    spectra[:, : count // 2] = 0
    n, seed = draws.count, draws.seed
    p = brownian.p_value(draw_circulation(spectra, n_steps, n, seed))
    if p > _WORTH_CONFIRMING:
        return p
    longest = min(20, n_steps // 10)
    drawn = draw_independent_modes(spectra, n_steps, draws.count, seed, longest=longest)
    return max(p, brownian.p_value(drawn))


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


def _told(
    noise: NoiseCourse, slow: Slow, count: int, blocks: _Blocks, taken: Floats, rest: Rest
) -> Found:
    """The numbers of a course, given by functions of positions over the root of the noise."""
    walked = blocks.walked
    ones = np.ones((len(walked), 1))
    design = np.column_stack([ones, taken * blocks.scale[:, np.newaxis]]) if taken.size else ones
    weights, *_ = np.linalg.lstsq(design, walked, rcond=None)
    course = design @ weights
    centred = course - course.mean(axis=0)
    moved = walked - walked.mean(axis=0)
    squares = np.linalg.svd(centred, compute_uv=False) ** 2
    speed = np.linalg.norm(np.diff(course, axis=0), axis=1)
    time = np.diff(blocks.ends)
    late = blocks.ends[1:] > blocks.ends[-1] / 2
    first, last = (
        float(speed[half].sum() / max(int(time[half].sum()), 1)) for half in (~late, late)
    )
    share = float((centred**2).sum() / max(float((moved**2).sum()), 1e-300))
    return Found(
        noise,
        slow,
        count,
        blocks.ends,
        design,
        min(share, 1.0) if max(count, slow.count) else 0.0,
        squares / max(float(squares.sum()), 1e-300),
        last / max(first, 1e-300),
        rest,
    )
