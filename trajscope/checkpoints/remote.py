"""Files behind an address (s3://, gs://, http://), of which ranges of bytes are asked for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, TypeGuard

import numpy as np

from trajscope.checkpoints.manifest import FileManifest, Rows, changed
from trajscope.checkpoints.plan import PartPlan, bytes_of, plan_parts, put_stretches
from trajscope.errors import CheckpointError, OptionError, TrajectoryError, printable
from trajscope.readers.base import Values


@dataclass(frozen=True)
class RemoteManifest:
    """A trajectory in files behind an address; `files` is the one in their mirror."""

    url: str
    files: FileManifest

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
            (self._path(file + plan.part), int(files.bases[file + plan.part]), plan, out)
            for layout, file, out in zip(layouts, first, block, strict=True)
            for plan in plans[layout]
        ]
        spans = [
            (path, base + span[0], base + span[1])
            for path, base, plan, _ in wanted
            for span in bytes_of(plan)
        ]
        pieces = iter(ranges(self.url, spans))
        for _, _, plan, out in wanted:
            put_stretches(plan, [next(pieces) for _ in bytes_of(plan)], out)
        return block

    def _path(self, file: int) -> str:
        return f"{self.url}/{os.fsdecode(self.files.paths[file])}"


def is_remote(path: object) -> TypeGuard[str]:
    """Whether this is an address such as "s3://bucket/run" and no path."""
    return isinstance(path, str) and "://" in path


def remote_manifest(manifest: FileManifest, url: str) -> RemoteManifest:
    """The manifest of a mirror as that of what it stands for."""
    return RemoteManifest(url, replace(manifest, root=url))


def ranges(root: str, spans: Sequence[tuple[str, int, int]]) -> list[bytes]:
    """The bytes ``first:last`` of each file."""
    if not spans:
        return []
    paths, firsts, lasts = map(list, zip(*spans, strict=True))
    try:
        found = file_system(root).cat_ranges(paths, firsts, lasts, on_error="raise")
    except Exception as error:  # each kind of address has errors of its own
        raise CheckpointError(
            f"{printable(paths[0])} and {len(paths) - 1} more cannot be read: {printable(error)}. "
            "Was a file deleted? Try again, or copy the folder here."
        ) from error
    for (path, first, last), piece in zip(spans, found, strict=True):
        if len(piece) != last - first:
            raise changed(path, f"{last - first} bytes from byte {first}", f"{len(piece)}")
    return [bytes(piece) for piece in found]


@lru_cache(maxsize=16)
def file_system(root: str) -> Any:  # fsspec has no types
    """What fsspec reads an address with."""
    kind = root.partition("://")[0]
    try:
        import fsspec

        return fsspec.core.url_to_fs(root)[0]
    except (ImportError, ValueError) as error:
        raise OptionError(
            f"{printable(root)} cannot be opened: {printable(error)}. "
            f"{printable(kind, limit=20)}:// addresses need an additional package: pip install "
            "'trajscope[remote]'."
        ) from error
    except Exception as error:
        raise unreachable(root, error) from error


def unreachable(root: str, error: Exception) -> TrajectoryError:
    """The error for an address that does not answer."""
    return TrajectoryError(
        f"{printable(root)} cannot be reached: {printable(error) or type(error).__name__}. Check "
        "the address, the network and your credentials."
    )
