"""Variables of Keras layers that are no weights: their files number them and do not name them.

``layers/dense/vars/0``: the folder is called after the class of the layer, or after the attribute
of the layer or model that holds it, so that the name alone does not say what it is.
"""

import re
from collections.abc import Sequence

from trajscope.checkpoints.modules import Module, Rule
from trajscope.readers.base import TensorSpec, widened_dtype

_VARIABLES = "vars"
_BATCH_NORM = re.compile(r"(.*_)?(batch_?norm(alization)?|bn)(_?\d+)?", re.IGNORECASE)


def _variables(module: Module, path: str = "") -> list[TensorSpec]:
    """The numbered variables of a layer in their order; none where a number is missing."""
    arrays = module.everywhere.get(path, {}) if path else module.arrays
    numbered = [arrays.get(str(number)) for number in range(len(arrays))]
    if (path or module.path).rpartition("/")[2] != _VARIABLES or None in numbered:
        return []
    return [spec for spec in numbered if spec is not None]


def _batch_norm(module: Module) -> set[str]:
    """Moving mean and variance: the last two of two to four vectors of one length.

    Of two the name has to say it, since layer normalisation has a scale and an offset.
    """
    specs = _variables(module)
    count = len(specs)
    kind = module.path.removesuffix("/" + _VARIABLES).rpartition("/")[2]
    named = _BATCH_NORM.fullmatch(kind) is not None
    if not (2 if named else 3) <= count <= 4 or not _equal_vectors(specs):
        return set()
    return {str(count - 2), str(count - 1)}


def _normalization(module: Module) -> set[str]:
    """Mean, variance and count of what `Normalization` was adapted to."""
    specs = _variables(module)
    if len(specs) != 3 or specs[2].shape != () or widened_dtype(specs[2].dtype) is not None:
        return set()
    return {"0", "1", "2"} if specs[0].shape == specs[1].shape != () else set()


def _spectral_normalization(module: Module) -> set[str]:
    """The kernel of the wrapped layer, written a second time, and the vector of the iteration."""
    specs = _variables(module)
    inner = _variables(module, f"{module.path.removesuffix(_VARIABLES)}layer/{_VARIABLES}")
    if len(specs) != 2 or not inner or specs[0].shape != inner[0].shape or not specs[0].shape:
        return set()
    return {"0", "1"} if specs[1].shape == (1, specs[0].shape[-1]) else set()


def _equal_vectors(specs: Sequence[TensorSpec]) -> bool:
    first = specs[0]
    return len(first.shape) == 1 and all(
        spec.shape == first.shape and widened_dtype(spec.dtype) for spec in specs
    )


KERAS_RULES: tuple[Rule, ...] = (
    Rule("a running statistic, not a weight", _batch_norm),
    Rule("a running statistic, not a weight", _normalization),
    Rule(
        "the kernel of the layer inside, written twice, or a vector of its power iteration",
        _spectral_normalization,
    ),
)
