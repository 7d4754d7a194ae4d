"""Where every weight of a trajectory lies, and the reading of any block of them.

A manifest is small, picklable and read-only, so that any thread, process or machine that sees the
files can read from it.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from trajscope.checkpoints.base import Store
from trajscope.checkpoints.plan import (
    FactorPlan,
    Layout,
    PartPlan,
    overlaps,
    plan_factors,
    plan_parts,
    read_stretches,
)
from trajscope.checkpoints.products import Factor, Product, apply_factor
from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import Reader, TensorSpec, Values
from trajscope.readers.files import open_regular

Rows = NDArray[np.intp]
Indices = NDArray[np.unsignedinteger]

ReadFactor = Callable[[int, Reader, TensorSpec, int, int], Values]
"""Number of a file, its reader, an array of it, first and last element, to (element,)."""


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
    paths, insides, sizes, mtimes_ns, bases :
        (file,): relative path, what stands before the names of its tensors, bytes, time of the last
        change, and where the first plain tensor begins. A file that holds several checkpoints is
        listed for each.
    """

    root: str
    dtype: np.dtype[np.floating]
    starts: NDArray[np.int64]
    layouts: tuple[Layout, ...]
    layout_of: Indices
    first_file: Indices
    paths: NDArray[np.bytes_]
    insides: NDArray[np.str_]
    sizes: Indices
    mtimes_ns: NDArray[np.int64]
    bases: Indices

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of weights."""
        return len(self.layout_of), int(self.starts[-1])

    def path(self, file: int) -> str:
        """Relative path of a file by its number."""
        return os.fsdecode(self.paths[file])

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
        plans: dict[int, list[PartPlan]] = {}
        layouts, files = self.layout_of[rows].tolist(), self.first_file[rows].tolist()
        for layout, file, out in zip(layouts, files, block, strict=True):
            if layout not in plans:
                plans[layout] = plan_parts(
                    self.layouts[layout], self.starts, start, stop, self.dtype
                )
            for plan in plans[layout]:
                self._read_part(file + plan.part, plan, layout, out)
        self.multiply(rows, start, stop, block, self._read_factor)
        return block

    def multiply(self, rows: Rows, start: int, stop: int, block: Values, read: ReadFactor) -> None:
        """Turn elements ``start:stop``, in ``block``, (step, weight), into weights in place.

        ``read(file, reader, spec, first, last)`` gives elements of an array in a file.
        """
        if not any(layout.composed for layout in self.layouts):
            return
        plans: dict[int, list[FactorPlan]] = {}
        layouts, files = self.layout_of[rows].tolist(), self.first_file[rows].tolist()
        for layout, first_file, out in zip(layouts, files, block, strict=True):
            if layout not in plans:
                plans[layout] = plan_factors(self.layouts[layout], self.starts, start, stop)
            for plan in plans[layout]:
                file = first_file + plan.factor.part
                spec = shifted(plan.factor.spec, int(self.bases[file]))
                own = partial(read, file, self.layouts[layout].readers[plan.factor.part], spec)
                apply_factor(out[plan.out], plan.shape, plan.start, plan.factor, own)

    def _read_part(self, file: int, plan: PartPlan, layout: int, out: Values) -> None:
        # A Path takes longer to make than a small block to read.
        path = f"{self.root}/{os.fsdecode(self.paths[file])}"
        descriptor = _open(path)
        try:
            status = os.fstat(descriptor)
            if status.st_size != self.sizes[file]:
                raise changed(path, f"{self.sizes[file]} bytes", f"{status.st_size} bytes")
            if status.st_mtime_ns != self.mtimes_ns[file]:
                self._check_header(path, file, plan.part, layout)
            read_stretches(descriptor, path, plan, int(self.bases[file]), out)
        except OSError as error:
            raise CheckpointError(
                f"{printable(path)} cannot be read: {error.strerror}. Check the disk."
            ) from error
        finally:
            os.close(descriptor)
        for piece in plan.pieces:
            out[piece.out] = plan.reader.read_range(Path(path), piece.spec, piece.start, piece.stop)

    def _read_factor(
        self, file: int, reader: Reader, spec: TensorSpec, first: int, last: int
    ) -> Values:
        path = Path(f"{self.root}/{os.fsdecode(self.paths[file])}")
        return reader.read_range(path, spec, first, last)

    def _check_header(self, path: str, file: int, part: int, layout: int) -> None:
        """Refuse a file that was written again with its tensors elsewhere."""
        tensors = self.layouts[layout].readers[part].read_header(Path(path)).tensors
        for each in (array for place in self.layouts[layout].places for array in place.arrays):
            if each.part == part:
                spec = tensors.get(f"{self.insides[file]}{each.name}")
                expected = shifted(each.spec, int(self.bases[file]))
                if spec is None or _position(spec) != _position(expected):
                    raise changed(path, f"tensor {each.name!r} where it was", "another layout")


@dataclass(frozen=True)
class StoreManifest:
    """A trajectory in one store; `rows` are the positions along its step axis.

    `products` says for each of `names` what its elements are multiplied with, if anything.
    """

    store: Store
    names: tuple[str, ...]
    products: tuple[Product | None, ...]
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
        reader, path, tensors = self.store.reader, self.store.path, self.store.header.tensors
        for tensor, lo, hi in overlaps(self.starts, start, stop):
            first = int(self.starts[tensor])
            name, product = self.names[tensor], self.products[tensor]
            own = block[:, lo - start : hi - start]
            own[:] = reader.read_block(
                path, name, tensors[name], self.rows[rows], lo - first, hi - first
            )
            for factor in product.factors if product is not None else ():
                for row, out in zip(self.rows[rows], own, strict=True):
                    self._multiply(row, factor, tensors[name].shape, lo - first, out)
        return block

    def _multiply(
        self, row: np.intp, factor: Factor, shape: tuple[int, ...], start: int, out: Values
    ) -> None:
        path, reader = self.store.path, self.store.reader
        tensor, rows = self.store.header.tensors[factor.name], np.array([row])

        def read(first: int, last: int) -> Values:
            values: Values = reader.read_block(path, factor.name, tensor, rows, first, last)[0]
            return values

        apply_factor(out, shape, start, factor, read)


def shifted(spec: TensorSpec, distance: int) -> TensorSpec:
    """The same array at another offset, without what only naming needs."""
    if spec.offset is None:
        return replace(spec, storage="")
    return replace(spec, offset=spec.offset + distance, locator=(), storage="")


def _position(spec: TensorSpec) -> tuple[object, ...]:
    plain = spec.offset is not None
    return spec.shape, spec.dtype, spec.offset, () if plain else spec.locator


def _open(path: str) -> int:
    try:
        return open_regular(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise CheckpointError(
                f"{printable(path)} existed when the trajectory was opened but cannot be found on "
                f"{printable(os.uname().nodename)}. Was it deleted? Workers of a cluster need "
                "access to the folder under the same path."
            ) from error
        raise


def changed(path: str, expected: str, found: str) -> CheckpointError:
    """The error for a file that is not as it was when the trajectory was opened."""
    return CheckpointError(
        f"{printable(path)} was written again after the trajectory was opened: "
        f"{printable(expected)} expected, {found} found. Open the trajectory again after training "
        "has finished."
    )
