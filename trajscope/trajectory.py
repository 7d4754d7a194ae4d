"""A folder of checkpoints as one lazy, labelled array: ``weights(step, weight)``."""

import hashlib
import json
import os
import warnings as python_warnings
from collections.abc import Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray, BackendEntrypoint
from xarray.core import indexing

from trajscope.checkpoints.base import Checkpoint, Series
from trajscope.checkpoints.manifest import Manifest, make_manifest
from trajscope.checkpoints.scan import is_store, known_suffix
from trajscope.checkpoints.series import find_series
from trajscope.checkpoints.weights import Weights, WeightTensor, choose_weights
from trajscope.errors import OptionError, TrajectoryError, TrajscopeWarning, printable
from trajscope.schema import ALL_WEIGHTS, STEP, TENSOR, WEIGHT

# Gaps up to here are read through when weights are picked one by one: 16 kB of float32.
_GAP = 4096
# Weights of all steps together that are held beside the result while picking.
_PICKED = 1 << 23


def open_trajectory(  # noqa: PLR0913
    path: str | os.PathLike[str],
    *,
    run: str | None = None,
    burn_in: int | str | None = None,
    steps: str | slice | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    by: str = "layer",
    strict: bool = False,
) -> xr.Dataset:
    """The trajectory in a folder of checkpoints, as a lazy Dataset.

    Only headers are read. Weights are read when they are asked for, and only those: selections
    along both dimensions reach the files.

    Parameters
    ----------
    path :
        Folder that a training run wrote its checkpoints to, or a zarr store with a step axis.
    run :
        Name of the run, where the folder holds several.
    burn_in :
        Leave out the first so many checkpoints (``20``), or percent of them (``"10%"``), counted
        after `steps`.
    steps :
        ``"START:STOP:STRIDE"`` or a slice: checkpoints with START <= step < STOP, of these every
        STRIDE-th.
    include, exclude :
        Globs on tensor names. With `include` only matching tensors are taken, batch-norm
        statistics and other buffers among them. `exclude` also leaves out files and folders.
    by :
        What `group` holds: ``"none"`` (one group), ``"layer"`` (the name up to its last dot) or
        ``"tensor"``.
    strict :
        Fail where a checkpoint or a tensor would be left out with a warning.

    Returns
    -------
    Dataset
        ``weights(step, weight)`` in the narrowest of float32 and float64 that holds every stored
        value. Coordinates: ``step``, ``path(step)``; ``tensor``, and along it ``row_size``
        (weights), ``group``, ``shape`` (JSON) and ``stored_dtype``. The tensors lie behind one
        another along ``weight``, a contiguous ragged array (CF conventions 9.3.3). Attributes:
        source, run, step_unit, step_source, format, fingerprint, left_out, skipped, warnings.

    Raises
    ------
    TrajectoryError
        The files do not make one trajectory of at least two checkpoints.
    CheckpointError
        With `strict`: a file cannot be read.
    OptionError
        An option that cannot be understood, or that matches nothing.

    Warns
    -----
    TrajscopeWarning
        Something was left out, or names and contents disagree; also kept in the attributes.
    """
    if by not in ("none", "layer", "tensor"):
        raise OptionError(
            f"by={printable(by)!r}: one of 'none', 'layer' and 'tensor' was expected."
        )
    found = find_series(Path(path), run=run, exclude=tuple(exclude), strict=strict)
    series = _selected(found, steps, burn_in)
    weights = choose_weights(series, include=include, exclude=exclude, strict=strict)
    if len(weights.checkpoints) < 2:
        raise TrajectoryError(
            f"{printable(series.root)}: one checkpoint is left, at least 2 are needed to see a "
            f"movement. {weights.warnings[0]}"
        )
    messages = (*series.warnings, *weights.warnings)
    for message in messages:
        python_warnings.warn(message, TrajscopeWarning, stacklevel=2)
    return _dataset(series, weights, by, messages)


def tensor(trajectory: xr.Dataset, name: str) -> xr.DataArray:
    """One tensor of a trajectory in its own shape, (step, dim_0, dim_1, ...), lazily.

    Raises
    ------
    TrajectoryError
        There is no such tensor, or the Dataset is not a whole trajectory along ``weight``.
    """
    missing = {"weights", TENSOR, "row_size", "shape"} - set(trajectory.variables)
    if missing or trajectory["weights"].dims != (STEP, WEIGHT):
        raise TrajectoryError(
            "A Dataset as open_trajectory returns it was expected, with weights(step, weight); "
            + (f"{', '.join(sorted(missing))} is missing. " if missing else "it has others. ")
            + "Select steps with a list or a slice, so that the dimension stays."
        )
    sizes = trajectory["row_size"].to_numpy()
    if sizes.sum() != trajectory.sizes[WEIGHT]:
        raise TrajectoryError(
            f"The tensors have {sizes.sum()} weights together, the Dataset has "
            f"{trajectory.sizes[WEIGHT]}. Take the tensor first, then select some of its weights."
        )
    names = [str(each) for each in trajectory[TENSOR].to_numpy()]
    if name not in names:
        close = get_close_matches(str(name), names) or names[:5]
        raise TrajectoryError(
            f"There is no tensor {printable(name)!r} in this trajectory of {len(names)} tensors. "
            f"Near it: {', '.join(printable(each) for each in close)}."
        )
    position = names.index(name)
    start = int(sizes[:position].sum())
    shape = tuple(json.loads(str(trajectory["shape"].to_numpy()[position])))
    flat = trajectory["weights"].variable[:, start : start + int(sizes[position])]
    along = {key: c.variable for key, c in trajectory.coords.items() if c.dims == (STEP,)}
    dims = (STEP, *(f"dim_{i}" for i in range(len(shape))))
    return xr.DataArray(xr.Variable(dims, _shaped(flat, shape)), coords=along, name=name)


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
        include: Sequence[str] = (),
        exclude: Sequence[str] = (),
        by: str = "layer",
        strict: bool = False,
    ) -> xr.Dataset:
        """The Dataset of `open_trajectory`, which explains the options."""
        dataset = open_trajectory(
            filename_or_obj,
            run=run,
            burn_in=burn_in,
            steps=steps,
            include=include,
            exclude=exclude,
            by=by,
            strict=strict,
        )
        return dataset.drop_vars(drop_variables or [], errors="ignore")

    def guess_can_open(self, filename_or_obj: object) -> bool:
        """Whether this is a folder with checkpoints in it or one level below; never a store."""
        if not isinstance(filename_or_obj, str | os.PathLike):
            return False
        folder = Path(filename_or_obj)
        try:
            if not folder.is_dir() or is_store(folder):
                return False
            entries = list(folder.iterdir())[:200]
            below = (path for entry in entries[:20] if entry.is_dir() for path in entry.iterdir())
            return any(known_suffix(path.name) for path in [*entries, *below])
        except OSError:
            return False


class TrajectoryArray(BackendArray):
    """A trajectory as xarray's backends see an array: any outer selection, read on demand."""

    def __init__(self, manifest: Manifest, fingerprint: str) -> None:
        self.manifest = manifest
        self.fingerprint = fingerprint
        self.shape = manifest.shape
        self.dtype = manifest.dtype

    def __dask_tokenize__(self) -> tuple[str, str]:
        return type(self).__name__, self.fingerprint

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # xarray's own key and array
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._select
        )

    def _select(self, key: tuple[Any, ...]) -> Any:
        rows, columns = (_positions(k, n) for k, n in zip(key, self.shape, strict=True))
        block = _picked(self.manifest.read, rows, columns, self.dtype)
        return block[tuple(0 if np.ndim(k) == 0 and not isinstance(k, slice) else ... for k in key)]


class ShapedArray(BackendArray):
    """Consecutive columns of a (step, weight) variable as (step, *shape), still read on demand."""

    def __init__(self, flat: xr.Variable, shape: tuple[int, ...]) -> None:
        self.flat = flat
        self.shape = (flat.shape[0], *shape)
        self.dtype = flat.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:  # xarray's own key and array
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._select
        )

    def _select(self, key: tuple[Any, ...]) -> Any:
        rows, *within = (_positions(k, n) for k, n in zip(key, self.shape, strict=True))
        columns = np.zeros((1,) * 0, np.int64)
        for positions, length in zip(within, self.shape[1:], strict=True):
            columns = columns[..., np.newaxis] * length + positions
        block = self.flat[rows, columns.ravel()].to_numpy()
        block = block.reshape(len(rows), *(len(positions) for positions in within))
        return block[_squeezed(key)]
