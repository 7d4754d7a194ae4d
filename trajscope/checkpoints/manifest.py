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

from trajscope.checkpoints.as_opened import changed, differ, open_part, refuse, status_of
from trajscope.checkpoints.plan import (
    FactorPlan,
    Layout,
    PartPlan,
    plan_factors,
    plan_parts,
    read_stretches,
)
from trajscope.checkpoints.products import apply_factor
from trajscope.errors import ChangedError, CheckpointError, printable
from trajscope.readers.base import Reader, TensorSpec, Values
from trajscope.readers.files import state_of

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
        descriptor = open_part(path)
        try:
            before = os.fstat(descriptor)
            self._check(file, path, before)
            try:
                read_stretches(descriptor, path, plan, int(self.bases[file]), out)
                for piece in plan.pieces:
                    out[piece.out] = plan.reader.read_range(
                        Path(path), piece.spec, piece.start, piece.stop
                    )
            except CheckpointError:
                if file in self.digests:  # a file beside it is being written
                    self._check_others(file, path, plan.reader)
                raise
            finally:  # whatever is wrong with a file that changed meanwhile
                # What only its reader finds was read through another descriptor.
                after = status_of(path) if plan.pieces else os.fstat(descriptor)
                if differ(before, after):
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
            self._check(file, path, status_of(path))

    def _check_all(self, rows: Rows) -> None:
        """Refuse checkpoints that are not as they were; no weights are read."""
        lost = {}
        for place, row in enumerate(rows.tolist()):
            try:
                self._check_row(row)
            except ChangedError as error:
                lost[place] = error
        refuse(lost)

    def _check_row(self, row: int) -> None:
        readers = self.layouts[int(self.layout_of[row])].readers
        for file, reader in enumerate(readers, int(self.first_file[row])):
            path = f"{self.root}/{os.fsdecode(self.paths[file])}"
            self._check(file, path, status_of(path))
            if file in self.digests:
                self._check_others(file, path, reader)

    def _check(self, file: int, path: str, status: os.stat_result) -> None:
        """Refuse a file that was written again, or that another has taken the place of."""
        if status.st_size != self.sizes[file]:
            raise changed(path, f"{self.sizes[file]} bytes expected, {status.st_size} found")
        if state_of(status) != self.states[file]:
            raise changed(path, "another inode, or other times of its last change")

    def _check_others(self, file: int, path: str, reader: Reader) -> None:
        """Refuse a file that stands for others, one of which was written again."""
        try:
            digest = reader.read_header(Path(path)).digest
        except CheckpointError as error:
            raise ChangedError(str(error), str(error), unseen=True) from error
        if digest != self.digests[file]:
            raise changed(path, "another size or time of a file beside it", unseen=True)


def shifted(spec: TensorSpec, distance: int) -> TensorSpec:
    """The same array at another offset, without what only naming needs."""
    if spec.offset is None:
        return replace(spec, storage="")
    return replace(spec, offset=spec.offset + distance, locator=(), storage="")
