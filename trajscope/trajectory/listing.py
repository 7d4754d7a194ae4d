"""What a folder of checkpoints holds, from names and headers alone; needs no xarray."""

import gc
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajscope.checkpoints.addresses import is_remote
from trajscope.checkpoints.base import Series
from trajscope.checkpoints.equal import equal_files
from trajscope.checkpoints.fingerprint import format_of
from trajscope.checkpoints.layouts import make_manifest
from trajscope.checkpoints.manifest import Manifest
from trajscope.checkpoints.masks import without_masks
from trajscope.checkpoints.mirror import Mirror, mirrored
from trajscope.checkpoints.remote import remote_manifest
from trajscope.checkpoints.selection import Selection, selected
from trajscope.checkpoints.series import find_series
from trajscope.checkpoints.share import is_unexpected, much_left_out
from trajscope.checkpoints.weight_tensors import Weights, WeightTensor
from trajscope.checkpoints.weights import choose_weights
from trajscope.errors import OptionError, TrajectoryError, printable
from trajscope.schema import ALL_WEIGHTS, STEP, TENSOR, Described

_LONGEST_PATH = 4096
_MOST = 2**63
"""Of whole numbers that an array holds exactly."""


@dataclass(frozen=True)
class Listing:
    """The checkpoints and tensors that were chosen in a folder, here or behind a mirror."""

    series: Series
    weights: Weights
    selection: Selection
    mirror: Mirror | None

    def told(self, text: object) -> str:
        """`text` with the address of a remote folder in the place of its mirror."""
        return self.mirror.told(text) if self.mirror else str(text)

    def everything(self) -> "Listing":
        """The same checkpoints with every floating-point array, buffers among them."""
        average = self.selection.weights == "ema"
        weights = choose_weights(self.series, include="*", average=average)
        return Listing(self.series, weights, self.selection, self.mirror)


@contextmanager
def listed(path: str | os.PathLike[str], selection: Selection) -> Iterator[Listing]:
    """What would be read of a folder; a mirror of a remote one lasts as long as the context.

    Raises
    ------
    TrajscopeError
        As `trajscope.open_trajectory`.
    """
    if not isinstance(path, str | os.PathLike):
        raise OptionError(
            f"The folder of checkpoints is a {type(path).__name__}; a path was expected. Pass "
            "arrays in memory directly to analyze."
        )
    average, strict = selection.weights == "ema", selection.strict
    with _uncollected(), mirrored(path) if is_remote(path) else nullcontext() as mirror:
        found = find_series(
            mirror.folder if mirror else Path(path),
            run=selection.run,
            exclude=selection.exclude,
            order=selection.order,
            average=average,
            strict=strict,
        )
        series = selected(found, selection.steps, selection.burn_in)
        chosen = choose_weights(
            series,
            include=selection.include,
            exclude=selection.exclude,
            average=average,
            strict=strict,
        )
        if len(chosen.checkpoints) < 2:
            raise TrajectoryError(
                f"{printable(series.root)}: one checkpoint remains; at least 2 are needed. "
                f"{chosen.warnings[0]}"
            )
        if not selection.include:
            chosen = without_masks(chosen, partial(manifest_of, series, mirror))
        yield Listing(series, chosen, selection, mirror)


def describe(listing: Listing) -> Described:
    """Coordinates and attributes of the Dataset that `trajscope.open_trajectory` describes.

    All but the paths and fingerprints of the checkpoints.
    """
    series, weights, selection = listing.series, listing.weights, listing.selection
    tensors, told = weights.tensors, listing.told
    numbers = [checkpoint.step for checkpoint in weights.checkpoints]
    much = much_left_out(weights)
    first = [much] if is_unexpected(weights) else []
    whole = all(isinstance(number, int) for number in numbers)
    skipped = (
        *(listing.mirror.skipped if listing.mirror else ()),
        *series.skipped,
        *weights.skipped,
    )
    coords: dict[str, NDArray[np.generic]] = {
        STEP: np.array(numbers, np.int64 if whole else np.float64),
        TENSOR: texts(each.name for each in tensors),
        "row_size": np.array([each.size for each in tensors], np.int64),
        "group": texts(_group(each, selection.by) for each in tensors),
        "shape": texts(json.dumps(each.shape) for each in tensors),
        "stored_dtype": texts(each.stored_dtype for each in tensors),
    }
    equal = equal_files(weights.checkpoints)
    return Described(
        coords,
        {
            # xarray prints attributes as they are.
            "source": printable(told(series.root), limit=_LONGEST_PATH),
            "run": printable(series.run, limit=_LONGEST_PATH),
            "selection": selection.given(),
            "step_unit": series.step_unit,
            "step_source": series.step_source,
            "format": format_of(series),
            "left_out": [
                {"name": _text(each.name), "reason": each.reason} for each in weights.left_out
            ],
            "skipped": [{"path": each.path, "reason": told(each.reason)} for each in skipped],
            "much_left_out": much,
            "warnings": [told(each) for each in (*first, *series.warnings, *weights.warnings)],
            "decisions": [*series.decisions, *weights.decisions],
            **({"equal_files": equal} if equal else {}),
        },
        counts=_counts(series, weights),
    )


def manifest_of(series: Series, mirror: Mirror | None, weights: Weights) -> Manifest:
    """Where the weights lie, here or behind the address that a mirror stands for."""
    manifest = make_manifest(series, weights)
    return remote_manifest(manifest, mirror) if mirror else manifest


def _counts(series: Series, weights: Weights) -> dict[str, NDArray[np.generic]]:
    """What else is counted at each step."""
    columns = zip(*(checkpoint.counts for checkpoint in weights.checkpoints), strict=True)
    return {name: _column(values) for name, values in zip(series.coordinates, columns, strict=True)}


def _column(values: Sequence[int | float | str | None]) -> NDArray[np.generic]:
    """Whole numbers, numbers with NaN where one is not known, or texts."""
    if all(isinstance(value, int) and abs(value) < _MOST for value in values):
        return np.array(values, np.int64)
    if any(isinstance(value, str) for value in values):
        return texts("" if value is None else value for value in values)
    return np.array([np.nan if value is None else value for value in values], np.float64)


def texts(values: Iterable[object]) -> NDArray[np.str_]:
    """Foreign names as an array."""
    return np.array([_text(value) for value in values], dtype=np.str_)


def _group(tensor: WeightTensor, by: str) -> str:
    if by == "none":
        return ALL_WEIGHTS
    return _text(tensor.layer if by == "layer" else tensor.name)


def _text(value: object) -> str:
    """A foreign name that any array can hold: NUL and bytes that are no UTF-8 as escapes."""
    text = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\0", "\\x00")


@contextmanager
def _uncollected() -> Iterator[None]:
    """No garbage is looked for meanwhile.

    What is made of every file stays; with 20,000 files the collector walked it again and again,
    for two fifths of the time.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
