"""A module as the rules see it: the arrays that share all of their names but the last part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from trajscope.readers.base import TensorSpec

# flax NNX keeps every array in the field of a variable: "bn.mean.value", "bn/mean/raw_value".
_FIELDS = ("value", "raw_value")


@dataclass(frozen=True)
class Module:
    """The arrays of one module.

    Attributes
    ----------
    path :
        What stands before the last part of their names.
    arrays :
        By the last part of their names.
    everywhere :
        Those of all modules of the checkpoint, by path.
    """

    path: str
    arrays: Mapping[str, TensorSpec]
    everywhere: Mapping[str, Mapping[str, TensorSpec]]


@dataclass(frozen=True)
class Rule:
    """How arrays that are no weights are told by their neighbours.

    Attributes
    ----------
    reason :
        Why they are left out, in words.
    find :
        ``module -> leaves``: the last parts of the names of those arrays of the module that are
        none.
    """

    reason: str
    find: Callable[[Module], set[str]]


def split_name(name: str) -> tuple[str, str]:
    """The path of the module that an array belongs to, and the last part of the array's name."""
    path, leaf = _split(name)
    if leaf in _FIELDS and path:
        path, leaf = _split(path)
    # TensorFlow numbers the outputs of an operation: "moving_mean:0".
    stem, colon, number = leaf.rpartition(":")
    return path, stem if colon and number.isdigit() else leaf


def _split(name: str) -> tuple[str, str]:
    cut = max(name.rfind("."), name.rfind("/"))
    return (name[:cut], name[cut + 1 :]) if cut >= 0 else ("", name)
