"""Weights that are stored as an array and what it is multiplied with: their record and reading."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajscope.readers.base import TensorSpec, Values
from trajscope.readers.ranges import row_major

_BATCH = 2**19
"""Elements whose places in a factor are computed at once."""


@dataclass(frozen=True)
class Factor:
    """An array of which each value belongs to a block of the elements of another.

    Attributes
    ----------
    part, name, spec :
        Where it lies: the part of the checkpoint, its name there, and its header entry.
    blocks :
        Elements of the other array, along each of its axes, that share one value of this one. The
        last block of an axis may be shorter.
    subtracted :
        Whether its values are subtracted from the elements and not multiplied with them.
    divisor :
        What its values are divided by first.
    """

    part: int
    name: str
    spec: TensorSpec
    blocks: tuple[int, ...]
    subtracted: bool = False
    divisor: float = 1.0


@dataclass(frozen=True)
class Product:
    """What turns the elements of an array into weights, one factor after another.

    `dtype` is the narrowest that the weights can be said to be stored in.
    """

    factors: tuple[Factor, ...]
    dtype: str


def grid(shape: Sequence[int], blocks: Sequence[int]) -> tuple[int, ...]:
    """Number of blocks along each axis of an array."""
    return tuple(-(-length // block) for length, block in zip(shape, blocks, strict=True))


def apply_factor(
    out: Values,
    shape: tuple[int, ...],
    start: int,
    factor: Factor,
    read: Callable[[int, int], Values],
) -> None:
    """Turn the elements from `start` on of a flattened array of this shape, in ``out``, (weight,).

    ``read(first, last)`` gives elements of the flattened factor; only those needed are asked for.
    """
    if not out.size:
        return
    single = all(block == 1 for block in factor.blocks) and bool(shape)
    first, last = start, start + len(out)
    if not single:
        first, last = _needed(shape, factor.blocks, first, last)
    # In the precision of the weights, as the libraries do that wrote them.
    values = (read(first, last) / factor.divisor).astype(out.dtype)
    for low in range(0, len(out), _BATCH):
        batch = out[low : low + _BATCH]
        if len(values) == 1:
            own = values
        elif single:
            own = values[low : low + _BATCH]
        else:
            places = _places(shape, factor.blocks, start + low, start + low + len(batch))
            own = values[places - first]
        if factor.subtracted:
            batch -= own
        else:
            batch *= own


def _needed(
    shape: tuple[int, ...], blocks: tuple[int, ...], start: int, stop: int
) -> tuple[int, int]:
    """First and last flat value of a factor that elements ``start:stop`` need."""
    low, high, first = start, stop - 1, 0
    row = math.prod(shape)
    for length, block, stride in zip(shape, blocks, row_major(grid(shape, blocks)), strict=True):
        row //= length
        (from_index, low), (to_index, high) = divmod(low, row), divmod(high, row)
        begin = first + from_index // block * stride
        if from_index != to_index:
            return begin, first + (to_index // block + 1) * stride
        first = begin
    return first, first + 1


def _places(
    shape: tuple[int, ...], blocks: tuple[int, ...], start: int, stop: int
) -> NDArray[np.int64]:
    """Flat value of a factor that each of the elements ``start:stop`` belongs to."""
    rest = np.arange(start, stop, dtype=np.int64)
    places = np.zeros(stop - start, np.int64)
    strides = row_major(grid(shape, blocks))
    for length, block, stride in zip(shape[::-1], blocks[::-1], strides[::-1], strict=True):
        rest, index = np.divmod(rest, length)
        places += index // block * stride
    return places
