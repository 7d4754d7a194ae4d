"""Singular values of weight matrices in words: a row of a table, and a part of the summary."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.numbers import exact, listed, number
from trajscope.schema import MATRIX, SPECTRA, STEP

COLUMNS = (
    ("spectral_norm", "spectral norm"),
    ("frobenius_norm", "Frobenius norm"),
    ("stable_rank", "stable rank"),
    ("effective_rank", "effective rank"),
    ("n_above_edge", "above edge"),
)
"""Numbers that are shown at the first and the last checkpoint, and what they are called."""


@dataclass(frozen=True)
class MatrixRow:
    """A matrix: its name and shape, and its numbers at the first and the last checkpoint.

    Attributes
    ----------
    size :
        Entries.
    """

    name: str
    shape: str
    cells: tuple[str, ...]
    overlap: str
    drift: str
    size: int


def spectra_of(results: xr.DataTree) -> xr.Dataset | None:
    """The part of a result, where it was asked for."""
    return results[SPECTRA].to_dataset() if SPECTRA in results.children else None


def matrix_rows(found: xr.Dataset) -> list[MatrixRow]:
    """A row for every matrix."""
    return [_row(found.isel({MATRIX: place})) for place in range(found.sizes[MATRIX])]


def _row(own: xr.Dataset) -> MatrixRow:
    rows, columns = int(own["rows"]), int(own["columns"])
    several = own.sizes[STEP] > 1
    first, last = own.isel({STEP: 0}), own.isel({STEP: -1})
    cells = []
    for name, _ in COLUMNS:
        words = [_in_words(name, float(end[name])) for end in (first, last)]
        cells.append(" → ".join(words) if several else words[1])
    overlap = "; ".join(
        number(float(value), 2) for value in (first["overlap_with_last"], own["overlap_random"])
    )
    drift = own["spectrum_drift"].values[1:]
    known = drift[np.isfinite(drift)]
    return MatrixRow(
        name=printable(own[MATRIX].item(), limit=80),
        shape=f"{rows:,} × {columns:,}",
        cells=tuple(cells),
        overlap=overlap if several else "",
        drift=number(float(known.max()), 2) if known.size else "",
        size=rows * columns,
    )


def _in_words(name: str, value: float) -> str:
    """A count as it is, other numbers to three digits."""
    return exact(value) if name == "n_above_edge" and np.isfinite(value) else number(value)


def spectra_sentences(found: xr.Dataset) -> list[str]:
    """What the table is of, and what was left out."""
    steps = [exact(float(step)) for step in found[STEP].values]
    told = [f"At step{'s' if len(steps) > 1 else ''} {listed(steps, 8)}."]
    left = [printable(each["name"], limit=60) for each in found.attrs.get("left_out", [])]
    if left:
        told.append(f"No matrices, or not known how to unfold: {listed(left)}.")
    some = found[MATRIX].values[~found["is_whole"].values.astype(bool)].tolist()
    if some:
        names = listed([printable(name, limit=60) for name in some])
        told.append(f"Leading singular values only, by random subspace iteration: {names}.")
    unfolded = found[MATRIX].values[found["unfolded"].values.astype(str) != ""].tolist()
    if unfolded:
        names = listed([printable(name, limit=60) for name in unfolded])
        told.append(f"Unfolded as convolutions, by their names: {names}.")
    missing = [exact(float(step)) for step in found.attrs.get("missing_steps", [])]
    if missing:
        told.append(f"Left out by the audit: step {listed(missing)}.")
    return told


def spectra_summary(
    results: xr.DataTree, plain: Callable[[object], object]
) -> dict[str, object] | None:
    """Numbers of every matrix at every step; `None` where there are none."""
    found = spectra_of(results)
    if found is None:
        return None
    names = [str(name) for name, each in found.data_vars.items() if each.dims == (STEP, MATRIX)]
    return {
        "steps": plain(found[STEP].values),
        "matrices": {
            str(plain(str(matrix))): {
                "rows": plain(found["rows"].values[place]),
                "columns": plain(found["columns"].values[place]),
                **{name: plain(found[name].values[:, place]) for name in names},
            }
            for place, matrix in enumerate(found[MATRIX].values)
        },
        "left_out": plain(found.attrs.get("left_out", [])),
    }
