"""Where every weight of a trajectory lies, and the reading of any block of them.

A manifest is small, picklable and read-only, so that any thread, process or machine that sees the
files can read from it.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trajscope.checkpoints.base import Checkpoint, CheckpointPart, Store
from trajscope.checkpoints.sections import Stored
from trajscope.checkpoints.weights import Weights
from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import (
    Reader,
    TensorSpec,
    Values,
    open_regular,
    stored_dtype,
    widened,
    widened_dtype,
)

# Below this a gap between two tensors costs less to read than another call.
_WHOLE_BYTES = 256 << 10

Rows = NDArray[np.intp]


class Manifest(Protocol):
    """What a trajectory is read through."""

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of weights."""

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """What every stored dtype is widened to."""

    def read(self, rows: Rows, start: int, stop: int) -> Values:
        """Weights ``start:stop`` at the step indices `rows`, in their order: (step, weight)."""


@dataclass(frozen=True)
class TensorPlace:
    """Where one tensor lies in a checkpoint.

    `spec.offset` counts from the first plain tensor of the file, so that files whose headers
    differ in length share one layout.
    """

    part: int
    name: str
    spec: TensorSpec


@dataclass(frozen=True)
class Layout:
    """The places of all tensors, shared by the checkpoints in which they are the same."""

    places: tuple[TensorPlace, ...]
    readers: tuple[Reader, ...]


@dataclass(frozen=True)
class FileManifest:
    """A trajectory in files.

    Attributes
    ----------
    root :
        Folder that `paths` are relative to.
    starts :
        (tensor + 1,): first weight of each tensor.
    layouts, layout_of :
        The layouts, and (step,) which of them a checkpoint has.
    first_file :
        (step,): the first file of each checkpoint; its parts follow.
    paths, sizes, mtimes_ns, bases :
        (file,): relative path, bytes, time of the last change, and where the first plain tensor
        begins.
    """

    root: str
    dtype: np.dtype[np.floating]
    starts: NDArray[np.int64]
    layouts: tuple[Layout, ...]
    layout_of: NDArray[np.int32]
    first_file: NDArray[np.int64]
    paths: NDArray[np.bytes_]
    sizes: NDArray[np.int64]
    mtimes_ns: NDArray[np.int64]
    bases: NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of weights."""
        return len(self.layout_of), int(self.starts[-1])

    def read(self, rows: Rows, start: int, stop: int) -> Values:
        """Weights ``start:stop`` at the step indices `rows`, in their order.

        Every file is opened once, and only the bytes asked for are read; several short stretches
        of one file are read in one piece with what lies between them.

        Returns
        -------
        (step, weight)

        Raises
        ------
        CheckpointError
            A file is gone, unreadable, or not as it was when the trajectory was opened.
        """
        block = np.empty((len(rows), max(stop - start, 0)), self.dtype)
        plans: dict[int, list[_PartPlan]] = {}
        for row, out in zip(rows.tolist(), block, strict=True):
            layout = int(self.layout_of[row])
            if layout not in plans:
                plans[layout] = _plan(self.layouts[layout], self.starts, start, stop, self.dtype)
            for plan in plans[layout]:
                self._read_part(int(self.first_file[row]) + plan.part, plan, layout, out)
        return block

    def _read_part(self, file: int, plan: "_PartPlan", layout: int, out: Values) -> None:
        path = Path(self.root, os.fsdecode(self.paths[file]))
        descriptor = _open(path)
        try:
            status = os.fstat(descriptor)
            if status.st_size != self.sizes[file]:
                raise _changed(path, f"{self.sizes[file]} bytes", f"{status.st_size} bytes")
            if status.st_mtime_ns != self.mtimes_ns[file]:
                self._check_header(path, file, plan.part, layout)
            _read_stretches(descriptor, path, plan, int(self.bases[file]), out)
        except OSError as error:
            raise CheckpointError(
                f"{printable(path)} cannot be read: {error.strerror}. Is the disk in order?"
            ) from error
        finally:
            os.close(descriptor)
        for piece in plan.pieces:
            out[piece.out] = plan.reader.read_range(path, piece.spec, piece.start, piece.stop)

    def _check_header(self, path: Path, file: int, part: int, layout: int) -> None:
        """Refuse a file that was written again with its tensors elsewhere."""
        tensors = self.layouts[layout].readers[part].read_header(path).tensors
        for place in self.layouts[layout].places:
            if place.part == part:
                spec = tensors.get(place.name)
                expected = _shifted(place.spec, int(self.bases[file]))
                if spec is None or _position(spec) != _position(expected):
                    raise _changed(path, f"tensor {place.name!r} where it was", "another layout")


@dataclass(frozen=True)
class StoreManifest:
    """A trajectory in one store; `rows` are the positions along its step axis."""

    store: Store
    names: tuple[str, ...]
    dtype: np.dtype[np.floating]
    starts: NDArray[np.int64]
    rows: Rows

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of weights."""
        return len(self.rows), int(self.starts[-1])

    def read(self, rows: Rows, start: int, stop: int) -> Values:
        """Weights ``start:stop`` at the step indices `rows`, in their order: (step, weight)."""
        block = np.empty((len(rows), max(stop - start, 0)), self.dtype)
        reader, path = self.store.reader, self.store.path
        for tensor, lo, hi in _overlaps(self.starts, start, stop):
            first = int(self.starts[tensor])
            name = self.names[tensor]
            block[:, lo - start : hi - start] = reader.read_block(
                path, name, self.rows[rows], lo - first, hi - first
            )
        return block


def make_manifest(root: Path, weights: Weights, store: Store | None) -> Manifest:
    """How to read the tensors that were chosen, in the dtype that holds all of them exactly."""
    starts = np.cumsum([0, *(tensor.size for tensor in weights.tensors)], dtype=np.int64)
    names = {name for tensor in weights.tensors for name in tensor.stored_dtype.split("|")}
    dtypes = [dtype for dtype in map(widened_dtype, sorted(names)) if dtype is not None]
    dtype = np.result_type(*dtypes)
    if store is not None:
        rows = np.array([checkpoint.row for checkpoint in weights.checkpoints], np.intp)
        stored = tuple(entry.name for entry in weights.stored[0])
        return StoreManifest(store, stored, dtype, starts, rows)
    return _file_manifest(root, weights, dtype, starts)


def _file_manifest(
    root: Path, weights: Weights, dtype: np.dtype[np.floating], starts: NDArray[np.int64]
) -> FileManifest:
    layouts: dict[Layout, int] = {}
    # Checkpoints with one table of tensors, shared by the reader, need no second look.
    seen: dict[tuple[int, ...], tuple[int, list[int]]] = {}
    layout_of, first_file, bases = [], [0], []
    parts: list[CheckpointPart] = []
    for checkpoint, stored in zip(weights.checkpoints, weights.stored, strict=True):
        tables = tuple(id(part.header.tensors) for part in checkpoint.parts)
        if tables not in seen:
            layout, own_bases = _layout(checkpoint, stored)
            seen[tables] = layouts.setdefault(layout, len(layouts)), own_bases
        number, own_bases = seen[tables]
        layout_of.append(number)
        bases.extend(own_bases)
        parts.extend(checkpoint.parts)
        first_file.append(len(parts))
    return FileManifest(
        root=str(root),
        dtype=dtype,
        starts=starts,
        layouts=tuple(layouts),
        layout_of=np.array(layout_of, np.int32),
        first_file=np.array(first_file[:-1], np.int64),
        paths=np.array([os.fsencode(part.file.relative) for part in parts]),
        sizes=np.array([part.file.size for part in parts], np.int64),
        mtimes_ns=np.array([part.file.mtime_ns for part in parts], np.int64),
        bases=np.array(bases, np.int64),
    )


def _layout(checkpoint: Checkpoint, stored: Sequence[Stored]) -> tuple[Layout, list[int]]:
    """The layout of one checkpoint, and where each of its files begins to be plain."""
    bases = [0] * len(checkpoint.parts)
    for part in range(len(checkpoint.parts)):
        offsets = [e.spec.offset for e in stored if e.part == part and e.spec.offset is not None]
        bases[part] = min(offsets, default=0)
    places = tuple(
        TensorPlace(entry.part, entry.name, _shifted(entry.spec, -bases[entry.part]))
        for entry in stored
    )
    return Layout(places, tuple(part.reader for part in checkpoint.parts)), bases


def _shifted(spec: TensorSpec, distance: int) -> TensorSpec:
    """The same array at another offset, without what only naming needs."""
    if spec.offset is None:
        return replace(spec, storage="")
    return replace(spec, offset=spec.offset + distance, locator=(), storage="")


def _position(spec: TensorSpec) -> tuple[object, ...]:
    plain = spec.offset is not None
    return spec.shape, spec.dtype, spec.offset, () if plain else spec.locator


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
class _PartPlan:
    """What to read from one file of a checkpoint."""

    part: int
    reader: Reader
    stretches: tuple[_Stretch, ...]
    pieces: tuple[_Piece, ...]
    span: tuple[int, int] | None


def _overlaps(
    starts: NDArray[np.int64], start: int, stop: int
) -> list[tuple[int, int, int]]:
    """Tensors that overlap weights ``start:stop``, with the first and last weight of the overlap."""
    first = int(np.searchsorted(starts, start, side="right")) - 1
    last = int(np.searchsorted(starts, stop, side="left"))
    return [
        (tensor, max(start, int(starts[tensor])), min(stop, int(starts[tensor + 1])))
        for tensor in range(first, last)
        if start < stop
    ]


def _plan(
    layout: Layout,
    starts: NDArray[np.int64],
    start: int,
    stop: int,
    dtype: np.dtype[np.floating],
) -> list[_PartPlan]:
    """What to read from each file for weights ``start:stop``."""
    stretches: dict[int, list[_Stretch]] = {}
    pieces: dict[int, list[_Piece]] = {}
    for tensor, lo, hi in _overlaps(starts, start, stop):
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
    for part in sorted(stretches.keys() | pieces.keys()):
        joined = _joined(stretches.get(part, []))
        plans.append(
            _PartPlan(
                part,
                layout.readers[part],
                tuple(joined),
                tuple(pieces.get(part, ())),
                _common_span(joined),
            )
        )
    return plans


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


def _open(path: Path) -> int:
    try:
        return open_regular(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise CheckpointError(
                f"{printable(path)} was there when the trajectory was opened and cannot be found "
                f"on {printable(os.uname().nodename)}. Was it deleted? If this is a worker of a "
                "cluster: is the folder shared with it, under the same path?"
            ) from error
        raise


def _changed(path: Path, expected: str, found: str) -> CheckpointError:
    return CheckpointError(
        f"{printable(path)} was written again after the trajectory was opened: {printable(expected)} "
        f"expected, {found} found. Open the trajectory again once the training has finished."
    )


def _read_stretches(
    descriptor: int, path: Path, plan: _PartPlan, base: int, out: Values
) -> None:
    if plan.span is not None:
        first, last = plan.span
        buffer = np.empty(last - first, np.uint8)
        _fill(descriptor, path, buffer, base + first)
        for stretch in plan.stretches:
            raw = buffer[stretch.offset - first : stretch.offset - first + stretch.n_bytes]
            _put(raw, stretch, out)
        return
    for stretch in plan.stretches:
        if stretch.as_is:
            _fill(descriptor, path, out[stretch.out].view(np.uint8), base + stretch.offset)
        else:
            raw = np.empty(stretch.n_bytes, np.uint8)
            _fill(descriptor, path, raw, base + stretch.offset)
            _put(raw, stretch, out)


def _put(raw: NDArray[np.uint8], stretch: _Stretch, out: Values) -> None:
    # Stored numbers need not lie at a multiple of their size, which a view would demand.
    values = np.frombuffer(raw, stretch.stored)
    out[stretch.out] = values if stretch.as_is else widened(values)


def _fill(descriptor: int, path: Path, buffer: NDArray[np.uint8], offset: int) -> None:
    """Read until `buffer` is full: one call may return less than was asked for."""
    view = memoryview(buffer)
    while view:
        count = os.preadv(descriptor, [view], offset)
        if count == 0:
            raise CheckpointError(
                f"{printable(path)} ends early: {len(view)} bytes are missing at byte {offset}. "
                "It may be being written; leave it out with --exclude, or wait."
            )
        view, offset = view[count:], offset + count
