"""A folder of checkpoints as xarray opens files, by ``engine="trajscope"``."""

import os
from collections.abc import Sequence
from pathlib import Path

import xarray as xr
from xarray.backends import BackendEntrypoint

from trajscope.checkpoints.cache import is_cache
from trajscope.checkpoints.file_kinds import known_suffix
from trajscope.checkpoints.scan import store_reader
from trajscope.checkpoints.selection import Selection
from trajscope.trajectory.opening import open_selection


class TrajscopeBackend(BackendEntrypoint):
    """``xr.open_dataset(folder, engine="trajscope")``.

    Pass ``cache=False`` too, unless the weights fit in memory: xarray keeps what it has read.
    """

    description = "Open a folder of checkpoints as one trajectory through weight space"

    def open_dataset(  # type: ignore[override]  # noqa: PLR0913
        self,
        filename_or_obj: str | os.PathLike[str],
        *,
        drop_variables: str | Sequence[str] | None = None,
        run: str | None = None,
        burn_in: int | str | None = None,
        steps: str | slice | None = None,
        include: str | Sequence[str] = (),
        exclude: str | Sequence[str] = (),
        by: str = "layer",
        order: str = "step",
        weights: str = "live",
        strict: bool = False,
    ) -> xr.Dataset:
        """The Dataset of `open_trajectory`, which explains the options."""
        dataset = open_selection(
            filename_or_obj,
            Selection(run, burn_in, steps, include, exclude, by, order, weights, strict),
        )
        return dataset.drop_vars(drop_variables or [], errors="ignore")

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Whether this is a folder with checkpoints in it or one level below; never a store."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        folder = Path(filename_or_obj)
        try:
            if not folder.is_dir() or store_reader(folder) is not None:
                return False
            entries = list(folder.iterdir())[:200]
            if is_cache(folder, {entry.name for entry in entries}):
                return True
            below = (path for entry in entries[:20] if entry.is_dir() for path in entry.iterdir())
            return any(known_suffix(path.name) for path in [*entries, *below])
        except OSError:
            return False
