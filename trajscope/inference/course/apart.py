"""A window taken apart: its noise, its course, and the rest."""

from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.course.blocks import Blocks
from trajscope.inference.course.clock import NoiseCourse, blocks_of, constant, fitted
from trajscope.inference.course.rest import Draws, Rest, rest_of
from trajscope.inference.course.slow import Slow, find_course
from trajscope.inference.course.smooth import noise_if_negligible
from trajscope.kernels.gram import Floats

FEWEST_BLOCKS: Final = 32
_ONE_WAY: Final = 0.9
"""Share of the course's squares along one direction, from which it is called straight."""
_SMOOTH: Final = "smooth"
_SIZES: Final = (1, 2, 3, 4, 6, 9, 13, 19, 28, 42, 63)
_FEWEST_COARSE: Final = 16
_MOST_BLOCKS: Final = 4000
"""Longer windows are looked at in blocks: a course and a rest of thousands of points are plain."""


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

    @property
    def is_curved(self) -> bool:
        """Whether there is a course, and it is more than a movement along one line."""
        return self.count > 0 and bool(self.directions[0] < _ONE_WAY)

    @property
    def is_smooth(self) -> bool:
        """Whether nothing in the increments may be noise, so that there is no rest to judge."""
        return self.rest.reason == _SMOOTH

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
    rounding: float = 0.0,
) -> Found:
    """Noise, course and rest of evenly spaced increments.

    Where no noise is to be seen, what a course leaves is the error of its description, and is not
    judged. Where the noise changes its scale s[t] is fitted, and time is counted by the clock of
    `blocks_of`: ``dx = -s h x dt + s dW`` and every walk are steady in it.

    Parameters
    ----------
    increments : (interval, component)
    rate : (interval,)
        Learning rate, where it is known.
    rounding :
        Share of the squared increments that is rounding of the stored weights.
    """
    n = len(increments)
    share = noise_if_negligible(increments, rounding)
    if share is not None:
        return _smooth(increments, share, draws)
    noise = fitted(increments, rate) if noise_changes else constant(n)
    ticks = blocks_of(noise.scale)
    finest = -(-n // _MOST_BLOCKS)
    best: Found | None = None
    for size in _SIZES:
        ends = ticks[size * finest - 1 :: size * finest]
        if len(ends) < (FEWEST_BLOCKS if best is None else _FEWEST_COARSE):
            break
        found = judged(noise, Blocks.of(increments, noise.scale, ends, size * finest), draws)
        if found.rest.code != "unknown" or found.rest.reason == "correlation_time":
            return found
        # Memory of single steps is gone in blocks of several.
        best = best or found
    if best is not None:
        return best
    # Of a walk every interval is worth as much as another, once it is over its standard deviation.
    every = np.arange(finest, n + 1, finest)
    found = judged(noise, Blocks.of(increments, noise.scale, every, finest), draws)
    if found.rest.code == "brownian":
        return found
    few = {"blocks": float(len(ticks)), "block": float(finest)}
    return replace(found, rest=Rest("unknown", "few", few))


def _smooth(increments: Floats, share: float, draws: Draws) -> Found:
    """The course of a path without noise."""
    n = len(increments)
    size, noise = -(-n // _MOST_BLOCKS), constant(n)
    ends = np.arange(size, n + 1, size)
    blocks = Blocks.of(increments, noise.scale, ends, size)
    slow = find_course(blocks.rows, blocks.times, draws.seed)
    rest = Rest("unknown", _SMOOTH, {"blocks": float(len(ends)), "noise": share})
    _, count, taken = rest_of(blocks, slow, draws)
    return _told(noise, slow, count, blocks, taken, rest)


def judged(noise: NoiseCourse, blocks: Blocks, draws: Draws) -> Found:
    """The course of a window in blocks of one size, and the rest about it."""
    slow = find_course(blocks.rows, blocks.times, draws.seed)
    rest, count, taken = rest_of(blocks, slow, draws)
    return _told(noise, slow, count, blocks, taken, rest)


def _told(
    noise: NoiseCourse, slow: Slow, count: int, blocks: Blocks, taken: Floats, rest: Rest
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
