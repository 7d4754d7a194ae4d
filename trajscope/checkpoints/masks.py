"""Masks that are stored as floats: constant tensors of two values, of which one is zero.

Unlike all other rules this one looks at values, a few thousand of each tensor that may be a mask
by its shape or its name, in the first and in the last checkpoint.
"""

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from trajscope.checkpoints.manifest import Manifest
from trajscope.checkpoints.sections import LeftOut
from trajscope.checkpoints.weight_tensors import Weights, WeightTensor
from trajscope.errors import CheckpointError
from trajscope.readers.base import Values

MASK = "a mask: nothing but 0 and one other value, the same at the first and the last checkpoint"

# A matrix of weights that is frozen at zeros and ones is a weight all the same.
_WEIGHT = re.compile(r"(.*_)?(weight|kernel|embedding|original|w|\d+)(_?\w?\d+)?", re.IGNORECASE)
_NAMED = re.compile(r"(.*_)?(masks?|tril|triu|causal|adj|adjacency)(_.*)?|.*mask", re.IGNORECASE)
_SAMPLE = 2**14
_LEAST = -1000.0
"""What is added to a score to hide it; the smallest float and -inf are used as well."""


def without_masks(weights: Weights, manifest_of: Callable[[Weights], Manifest]) -> Weights:
    """The weights without the tensors whose values show that they are masks.

    `manifest_of` reads the checkpoints of the weights it is given, here the first and the last.
    """
    ends = replace(
        weights,
        checkpoints=(weights.checkpoints[0], weights.checkpoints[-1]),
        stored=(weights.stored[0], weights.stored[-1]),
    )
    suspects = [number for number, each in enumerate(weights.tensors) if _may_be_mask(each)]
    if not suspects:
        return weights
    manifest = manifest_of(ends)
    starts = np.cumsum([0, *(each.size for each in weights.tensors)]).tolist()
    masks = {
        number for number in suspects if _is_mask(weights.tensors[number], manifest, starts[number])
    }
    kept = [number for number in range(len(weights.tensors)) if number not in masks]
    if not masks or not kept:
        return weights
    return replace(
        weights,
        tensors=tuple(weights.tensors[number] for number in kept),
        stored=tuple(tuple(row[number] for number in kept) for row in weights.stored),
        left_out=(
            *weights.left_out,
            *(LeftOut(weights.tensors[number].name, MASK) for number in sorted(masks)),
        ),
    )


def _may_be_mask(tensor: WeightTensor) -> bool:
    leaf = re.split(r"[./]", tensor.name)[-1]
    square = len(tensor.shape) > 1 and tensor.shape[-1] == tensor.shape[-2] > 1
    return _NAMED.fullmatch(leaf) is not None or (square and _WEIGHT.fullmatch(leaf) is None)


def _is_mask(tensor: WeightTensor, manifest: Manifest, start: int) -> bool:
    """Whether the first and the last values of a tensor are those of a mask, and do not change."""
    leaf = re.split(r"[./]", tensor.name)[-1]
    named, certain = _NAMED.fullmatch(leaf) is not None, leaf.endswith("mask")
    places = [(0, min(_SAMPLE, tensor.size)), (max(tensor.size - _SAMPLE, 0), tensor.size)]
    rows = np.array([0, 1])
    seen: list[Values] = []
    try:
        for first, last in places:
            values = manifest.read(rows, start + first, start + last)
            if not np.array_equal(values[0], values[1]):
                return False
            if not _is_two_valued(values[0], any_other=certain):
                return False
            if not named and not _is_triangular(values[0], first, tensor.shape[-1]):
                return False
            seen.append(values[0])
    except CheckpointError:  # It is told of where the weights are read.
        return False
    both = np.concatenate(seen)
    return _is_two_valued(both, any_other=certain) and (certain or len(np.unique(both)) == 2)


def _is_two_valued(values: Values, *, any_other: bool) -> bool:
    """Whether nothing occurs but 0 and either 1 or one number that hides what it is added to.

    With `any_other` that number may be any: Swin adds -100.
    """
    others = np.unique(values[values != 0])
    hides = any_other or np.all((others == 1) | (others <= _LEAST))
    return len(others) < 2 and bool(hides)


def _is_triangular(values: Values, first: int, length: int) -> bool:
    """Whether elements of square matrices, from the `first` one on, are equal on either side.

    The diagonal may belong to either.
    """
    row, column = np.divmod((first + np.arange(len(values))) % length**2, length)
    return any(
        len(np.unique(values[below])) <= 1 and len(np.unique(values[~below])) <= 1
        for below in (column <= row, column < row)
    )
