"""Which bytes of a checkpoint's files make up a block of weights, and the reading of them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from trajscope.checkpoints.products import Factor, Product
from trajscope.errors import CheckpointError, printable
from trajscope.files import read_into
from trajscope.readers.base import Reader, TensorSpec, Values, stored_dtype, widened

# Below this, what lies between two tensors costs less to read than another call.
_WHOLE_BYTES = 256 << 10


@dataclass(frozen=True)
class TensorPlace:
    """Where one tensor lies in a checkpoint.

    `spec.offset` counts from the first plain tensor of the file, so that files whose headers
    differ in length share one layout. So do those of the factors of `product`.
    """

    part: int
    name: str
    spec: TensorSpec
    product: Product | None = None

    @property
    def arrays(self) -> "tuple[TensorPlace | Factor, ...]":
        """The array and its factors."""
        return (self, *(self.product.factors if self.product else ()))


@dataclass(frozen=True)
class Layout:
    """The places of all tensors, shared by the checkpoints in which they are the same.

    `composed` tells whether some are the product of several arrays.
    """

    places: tuple[TensorPlace, ...]
    readers: tuple[Reader, ...]
    composed: bool = False


@dataclass(frozen=True)
class _Stretch:
    """Elements that lie side by side in a file and in the block: ``block[out]``."""

    offset: int
    n_bytes: int
    stored: np.dtype[np.generic]
    out: slice
    as_is: bool


@dataclass(frozen=True)
class _Piece:
    """Elements of one tensor that only its reader can find."""

    spec: TensorSpec
    start: int
    stop: int
    out: slice


@dataclass(frozen=True)
class FactorPlan:
    """Elements of one tensor, ``block[out]``, that a factor turns into weights."""

    factor: Factor
    shape: tuple[int, ...]
    start: int
    out: slice


@dataclass(frozen=True)
class PartPlan:
    """What to read from one file of a checkpoint."""

    part: int
    reader: Reader
    stretches: tuple[_Stretch, ...]
    pieces: tuple[_Piece, ...]
    span: tuple[int, int] | None


def plan_factors(
    layout: Layout, starts: NDArray[np.int64], start: int, stop: int
) -> list[FactorPlan]:
    """What weights ``start:stop`` are multiplied with once their elements are read."""
    if not layout.composed:
        return []
    return [
        FactorPlan(
            factor, layout.places[tensor].spec.shape, lo - int(starts[tensor]),
            slice(lo - start, hi - start),
        )
        for tensor, lo, hi in overlaps(starts, start, stop)
        for factor in getattr(layout.places[tensor].product, "factors", ())
    ]  # fmt: skip


def plan_parts(
    layout: Layout,
    starts: NDArray[np.int64],
    start: int,
    stop: int,
    dtype: np.dtype[np.floating],
) -> list[PartPlan]:
    """What to read from each file for weights ``start:stop``."""
    stretches: dict[int, list[_Stretch]] = {}
    pieces: dict[int, list[_Piece]] = {}
    for tensor, lo, hi in overlaps(starts, start, stop):
        place, first = layout.places[tensor], int(starts[tensor])
        out = slice(lo - start, hi - start)
        stored = stored_dtype(place.spec.dtype)
        if place.spec.offset is None or stored is None:
            pieces.setdefault(place.part, []).append(
                _Piece(place.spec, lo - first, hi - first, out)
            )
            continue
        offset = place.spec.offset + (lo - first) * stored.itemsize
        stretches.setdefault(place.part, []).append(
            _Stretch(offset, (hi - lo) * stored.itemsize, stored, out, stored == dtype)
        )
    plans = []
    # Files of which nothing but factors is needed are compared with what they were all the same.
    others = {each.factor.part for each in plan_factors(layout, starts, start, stop)}
    for part in sorted(stretches.keys() | pieces.keys() | others):
        joined = _joined(stretches.get(part, []))
        plans.append(
            PartPlan(
                part,
                layout.readers[part],
                tuple(joined),
                tuple(pieces.get(part, ())),
                _common_span(joined),
            )
        )
    return plans


def overlaps(starts: NDArray[np.int64], start: int, stop: int) -> list[tuple[int, int, int]]:
    """Tensors that overlap weights ``start:stop``, and the first and last weight of the overlap."""
    first = int(np.searchsorted(starts, start, side="right")) - 1
    last = int(np.searchsorted(starts, stop, side="left"))
    return [
        (tensor, max(start, int(starts[tensor])), min(stop, int(starts[tensor + 1])))
        for tensor in range(first, last)
        if start < stop
    ]


def read_stretches(descriptor: int, path: str, plan: PartPlan, base: int, out: Values) -> None:
    """Fill ``out``, (weight,), with the plainly stored part of a plan from an open file.

    `base` is where the offsets of the layout begin to count in this file.

    Raises
    ------
    CheckpointError
        The file ends early.
    """
    if plan.span is not None:
        first, last = plan.span
        buffer = np.empty(last - first, np.uint8)
        _fill(descriptor, path, buffer, base + first)
        put_stretches(plan, [buffer.data], out)
        return
    for stretch in plan.stretches:
        if stretch.as_is:
            _fill(descriptor, path, out[stretch.out].view(np.uint8), base + stretch.offset)
        else:
            raw = np.empty(stretch.n_bytes, np.uint8)
            _fill(descriptor, path, raw, base + stretch.offset)
            _put(raw, stretch, out)


def bytes_of(plan: PartPlan) -> list[tuple[int, int]]:
    """First and last byte, counted from the file's base, of each piece to read of it."""
    if plan.span is not None:
        return [plan.span]
    return [(each.offset, each.offset + each.n_bytes) for each in plan.stretches]


def put_stretches(plan: PartPlan, pieces: Sequence[bytes | memoryview], out: Values) -> None:
    """Fill ``out``, (weight,), from the bytes that `bytes_of` asks for."""
    for number, stretch in enumerate(plan.stretches):
        first = plan.span[0] if plan.span is not None else stretch.offset
        whole = np.frombuffer(pieces[0 if plan.span is not None else number], np.uint8)
        _put(whole[stretch.offset - first : stretch.offset - first + stretch.n_bytes], stretch, out)


def _joined(stretches: Sequence[_Stretch]) -> list[_Stretch]:
    """Neighbours in the block that are neighbours in the file too, as one."""
    joined: list[_Stretch] = []
    for stretch in stretches:
        last = joined[-1] if joined else None
        if (
            last is not None
            and last.stored == stretch.stored
            and last.offset + last.n_bytes == stretch.offset
            and last.out.stop == stretch.out.start
        ):
            joined[-1] = replace(
                last,
                n_bytes=last.n_bytes + stretch.n_bytes,
                out=slice(last.out.start, stretch.out.stop),
            )
        else:
            joined.append(stretch)
    return joined


def _common_span(stretches: Sequence[_Stretch]) -> tuple[int, int] | None:
    """First and last byte of several stretches where reading all between them is cheaper."""
    if len(stretches) < 2:
        return None
    first = min(stretch.offset for stretch in stretches)
    last = max(stretch.offset + stretch.n_bytes for stretch in stretches)
    return (first, last) if last - first <= _WHOLE_BYTES else None


def _put(raw: NDArray[np.uint8], stretch: _Stretch, out: Values) -> None:
    # Stored numbers need not lie at a multiple of their size, which a view would demand.
    values = np.frombuffer(raw, stretch.stored)
    out[stretch.out] = values if stretch.as_is else widened(values)


def _fill(descriptor: int, path: str, buffer: NDArray[np.uint8], offset: int) -> None:
    if missing := read_into(descriptor, buffer.data, offset):
        raise CheckpointError(
            f"{printable(path)} ends early: {missing} bytes are missing at byte "
            f"{offset + buffer.nbytes - missing}. It may be unfinished; leave it out with "
            "--exclude, or wait."
        )
