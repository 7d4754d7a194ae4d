"""Which checkpoints of a run a noise budget takes: stretches of it, as many as give an interval."""

import math
from itertools import pairwise
from typing import Final

import numpy as np

from trajscope.gradient_noise.spectrum.memory_plan import Room
from trajscope.optimizer import Optimizer

FEWEST_PLACES: Final = 3
GRADIENTS: Final = 128
"""Samples, or batches, at each place: a thousand in all, unless fewer are asked for."""
COPIES: Final = 4
"""Matrices of all inner products that are there at once, at the most."""

_PLACES: Final = 8
"""Where D is computed: a few more than the five that an average needs, for a narrower interval."""
_FEWEST_INTERVALS: Final = 4
"""Increments a place needs, for a mean and what is left of them."""
_MEMORIES: Final = 5
_INTERVALS: Final = 128
"""Increments that are taken around each place at most."""


def n_places(n_intervals: int, updates: int, optimizer: Optimizer) -> int:
    """How many places there can be: up to 8, each long enough for a mean of its own.

    Increments are correlated over ``mu/(1 - mu)`` updates: places of five times that are nearly
    independent of each other, which their interval needs (0.94 of them hold the truth instead of
    0.91 with three times).
    """
    return min(_PLACES, n_intervals // fewest_intervals(updates, optimizer))


def fewest_intervals(updates: int, optimizer: Optimizer) -> int:
    """How many intervals a place needs."""
    return max(_FEWEST_INTERVALS, math.ceil(_MEMORIES * optimizer.memory / updates))


def stretches_of(start: int, stop: int, n_places: int, room: Room) -> list[tuple[int, int]]:
    """First and last checkpoint of the middle of each of `n_places` parts."""
    _, longest = numbers(room, n_places)
    edges = np.linspace(start, stop, n_places + 1).astype(int).tolist()
    return [
        (first, first + length)
        for before, after in pairwise(edges)
        for length in [min(after - before, longest)]
        for first in [before + (after - before - length) // 2]
    ]


def numbers(room: Room, n_places: int) -> tuple[int, int]:
    """Gradients and intervals at each place, fewer where their products would not fit."""
    most = n_places * (GRADIENTS + _INTERVALS)
    fitting = (max(room.memory, 0) / (4 * COPIES * 8)) ** 0.5
    share = min(fitting / most, 1.0)
    return max(int(GRADIENTS * share), 2), max(int(_INTERVALS * share), _FEWEST_INTERVALS)
