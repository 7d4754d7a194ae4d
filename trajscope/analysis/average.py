"""One checkpoint of averaged weights: of the last ones, exponential, or with given weights."""

import json
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Final

import ml_dtypes  # noqa: F401 - NumPy knows bfloat16 by it
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.analysis.averaged import (
    buffers_of,
    refuse_composed,
    shares_of,
    what_does_not_fit,
    with_one_dtype_each,
)
from trajscope.analysis.settings import memory_limit
from trajscope.checkpoints.given import Given
from trajscope.errors import (
    CheckpointError,
    OptionError,
    TrajectoryError,
    TrajscopeWarning,
    printable,
)
from trajscope.files import replaced
from trajscope.measure.resources import resident_bytes
from trajscope.saving import stream_safetensors
from trajscope.schema import STEP, TENSOR
from trajscope.trajectory import open_trajectory

Floats = NDArray[np.float64]

_READ_BYTES: Final = 32 << 20
"""Of weights at several steps that are read at once."""
_PER_WEIGHT: Final = 40
"""Bytes that one weight of a block takes: its last value, the sum, what was read, copies."""
_FEWEST_BYTES: Final = 16 << 20
_MOST_BYTES: Final = 1 << 30
"""Of a block: a wider one reads no faster."""


def average(  # noqa: PLR0913
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    last: int | None = None,
    ema: float | None = None,
    weights: Given | None = None,
    memory: int | str | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
    **selection: Any,  # the options of open_trajectory, which checks them
) -> Path:
    """Average the weights of several checkpoints into one safetensors file.

    ``x = sum_t c_t x_t``, ``sum_t c_t = 1``, each weight on its own, in float64 and then rounded
    to the dtype it is stored in. One of three must be given: `last`, the mean of so many
    checkpoints (SWA, Izmailov et al. 2018, arXiv:1803.05407); `ema`, an exponential average
    ``c_t ~ 2^(-(s_L - s_t) / ema)`` over steps s (Polyak & Juditsky 1992, doi:10.1137/0330046);
    or `weights`, ``c_t`` up to a factor.

    Names, shapes and dtypes are those of the checkpoints. The model's floating-point buffers are
    copied from the last checkpoint that counts. Running statistics of batch normalisation do not
    belong to averaged weights: recompute them on training data before the model is used, for
    example with ``torch.optim.swa_utils.update_bn``.

    Parameters
    ----------
    source :
        What `trajscope.open_trajectory` opens.
    out :
        File to write, with the ending ``.safetensors``, which must not exist.
    last :
        Number of checkpoints.
    ema :
        Half-life, in the unit of the steps.
    weights :
        A CSV, JSON or JSONL file of steps and weights, ``"900:1,1000:2"``, or such pairs, from 0
        on; other checkpoints have none.
    memory :
        Memory limit of this process, in bytes or as "2GiB"; by default a quarter of the free
        memory.
    progress :
        Called with the number of weights that are done, and of all.
    selection :
        Options of `trajscope.open_trajectory`: which run, steps, tensors.

    Returns
    -------
    Path
        The file. Its metadata say which checkpoints were averaged, and how.

    Raises
    ------
    OptionError
        Not one of the three was given, it cannot be used, or `out` exists.
    TrajectoryError
        Weights are quantised, pruned, complex, or change their shape; or one is NaN or infinite.
    TrajscopeError
        As `trajscope.open_trajectory`.

    Warns
    -----
    TrajscopeWarning
        The file holds running statistics, which do not fit; or lacks arrays of the checkpoints.

    Examples
    --------
    >>> import numpy as np, trajscope
    >>> for step in (0, 100):
    ...     weights = {"fc.weight": np.full((2, 3), step, "float32")}
    ...     path = trajscope.save_checkpoint("runs/averaged", weights, step=step)
    >>> trajscope.average("runs/averaged", "swa.safetensors", last=2).name
    'swa.safetensors'
    """
    target = Path(out)
    if target.suffix != ".safetensors":
        raise OptionError(f"{printable(target)}: a name with the ending .safetensors expected.")
    if os.path.lexists(target):
        raise OptionError(f"{printable(target)} exists already; a new name was expected.")
    trajectory = with_one_dtype_each(open_trajectory(source, **selection))
    shares, words = shares_of(trajectory, last, ema, weights)
    refuse_composed(trajectory)
    used = np.flatnonzero(shares)
    width = _width(memory, trajectory.sizes["weight"])
    buffers = buffers_of(trajectory, int(used[-1]))
    specs = _specs(trajectory, trajectory[TENSOR].to_numpy().tolist())
    if buffers is not None:
        specs |= _specs(buffers, buffers[TENSOR].to_numpy().tolist())
    steps = [f"{step:.12g}" for step in trajectory[STEP].to_numpy()[used]]
    texts = {
        "format": "pt",
        "step": steps[-1],
        "trajscope_average": words,
        "trajscope_average_steps": json.dumps(steps),
    }
    blocks = _blocks(trajectory, shares, width, progress)
    try:
        with replaced(target, durable=True) as unfinished:
            stream_safetensors(unfinished, specs, _all_blocks(blocks, buffers), texts)
    except OSError as error:
        raise CheckpointError(
            f"{printable(target)} cannot be written: {printable(error)}. Check the permissions "
            "and the free disk space."
        ) from error
    for message in what_does_not_fit(trajectory, buffers):
        warnings.warn(message, TrajscopeWarning, stacklevel=2)
    return target


def _width(memory: int | str | None, n_weights: int) -> int:
    """Weights that are averaged at once."""
    limit = memory_limit(memory)
    free = min(limit - resident_bytes() - _READ_BYTES, _MOST_BYTES)
    if free < _FEWEST_BYTES:
        needed = (resident_bytes() + _READ_BYTES + _FEWEST_BYTES) >> 20
        raise OptionError(f"--memory {limit >> 20}MiB is too small: {needed + 1}MiB are needed.")
    return min(free // _PER_WEIGHT, n_weights)


def _specs(
    trajectory: xr.Dataset, names: Sequence[str]
) -> dict[str, tuple[str, tuple[int, ...], int]]:
    return {
        str(name): (
            str(dtype),
            tuple(json.loads(str(shape))),
            int(size) * np.dtype(str(dtype)).itemsize,
        )
        for name, dtype, shape, size in zip(
            names,
            trajectory["stored_dtype"].to_numpy(),
            trajectory["shape"].to_numpy(),
            trajectory["row_size"].to_numpy(),
            strict=True,
        )
    }


def _all_blocks(
    blocks: Iterator[tuple[int, Floats, "_Layout"]], buffers: xr.Dataset | None
) -> Iterator[memoryview]:
    for start, values, layout in blocks:
        yield from layout.stored(start, values)
    if buffers is not None:
        values = buffers["weights"].variable.to_numpy()[0].astype(np.float64)
        yield from _Layout.of(buffers).stored(0, values)


@dataclass(frozen=True)
class _Layout:
    """Where tensors end along the weights, and what they are stored in."""

    ends: tuple[int, ...]
    dtypes: tuple[str, ...]

    @classmethod
    def of(cls, trajectory: xr.Dataset) -> "_Layout":
        """That of a trajectory."""
        ends = tuple(accumulate(trajectory["row_size"].to_numpy().tolist()))
        return cls(ends, tuple(map(str, trajectory["stored_dtype"].to_numpy())))

    def stored(self, start: int, values: Floats) -> Iterator[memoryview]:
        """The bytes of neighbouring weights from number `start` on."""
        stop = start + len(values)
        for (low, high), dtype in zip(pairwise((0, *self.ends)), self.dtypes, strict=True):
            first, last = max(low, start), min(high, stop)
            if first < last:
                part = values[first - start : last - start].astype(np.dtype(dtype))
                little = part.astype(part.dtype.newbyteorder("<"), copy=False)
                yield little.view(np.uint8).data


def _blocks(
    trajectory: xr.Dataset,
    shares: Floats,
    width: int,
    progress: Callable[[int, int], None],
) -> Iterator[tuple[int, Floats, _Layout]]:
    """The averages of neighbouring weights, and the number of the first of them."""
    weights, layout = trajectory["weights"].variable, _Layout.of(trajectory)
    rows, total = np.flatnonzero(shares), weights.shape[1]
    at_once = max(_READ_BYTES // (width * weights.dtype.itemsize), 1)
    for start in range(0, total, width):
        columns = slice(start, min(start + width, total))
        # Differences from the last checkpoint: what never changes stays as it is, to the last bit.
        reference = weights[rows[-1:], columns].to_numpy()[0].astype(np.float64)
        found = np.zeros(len(reference))
        for first in range(0, len(rows), at_once):
            some = rows[first : first + at_once]
            for row, values in zip(some, weights[some, columns].to_numpy(), strict=True):
                with np.errstate(all="ignore"):
                    found += shares[row] * (values - reference)
                if not np.isfinite(values).all():
                    raise _not_finite(trajectory, int(row), start, values, layout)
        progress(columns.stop, total)
        yield start, reference + found, layout


def _not_finite(
    trajectory: xr.Dataset, row: int, start: int, values: NDArray[np.floating], layout: _Layout
) -> TrajectoryError:
    place = start + int(np.flatnonzero(~np.isfinite(values))[0])
    tensor = trajectory[TENSOR].to_numpy()[np.searchsorted(layout.ends, place, side="right")]
    step = trajectory[STEP].to_numpy()[row]
    return TrajectoryError(
        f"The tensor {printable(tensor)!r} holds NaN or infinite weights at step {step}; finite "
        "ones were expected. Leave the checkpoint out with --exclude or --steps."
    )
