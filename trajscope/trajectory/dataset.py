"""The labelled array of a series whose weights are chosen, and what is told of it."""

import json
from collections.abc import Callable, Iterable

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.checkpoints.base import Series
from trajscope.checkpoints.fingerprint import checkpoint_fingerprints, fingerprint, format_of
from trajscope.checkpoints.lazy import lazy_weights
from trajscope.checkpoints.manifest import FileManifest, make_manifest
from trajscope.checkpoints.mirror import Mirror
from trajscope.checkpoints.remote import remote_manifest
from trajscope.checkpoints.selection import Selection
from trajscope.checkpoints.weights import Weights, WeightTensor
from trajscope.errors import printable
from trajscope.schema import ALL_WEIGHTS, FINGERPRINT, STEP, TENSOR

_LONGEST_PATH = 4096


def as_dataset(
    series: Series, weights: Weights, selection: Selection, mirror: Mirror | None
) -> xr.Dataset:
    """The Dataset that `open_trajectory` describes, of files that are here or behind a mirror."""
    manifest = make_manifest(series.root, weights, series.store)
    told: Callable[[object], str] = mirror.told if mirror else str
    if mirror and isinstance(manifest, FileManifest):
        manifest = remote_manifest(manifest, mirror.url)
    tensors, checkpoints = weights.tensors, weights.checkpoints
    numbers = [checkpoint.step for checkpoint in checkpoints]
    whole = all(isinstance(number, int) for number in numbers)
    return xr.Dataset(
        {"weights": lazy_weights(manifest)},
        coords={
            STEP: np.array(numbers, np.int64 if whole else np.float64),
            "path": (STEP, _texts(told(checkpoint.path) for checkpoint in checkpoints)),
            FINGERPRINT: (STEP, _texts(checkpoint_fingerprints(weights, local=mirror is None))),
            TENSOR: _texts(each.name for each in tensors),
            "row_size": (TENSOR, np.array([each.size for each in tensors], np.int64)),
            "group": (TENSOR, _texts(_group(each, selection.by) for each in tensors)),
            "shape": (TENSOR, _texts(json.dumps(each.shape) for each in tensors)),
            "stored_dtype": (TENSOR, _texts(each.stored_dtype for each in tensors)),
        },
        attrs={
            # xarray prints attributes as they are.
            "source": printable(told(series.root), limit=_LONGEST_PATH),
            "run": printable(series.run, limit=_LONGEST_PATH),
            "selection": selection.given(),
            "step_unit": series.step_unit,
            "step_source": series.step_source,
            "format": format_of(series),
            "fingerprint": fingerprint(series, weights),
            "left_out": [
                {"name": _text(each.name), "reason": each.reason} for each in weights.left_out
            ],
            "skipped": [
                {"path": each.path, "reason": told(each.reason)}
                for each in (*(mirror.skipped if mirror else ()), *series.skipped, *weights.skipped)
            ],
            "warnings": [told(each) for each in (*series.warnings, *weights.warnings)],
            "decisions": [*series.decisions, *weights.decisions],
        },
    )


def _group(tensor: WeightTensor, by: str) -> str:
    if by == "none":
        return ALL_WEIGHTS
    return _text(tensor.layer if by == "layer" else tensor.name)


def _texts(values: Iterable[object]) -> NDArray[np.str_]:
    return np.array([_text(value) for value in values], dtype=np.str_)


def _text(value: object) -> str:
    """A foreign name that any array can hold: NUL and bytes that are no UTF-8 as escapes."""
    text = str(value).encode("utf-8", "backslashreplace").decode("utf-8")
    return text.replace("\0", "\\x00")
