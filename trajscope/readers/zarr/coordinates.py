"""What a packed store counts besides the step: small arrays in a group of their own."""

import re
from collections.abc import Mapping
from pathlib import Path

from trajscope.readers.zarr.arrays import opened
from trajscope.readers.zarr.metadata import ArrayMetadata, attributes_of

GROUP = "coordinates"
"""The group that holds one array ``(step,)`` for each of them."""
LABEL = "label_"
"""Attributes of an array of texts: ``label_0`` is what a 0 in it stands for."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,60}", re.ASCII)
_MOST = 32

Coordinates = dict[str, tuple[int | float | str, ...]]


def apart(
    arrays: Mapping[str, ArrayMetadata],
) -> tuple[dict[str, ArrayMetadata], dict[str, ArrayMetadata]]:
    """The arrays of a store without its coordinates, and these by their own names."""
    found = {
        name.removeprefix(f"{GROUP}/"): each
        for name, each in arrays.items()
        if name.startswith(f"{GROUP}/") and len(each.shape) == 1
    }
    coordinates = {
        name: each
        for name, each in list(found.items())[:_MOST]
        if _NAME.fullmatch(name) and each.dtype and not each.problem
    }
    rest = {
        name: each
        for name, each in arrays.items()
        if name.removeprefix(f"{GROUP}/") not in coordinates or not name.startswith(GROUP)
    }
    return (rest, coordinates) if rest else (dict(arrays), {})


def read_coordinates(path: Path, found: Mapping[str, ArrayMetadata], n_steps: int) -> Coordinates:
    """The values of each at the first `n_steps` steps; those that cannot be read are not there."""
    result: Coordinates = {}
    for name, each in found.items():
        if each.shape[0] < n_steps:
            continue
        try:
            values = opened(path, f"{GROUP}/{name}").read(slice(0, n_steps))
            labels = attributes_of(path / GROUP / name)
        except Exception:
            continue
        texts = [labels.get(f"{LABEL}{code}") for code in range(len(labels))]
        known = [text for text in texts if isinstance(text, str)]
        if not known:
            result[name] = tuple(values.tolist())
        elif values.dtype.kind in "iu" and values.min() >= 0 and values.max() < len(known):
            result[name] = tuple(known[code] for code in values.tolist())
    return result
