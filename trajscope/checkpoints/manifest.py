"""Where every weight of a trajectory lies, and the reading of any block of them.

A manifest is small, picklable and read-only, so that any thread, process or machine that sees the
files can read from it.
"""

import os
from collections.abc import Callable, Mapping
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
from trajscope.errors import ChangedError, CheckpointError, printable
from trajscope.readers.base import Reader, TensorSpec, Values
from trajscope.readers.files import open_regular, state_of

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
    paths, sizes, states, bases :
        (file,): relative path, bytes, `readers.files.state_of` when it was opened, and where the
        first plain tensor begins. A file that holds several checkpoints is listed for each.
    digests :
        `Header.digest` of those files that stand for others beside them, by number.
    """

    root: str
    dtype: np.dtype[np.floating]
    starts: NDArray[np.int64]
    layouts: tuple[Layout, ...]
    layout_of: Indices
    first_file: Indices
    paths: NDArray[np.bytes_]
    sizes: Indices
    states: NDArray[np.uint64]
    bases: Indices
    digests: Mapping[int, str]

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
        of one file are read in one piece with what lies between them. Each is compared with what it
        was before and after.

        Returns
        -------
        (step, weight)

        Raises
        ------
        ChangedError
            A file is gone, or not as it was when the trajectory was opened.
        CheckpointError
            A file cannot be read.
        """
        block = np.empty((len(rows), max(stop - start, 0)), self.dtype)
        if not block.shape[1]:
            self._check_all(rows)
        plans: dict[int, list[PartPlan]] = {}
        layouts, files = self.layout_of[rows].tolist(), self.first_file[rows].tolist()
        for layout, file, out in zip(layouts, files, block, strict=True):
            if layout not in plans:
                plans[layout] = plan_parts(
                    self.layouts[layout], self.starts, start, stop, self.dtype
                )
            for plan in plans[layout]:
                self._read_part(file + plan.part, plan, out)
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

    def _read_part(self, file: int, plan: PartPlan, out: Values) -> None:
        # A Path takes longer to make than a small block to read.
        path = f"{self.root}/{os.fsdecode(self.paths[file])}"
        descriptor = _open(path)
        try:
            before = os.fstat(descriptor)
            self._check(file, path, before)
            try:
                read_stretches(descriptor, path, plan, int(self.bases[file]), out)
                for piece in plan.pieces:
                    out[piece.out] = plan.reader.read_range(
                        Path(path), piece.spec, piece.start, piece.stop
                    )
            finally:  # whatever is wrong with a file that changed meanwhile
                # What only its reader finds was read through another descriptor.
                after = _status(path) if plan.pieces else os.fstat(descriptor)
                if _differ(before, after):
                    self._check(file, path, after)
        except OSError as error:
            raise CheckpointError(
                f"{printable(path)} cannot be read: {error.strerror}. Check the disk."
            ) from error
        finally:
            os.close(descriptor)

    def _read_factor(
        self, file: int, reader: Reader, spec: TensorSpec, first: int, last: int
    ) -> Values:
        path = f"{self.root}/{os.fsdecode(self.paths[file])}"
        try:
            return reader.read_range(Path(path), spec, first, last)
        finally:
            self._check(file, path, _status(path))

    def _check_all(self, rows: Rows) -> None:
        """Refuse checkpoints that are not as they were; no weights are read."""
        for row in rows.tolist():
            first = int(self.first_file[row])
            for file in range(first, first + len(self.layouts[int(self.layout_of[row])].readers)):
                path = f"{self.root}/{os.fsdecode(self.paths[file])}"
                self._check(file, path, _status(path))
                if file in self.digests:
                    self._check_others(file, path, row)

    def _check(self, file: int, path: str, status: os.stat_result) -> None:
        """Refuse a file that was written again, or that another has taken the place of."""
        if status.st_size != self.sizes[file]:
            raise changed(path, f"{self.sizes[file]} bytes expected, {status.st_size} found")
        if state_of(status) != self.states[file]:
            raise changed(path, "another inode, or other times of its last change")

    def _check_others(self, file: int, path: str, row: int) -> None:
        """Refuse a file that stands for others, one of which was written again."""
        readers = self.layouts[int(self.layout_of[row])].readers
        reader = readers[file - int(self.first_file[row])]
        try:
            digest = reader.read_header(Path(path)).digest
        except CheckpointError as error:
            raise ChangedError(str(error), str(error), unseen=True) from error
        if digest != self.digests[file]:
            raise changed(path, "another size or time of a file beside it", unseen=True)


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


def _open(path: str) -> int:
    try:
        return open_regular(path)
    except CheckpointError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            raise gone(path) from error
        raise ChangedError(str(error), str(error)) from error


def _differ(before: os.stat_result, after: os.stat_result) -> bool:
    return (
        after.st_mtime_ns != before.st_mtime_ns
        or after.st_ctime_ns != before.st_ctime_ns
        or after.st_size != before.st_size
        or after.st_ino != before.st_ino
    )


def _status(path: str) -> os.stat_result:
    try:
        return os.stat(path)  # noqa: PTH116 - a Path takes longer to make
    except FileNotFoundError as error:
        raise gone(path) from error


def gone(path: str) -> ChangedError:
    """The error for a file that is no longer there."""
    what = "existed when the trajectory was opened but cannot be found"
    return ChangedError(
        f"{printable(path)} {what} on {printable(os.uname().nodename)}. Was it deleted? Workers of "
        "a cluster need access to the folder under the same path.",
        f"it {what} any more",
    )


def changed(path: str, how: str, *, unseen: bool = False) -> ChangedError:
    """The error for a file that is not as it was when the trajectory was opened."""
    what = f"was written again after the trajectory was opened: {printable(how)}"
    return ChangedError(
        f"{printable(path)} {what}. Open the trajectory again after training has finished.",
        f"it {what}",
        unseen,
    )
