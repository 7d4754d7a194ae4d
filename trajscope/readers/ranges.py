"""Flat ranges of one stored array, wherever in a file its elements lie."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajscope.readers.base import StoreTensor, TensorSpec, Values, stored_dtype, widened
from trajscope.readers.files import open_regular, read_exactly
from trajscope.readers.inflation import PIECE, Source

PARTS = {"complex32": "float16", "complex64": "float32", "complex128": "float64"}
"""The dtype of the two parts of complex numbers."""

_BATCH = 2**19
"""Elements whose places are computed at once."""


class Place(NamedTuple):
    """Where an array lies that is no plain run of little-endian bytes; a `TensorSpec.locator`.

    Attributes
    ----------
    first :
        First byte in the file of the data, deflated or not.
    packed :
        Bytes of the deflate stream there; 0 where the data is stored as it is.
    lead :
        Bytes of the (inflated) data before the array's memory.
    start :
        Element of that memory that is the array's first.
    strides :
        Elements from one index to the next along each dimension.
    big_endian :
        Whether the elements are stored most significant byte first.
    signs :
        What the elements of even and of odd index are times: torch notes conjugation, and does it
        when the numbers are used.
    """

    first: int
    packed: int
    lead: int
    start: int
    strides: tuple[int, ...]
    big_endian: bool
    signs: tuple[int, int] = (1, 1)


class Constant(NamedTuple):
    """The only value of an array that lies nowhere else; a `TensorSpec.locator`."""

    value: float


def row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Strides, in elements, of an array whose last index varies fastest."""
    strides = [1] * len(shape)
    for axis in range(len(shape) - 2, -1, -1):
        strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1)
    return tuple(strides)


def is_row_major(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """Whether the elements lie behind one another in the order of the indices."""
    expected = 1
    for length, stride in zip(reversed(shape), reversed(strides), strict=True):
        if length == 0:
            return True
        if length > 1 and stride != expected:
            return False
        expected *= length
    return True


def paired(spec: TensorSpec) -> TensorSpec:
    """The array as one of real numbers: of complex ones both parts, along a last axis of two."""
    part = PARTS.get(spec.dtype)
    if part is None:
        return spec
    place = spec.locator
    if isinstance(place, Place):
        strides = (*(2 * stride for stride in place.strides), 1)
        place = place._replace(start=2 * place.start, strides=strides)
    return replace(
        spec, shape=(*spec.shape, 2), dtype=part, locator=place, original=spec.dtype
    )  # fmt: skip


def paired_tensor(shape: tuple[int, ...], dtype: str, original: str = "") -> StoreTensor:
    """The array at each step of a store likewise; its `dtype` stays that of the array."""
    if dtype in PARTS:
        return StoreTensor((*shape, 2), dtype, PARTS[dtype])
    return StoreTensor(shape, dtype, original)


def read_pairs(
    read: Callable[[int, int], NDArray[np.generic]], start: int, stop: int
) -> NDArray[np.generic]:
    """Real numbers ``start:stop`` along the last axis of complex ones.

    ``read(first, last)`` gives the complex numbers ``first:last``, as (..., number).
    """
    first = start // 2
    numbers = np.ascontiguousarray(read(first, -(-stop // 2)))
    parts = numbers.view(numbers.real.dtype)
    return parts[..., start - 2 * first : stop - 2 * first]


def read_range(path: Path, spec: TensorSpec, start: int, stop: int) -> Values:
    """Elements ``start:stop`` of the flattened tensor as (weight,), widened to float32 or float64.

    Raises
    ------
    CheckpointError
        The file is shorter than its header said, gone, or its compressed data is damaged.
    """
    dtype = stored_dtype(spec.dtype)
    if dtype is None:
        raise TypeError(f"unsupported dtype {spec.dtype}")
    if not 0 <= start <= stop <= spec.size:
        raise IndexError(f"{start}:{stop} is outside a tensor of {spec.size} elements")
    if isinstance(spec.locator, Constant):
        return widened(np.full(stop - start, spec.locator.value, dtype))
    descriptor = open_regular(path)
    try:
        if spec.offset is not None:
            first = spec.offset + start * dtype.itemsize
            raw = read_exactly(descriptor, path, first, (stop - start) * dtype.itemsize)
            return widened(np.frombuffer(raw, dtype))
        place = Place(*spec.locator)  # type: ignore[arg-type]  # opaque outside the readers
        elements = dtype.newbyteorder(">") if place.big_endian else dtype
        source = Source(descriptor, path, place.first, place.packed)
        if is_row_major(spec.shape, place.strides):
            first = place.lead + (place.start + start) * dtype.itemsize
            raw = source.span(first, (stop - start) * dtype.itemsize)
            values = widened(np.frombuffer(raw, elements))
        else:
            values = widened(_gathered(source, spec.shape, place, elements, (start, stop)))
        if place.signs == (1, 1):
            return values
        even, odd = place.signs
        return np.where(np.arange(start, stop) % 2, odd * values, even * values)
    finally:
        os.close(descriptor)


def _gathered(
    source: Source,
    shape: tuple[int, ...],
    place: Place,
    dtype: np.dtype[np.generic],
    span: tuple[int, int],
) -> NDArray[np.generic]:
    """Elements ``start:stop``, in index order, of an array with any strides."""
    start, stop = span
    values = np.empty(stop - start, dtype)
    for low in range(start, stop, _BATCH):
        high = min(low + _BATCH, stop)
        places = _places(shape, place, low, high)
        batch = values[low - start : high - start]
        for first, last in _runs(places, max(PIECE // dtype.itemsize, 1)):
            count = (last - first) * dtype.itemsize
            raw = source.span(place.lead + first * dtype.itemsize, count)
            inside = (places >= first) & (places < last)
            batch[inside] = np.frombuffer(raw, dtype)[places[inside] - first]
    return values


def _places(shape: tuple[int, ...], place: Place, low: int, high: int) -> NDArray[np.int64]:
    """Element of the memory that each of the flat indices ``low:high`` is stored at."""
    rest = np.arange(low, high, dtype=np.int64)
    places = np.full(high - low, place.start, np.int64)
    for length, stride in zip(reversed(shape), reversed(place.strides), strict=True):
        rest, index = np.divmod(rest, length)
        places += index * stride
    return places


def _runs(places: NDArray[np.int64], longest: int) -> Iterator[tuple[int, int]]:
    """Stretches of memory, none longer than `longest`, that together hold all places."""
    remaining = np.sort(places)
    while remaining.size:
        first = int(remaining[0])
        count = int(np.searchsorted(remaining, first + longest))
        yield first, int(remaining[count - 1]) + 1
        remaining = remaining[count:]
