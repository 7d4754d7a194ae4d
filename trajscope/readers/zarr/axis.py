"""Which arrays of a zarr store lie along its steps, and which of them are weights."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from trajscope.errors import CheckpointError, printable
from trajscope.readers.zarr.metadata import ArrayMetadata

STEP_UNITS = {
    "step": "step",
    "steps": "step",
    "global_step": "step",
    "iteration": "step",
    "iter": "step",
    "epoch": "epoch",
    "epochs": "epoch",
    "time": "step",
    "checkpoint": "index",
}
"""Names of the step axis, and what a coordinate of that name counts."""

_STEP_GROUP = re.compile(
    r"(global_?)?(steps?|iter(ation)?s?|epochs?|checkpoints?|ckpt)[-_=]?\d+/", re.IGNORECASE
)


@dataclass(frozen=True)
class StepArrays:
    """The arrays of a store by what they are to the trajectory.

    `coordinate` is the array that numbers the checkpoints, ``""`` if there is none; `left_out`
    gives the reason for each other array that is neither weights nor a label.
    """

    coordinate: str
    weights: Mapping[str, ArrayMetadata]
    left_out: Mapping[str, str]


def along_steps(path: Path, arrays: Mapping[str, ArrayMetadata]) -> StepArrays:
    """The arrays that begin with the step axis, sorted out.

    Raises
    ------
    CheckpointError
        No array of weights has a step axis, or they do not have the same one.
    """
    axis, along = _with_axis(path, {n: each for n, each in arrays.items() if each.dtype})
    coordinate = _coordinate(axis, along)
    weights = {name: each for name, each in along.items() if len(each.shape) > 1}
    weights = weights or {name: each for name, each in along.items() if name != coordinate}
    if not weights:
        raise _no_weights(path, arrays)
    left_out = {
        name: _why_not(each, name in along)
        for name, each in arrays.items()
        if name not in weights and name != coordinate and not _is_label(name, each)
    }
    return StepArrays(coordinate, weights, left_out)


def unit_of(coordinate: str) -> str:
    """What the array that numbers the checkpoints counts, by its name."""
    return STEP_UNITS[_base(coordinate)]


def _with_axis(
    path: Path, arrays: Mapping[str, ArrayMetadata]
) -> tuple[str, dict[str, ArrayMetadata]]:
    """Name of the step axis ("" if it has none), and the arrays that begin with it."""
    if arrays and all(_STEP_GROUP.match(name) for name in arrays):
        raise CheckpointError(
            f"{printable(path)} is a zarr store with a group for each step; arrays with an axis "
            "named 'step' are expected. Write each array once, with the steps along its first "
            "dimension."
        )
    named = {n: each for n, each in arrays.items() if each.dimensions and each.shape}
    along = {n: each for n, each in named.items() if each.dimensions[0].lower() in STEP_UNITS}
    if not named:
        along = {n: each for n, each in arrays.items() if each.shape}
    axes = sorted({each.dimensions[0] if each.dimensions else "" for each in along.values()})
    lengths = {each.shape[0] for each in along.values()}
    if not along or len(axes) > 1 or (len(lengths) > 1 and not _is_growing(axes[0], along)):
        found = f"first dimensions of {len(lengths)} lengths" if along else "none"
        if len(axes) > 1:
            found = f"axes named {', '.join(repr(printable(each)) for each in axes)}"
        raise CheckpointError(
            f"{printable(path)} is a zarr store; arrays along one axis named 'step' are expected; "
            f"found: {found}. Name the first dimension of the weights 'step'."
        )
    return axes[0], along


def _is_growing(axis: str, along: Mapping[str, ArrayMetadata]) -> bool:
    """Whether the steps are numbered so far as all arrays reach: weights are written first."""
    numbers = _coordinate(axis, along) if axis else ""
    shortest = min(each.shape[0] for each in along.values())
    return bool(numbers) and along[numbers].shape[0] == shortest


def _coordinate(axis: str, along: Mapping[str, ArrayMetadata]) -> str:
    """The array that numbers the checkpoints; "" if there is none."""
    flat = [name for name, each in along.items() if len(each.shape) == 1]
    candidates = [name for name in flat if _base(name) in STEP_UNITS]
    order = [axis.lower(), *STEP_UNITS]
    return min(candidates, key=lambda name: order.index(_base(name)), default="")


def _base(name: str) -> str:
    return name.rpartition("/")[2].lower()


def _no_weights(path: Path, arrays: Mapping[str, ArrayMetadata]) -> CheckpointError:
    for name, each in arrays.items():
        if any(dimension.lower() in STEP_UNITS for dimension in each.dimensions[1:]):
            return CheckpointError(
                f"{printable(path)}: array '{printable(name)}' has the dimensions "
                f"{printable(each.dimensions)}; the step is expected first. Transpose it, for "
                "example with array.transpose('step', ...)."
            )
    return CheckpointError(
        f"{printable(path)} contains steps but no array of weights along them. Give the folder of "
        "checkpoints instead."
    )


def _is_label(name: str, array: ArrayMetadata) -> bool:
    """Whether an array labels a dimension that has its name, as xarray writes coordinates."""
    return array.dimensions == (name.rpartition("/")[2],)


def _why_not(array: ArrayMetadata, along: bool) -> str:
    if not array.dtype:
        return "values that are not plain numbers"
    if along:
        return "one number per checkpoint, not a weight"
    if array.dimensions:
        return f"its first dimension is called {printable(array.dimensions[0])!r}, not 'step'"
    return "it lacks a step axis"
