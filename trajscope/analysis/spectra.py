"""Singular values of the weight matrices at chosen checkpoints, one matrix at a time."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.errors import OptionError, TrajectoryError, printable
from trajscope.kernels.matrices import Rows, Spectrum, drift, numbers_of, overlap, spectrum
from trajscope.measure.blas import one_blas_thread
from trajscope.schema import MATRIX, RANK, STEP, TENSOR

Asked = str | Sequence[int | float | str]

_MOST_VECTORS: Final = 10
"""Leading singular vectors whose subspaces are compared; at most a quarter of all."""
_KEPT_BYTES: Final = 64 << 20
"""Of the singular values of all matrices and checkpoints that a result keeps."""
_FEWEST_KEPT: Final = 64
_CONVOLUTION: Final = {"weight": False, "kernel": True}
"""Last part of the name of a convolution's weights -> whether the last axis is that of outputs."""

NUMBERS: Final = {
    "spectral_norm": ("weight", "largest singular value"),
    "frobenius_norm": ("weight", "root of the sum of squared entries"),
    "stable_rank": ("1", "squared Frobenius norm over squared spectral norm"),
    "effective_rank": ("1", "exponential of the entropy of the normalised singular values"),
    "random_edge": (
        "weight",
        "largest singular value of independent entries with this Frobenius norm (Marchenko-Pastur)",
    ),
    "n_above_edge": ("1", "singular values above that edge, at most those that were computed"),
    "spectrum_drift": (
        "1",
        "half the summed differences of normalised squared singular values from the checkpoint "
        "before, 0 to 1",
    ),
    "overlap_with_last": (
        "1",
        "mean squared cosine between the leading singular subspace and that of the last checkpoint",
    ),
}
"""Numbers of a matrix at a checkpoint: units, and what it is."""


@dataclass(frozen=True)
class Matrix:
    """A tensor as a matrix.

    Attributes
    ----------
    start :
        Number of its first weight.
    unfolded :
        How a convolution was unfolded, in words; ``""`` for a tensor of two axes.
    """

    name: str
    start: int
    shape: tuple[int, int]
    unfolded: str

    @property
    def n_vectors(self) -> int:
        """Leading singular vectors that are compared."""
        return min(_MOST_VECTORS, max(min(self.shape) // 4, 1))


def steps_of_spectra(trajectory: xr.Dataset, asked: Asked | None) -> list[int | float]:
    """The steps at which spectra are wanted: none, all, or those that are named.

    Raises
    ------
    OptionError
        A step has no checkpoint, an entry cannot be understood, or there is no matrix.
    """
    if asked is None or asked == "none":
        return []
    if not matrices_of(trajectory)[0]:
        raise OptionError(
            f"--spectra {printable(asked)}: none of the {trajectory.sizes[TENSOR]} tensors is a "
            "matrix of known shape. Leave the option out, or choose others with --include."
        )
    from trajscope.model.checkpoints import chosen_steps  # most runs are asked for no spectra

    steps = trajectory[STEP].values
    return list(steps.tolist()) if asked == "all" else chosen_steps(steps, asked, "--spectra")


def matrices_of(trajectory: xr.Dataset) -> tuple[list[Matrix], list[dict[str, str]]]:
    """The tensors that are matrices, and the others with their reason.

    Tensors of more axes are convolutions if they are called "weight" (first axis: outputs) or
    "kernel" (last axis: outputs), and are unfolded to (outputs, rest) or (rest, outputs).
    """
    sizes = trajectory["row_size"].values.tolist()
    starts = accumulate(sizes, initial=0)
    names = [str(name) for name in trajectory[TENSOR].values]
    texts = trajectory["shape"].values.tolist() if "shape" in trajectory else ["[]"] * len(names)
    found, left = [], []
    for name, start, text in zip(names, starts, texts, strict=False):
        shape = tuple(json.loads(str(text)) or ())
        last_is_output = _CONVOLUTION.get(name.replace("/", ".").rpartition(".")[2].split(":")[0])
        if sum(length > 1 for length in shape) < 2:
            left.append({"name": name, "reason": "a vector or a scalar, not a matrix"})
        elif len(shape) == 2:
            found.append(Matrix(name, start, (shape[0], shape[1]), ""))
        elif last_is_output is None or "expert" in name.lower():
            left.append(
                {"name": name, "reason": f"{len(shape)} axes, and not named as a convolution"}
            )
        elif last_is_output:
            unfolded = (math.prod(shape[:-1]), shape[-1])
            found.append(Matrix(name, start, unfolded, "rows: all axes but the last"))
        else:
            unfolded = (shape[0], math.prod(shape[1:]))
            found.append(Matrix(name, start, unfolded, "columns: all axes but the first"))
    narrow = [each for each in found if min(each.shape) < 2]
    left += [{"name": each.name, "reason": "one row or column when unfolded"} for each in narrow]
    return [each for each in found if each not in narrow], left


def spectra(trajectory: xr.Dataset, steps: Sequence[int | float], memory: int) -> xr.Dataset:
    """Singular values of every matrix at these steps, and numbers that follow.

    Parameters
    ----------
    steps :
        As `steps_of_spectra` gives them; those that are gone by now are named in the attributes.
    memory :
        Bytes that a matrix and its products may take.

    Returns
    -------
    Dataset
        By (step, matrix): `NUMBERS`; ``singular_value`` (step, matrix, rank), descending, NaN
        behind the last one of a matrix. Coordinates along matrix: ``rows``, ``columns``,
        ``unfolded``, ``n_vectors`` (leading directions that are compared), ``is_whole`` (whether
        all singular values were computed) and ``overlap_random``, the overlap of random subspaces.
        Attributes: ``left_out``, ``missing_steps``.

    Raises
    ------
    TrajectoryError
        None of the checkpoints is left.
    """
    there = [step for step in steps if step in trajectory[STEP].values]
    if not there:
        raise TrajectoryError(
            "None of the checkpoints of --spectra is left after the audit. Choose others."
        )
    found, left = matrices_of(trajectory)
    rows = np.searchsorted(trajectory[STEP].values, there)
    ranks = [min(each.shape) for each in found]
    affordable = _KEPT_BYTES // (8 * len(there) * len(found))
    kept = min(max(ranks), max(affordable, _FEWEST_KEPT))
    values = np.full((len(there), len(found), kept), np.nan)
    numbers = {name: np.full((len(there), len(found)), np.nan) for name in NUMBERS}
    whole = np.zeros(len(found), bool)
    for place, matrix in enumerate(found):
        for row, told, own in _along(trajectory["weights"].variable, matrix, rows, memory):
            n_kept = min(kept, len(own.values))
            values[row, place, :n_kept] = own.values[:n_kept]
            whole[place] = own.is_whole
            for name, value in told.items():
                numbers[name][row, place] = value
    dims = (STEP, MATRIX)
    return xr.Dataset(
        {
            **{
                name: (dims, numbers[name], {"units": units, "long_name": text})
                for name, (units, text) in NUMBERS.items()
            },
            "singular_value": (
                (*dims, RANK),
                values,
                {"units": "weight", "long_name": "singular values, the largest first"},
            ),
        },
        {
            STEP: trajectory[STEP].values[rows],
            MATRIX: [each.name for each in found],
            RANK: np.arange(1, kept + 1),
            "n_vectors": (MATRIX, [each.n_vectors for each in found]),
            "rows": (MATRIX, [each.shape[0] for each in found]),
            "columns": (MATRIX, [each.shape[1] for each in found]),
            "unfolded": (MATRIX, [each.unfolded for each in found]),
            "is_whole": (MATRIX, whole),
            "overlap_random": (
                MATRIX,
                [each.n_vectors / min(each.shape) for each in found],
                {"units": "1", "long_name": "overlap of random subspaces, on average"},
            ),
        },
        {
            "left_out": left,
            "missing_steps": [float(step) for step in steps if step not in there],
        },
    )


def _along(
    weights: Any,  # an xarray Variable, lazy or not
    matrix: Matrix,
    rows: NDArray[np.intp],
    memory: int,
) -> Iterator[tuple[int, dict[str, float], Spectrum]]:
    """Of one matrix at every step, the last one first: its place, its numbers, its spectrum."""

    def at(row: int) -> Spectrum:
        with one_blas_thread():
            return spectrum(_reader(weights, matrix, row), matrix.shape, matrix.n_vectors, memory)

    last = at(int(rows[-1]))
    before: Spectrum | None = None
    for place, row in enumerate(rows.tolist()):
        own = last if place == len(rows) - 1 else at(row)
        told = numbers_of(own, matrix.shape)
        told["spectrum_drift"] = float("nan") if before is None else drift(before, own)
        told["overlap_with_last"] = overlap(own, last)
        yield place, told, own
        before = own


def _reader(weights: Any, matrix: Matrix, row: int) -> Rows:
    n_columns = matrix.shape[1]

    def read(start: int, stop: int) -> NDArray[np.floating]:
        columns = slice(matrix.start + start * n_columns, matrix.start + stop * n_columns)
        flat: NDArray[np.floating] = weights[[row], columns].to_numpy()[0]
        return flat.reshape(stop - start, n_columns)

    return read
