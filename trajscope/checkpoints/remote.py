"""A trajectory behind an address: ranges of bytes are asked for, many at once."""

from dataclasses import dataclass, replace

import numpy as np

from trajscope.checkpoints.addresses import Place
from trajscope.checkpoints.manifest import FileManifest, Manifest, Rows
from trajscope.checkpoints.mirror import Mirror
from trajscope.checkpoints.plan import PartPlan, bytes_of, plan_parts, put_stretches
from trajscope.checkpoints.store_manifest import StoreManifest
from trajscope.errors import CheckpointError, TrajscopeError
from trajscope.readers.base import Reader, TensorSpec, Values, stored_dtype, widened


@dataclass(frozen=True)
class RemoteManifest:
    """A trajectory in files behind an address.

    Attributes
    ----------
    files :
        As if they were here.
    mirror :
        Where they seem to be, for arrays that only their reader finds; `None` if there are none.
    """

    place: Place
    files: FileManifest
    mirror: Mirror | None

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of weights."""
        return self.files.shape

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """What every stored dtype is widened to."""
        return self.files.dtype

    def read(self, rows: Rows, start: int, stop: int) -> Values:
        """Weights ``start:stop`` at the step indices `rows`, in their order: (step, weight).

        Raises
        ------
        CheckpointError
            A file cannot be read, or ends early.
        """
        files = self.files
        block = np.empty((len(rows), max(stop - start, 0)), files.dtype)
        layouts, first = files.layout_of[rows].tolist(), files.first_file[rows].tolist()
        plans: dict[int, list[PartPlan]] = {
            layout: plan_parts(files.layouts[layout], files.starts, start, stop, files.dtype)
            for layout in set(layouts)
        }
        wanted = [
            (file + plan.part, plan, out)
            for layout, file, out in zip(layouts, first, block, strict=True)
            for plan in plans[layout]
        ]
        spans = [
            (files.path(file), int(files.bases[file]) + low, int(files.bases[file]) + high)
            for file, plan, _ in wanted
            for low, high in bytes_of(plan)
        ]
        pieces = iter(self.place.fetch(spans))
        for file, plan, out in wanted:
            put_stretches(plan, [_sound(next(pieces)) for _ in bytes_of(plan)], out)
            self._read_pieces(files.path(file), plan, out)
        files.multiply(rows, start, stop, block, self._read_factor)
        return block

    def _read_factor(
        self, file: int, reader: Reader, spec: TensorSpec, first: int, last: int
    ) -> Values:
        dtype = stored_dtype(spec.dtype)
        if dtype is not None and spec.offset is not None:
            begin, end = (spec.offset + place * dtype.itemsize for place in (first, last))
            (raw,) = self.place.fetch([(self.files.path(file), begin, end)])
            return widened(np.frombuffer(_sound(raw), dtype))
        assert self.mirror is not None  # since not all arrays are plain
        try:
            return reader.read_range(self.mirror.folder / self.files.path(file), spec, first, last)
        except TrajscopeError as error:
            raise type(error)(self.mirror.told(error)) from None

    def _read_pieces(self, relative: str, plan: PartPlan, out: Values) -> None:
        """Fill in what only the reader finds, which reads the file as if it were here."""
        if not plan.pieces or self.mirror is None:
            return
        try:
            path = self.mirror.folder / relative
            for each in plan.pieces:
                out[each.out] = plan.reader.read_range(path, each.spec, each.start, each.stop)
        except TrajscopeError as error:
            raise type(error)(self.mirror.told(error)) from None


@dataclass(frozen=True)
class RemoteStore:
    """A trajectory in one store behind an address; `below` is its path in the mirror."""

    mirror: Mirror
    store: StoreManifest
    below: str

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of weights."""
        return self.store.shape

    @property
    def dtype(self) -> np.dtype[np.floating]:
        """What every stored dtype is widened to."""
        return self.store.dtype

    def read(self, rows: Rows, start: int, stop: int) -> Values:
        """Weights ``start:stop`` at the step indices `rows`, in their order: (step, weight)."""
        here = replace(self.store.store, path=self.mirror.folder / self.below)
        try:
            return replace(self.store, store=here).read(rows, start, stop)
        except TrajscopeError as error:
            raise type(error)(self.mirror.told(error)) from None


def remote_manifest(manifest: Manifest, mirror: Mirror) -> Manifest:
    """The manifest of a mirror as that of what it stands for."""
    if isinstance(manifest, StoreManifest):
        below = manifest.store.path.relative_to(mirror.folder).as_posix()
        return RemoteStore(mirror, manifest, below)
    assert isinstance(manifest, FileManifest)  # there are these two
    plain = all(
        array.spec.offset is not None
        for layout in manifest.layouts
        for place in layout.places
        for array in place.arrays
    )
    return RemoteManifest(mirror.found.place, manifest, None if plain else mirror)


def _sound(piece: bytes | CheckpointError) -> bytes:
    if isinstance(piece, CheckpointError):
        raise piece
    return piece
