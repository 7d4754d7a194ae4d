"""The samples of a problem: chosen, stacked into batches, and moved to where they are needed."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import OptionError, printable
from trajscope.model.problem import blamed

if TYPE_CHECKING:
    import torch
    from torch import Tensor


MOST_LOOKED_AT: Final = 64
"""Samples that are read twice: of random augmentation of a tenth of them, one in a thousand."""


class Readable(Protocol):
    """Samples or batches, by their positions."""

    def __len__(self) -> int: ...

    def picked(self, positions: Sequence[int]) -> Any:
        """Those at `positions`, stacked along a new first axis."""


@dataclass(frozen=True)
class Samples:
    """Samples of a data set, by their positions in it.

    Attributes
    ----------
    data :
        As `Problem.data`.
    indices : (sample,)
        Which of them, in this order.
    device, dtype :
        Where batches go, and what their floating-point tensors become.
    """

    data: Any
    indices: NDArray[np.int64]
    device: "torch.device"
    dtype: "torch.dtype"

    def __len__(self) -> int:
        return len(self.indices)

    def batch(self, start: int, stop: int) -> Any:
        """Samples ``start:stop`` stacked along a new first axis."""
        return self._moved(_stacked(self.data, self.indices[start:stop].tolist()))

    def picked(self, positions: Sequence[int]) -> Any:
        """The samples at `positions` of `indices`, stacked along a new first axis."""
        return self._moved(_stacked(self.data, self.indices[np.asarray(positions)].tolist()))

    def of_dtype(self, dtype: "torch.dtype") -> "Samples":
        """The same samples, their floating-point tensors in another dtype."""
        return replace(self, dtype=dtype)

    def _moved(self, batch: Any) -> Any:
        def move(tensor: "Tensor") -> "Tensor":
            dtype = self.dtype if tensor.is_floating_point() else tensor.dtype
            return tensor.to(self.device, dtype)

        return mapped(batch, move)


def chosen_samples(n_samples: int, wanted: int | None, seed: int) -> NDArray[np.int64]:
    """Positions of all samples, or of `wanted` drawn from them without replacement, ascending.

    Raises
    ------
    OptionError
        There are none, or more are wanted than there are.
    """
    if n_samples < 1:
        raise OptionError("The problem's data is empty; at least 1 sample was expected.")
    if wanted is None:
        return np.arange(n_samples)
    if not 1 <= wanted <= n_samples:
        raise OptionError(
            f"--samples {wanted}: from 1 to {n_samples} was expected, the number of samples in "
            "the data."
        )
    drawn = np.random.default_rng(seed).choice(n_samples, wanted, replace=False)
    return np.sort(drawn)


def n_samples_of(data: Any) -> int:
    """How many samples a data set, or a tuple of tensors, has.

    Raises
    ------
    OptionError
        Tensors of different lengths were given.
    """
    tensors = _tensors(data)
    if tensors is None:
        with blamed("The length of the problem's data"):
            return len(data)
    lengths = {len(tensor) for tensor in tensors}
    if len(lengths) > 1:
        raise OptionError(
            f"The problem's tensors have {', '.join(map(str, sorted(lengths)))} samples along "
            "their first axes; the same number was expected."
        )
    return lengths.pop()


def contents(samples: "Readable", most: int = MOST_LOOKED_AT) -> str:
    """Digest of the numbers of up to `most` samples, spread over all; equal for equal numbers."""
    digest = hashlib.sha256()

    def add(tensor: "Tensor") -> "Tensor":
        digest.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
        digest.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        return tensor

    for position in np.unique(np.linspace(0, len(samples) - 1, most).astype(int)).tolist():
        mapped(samples.picked([position]), add)
    return digest.hexdigest()


def mapped(tree: Any, function: "Callable[[Tensor], Tensor]") -> Any:
    """`tree` with `function` applied to every tensor of its dicts, lists and tuples.

    Raises
    ------
    OptionError
        Something else than a tensor is in it.
    """
    import torch

    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, Mapping):
        return {key: mapped(value, function) for key, value in tree.items()}
    if isinstance(tree, tuple | list):
        # default_collate makes lists of tuples; a named tuple takes its fields one by one.
        values = [mapped(value, function) for value in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    raise OptionError(
        f"A sample of the problem's data holds {printable(repr(tree), limit=60)}, a "
        f"{type(tree).__name__}; tensors and numbers were expected, in tuples, lists or mappings."
    )


def _tensors(data: Any) -> "Sequence[Tensor] | None":
    """The tensors that samples lie in along the first axis, where they lie in tensors."""
    import torch
    from torch.utils.data import TensorDataset

    tensors = data.tensors if isinstance(data, TensorDataset) else data
    is_tuple = isinstance(tensors, tuple) and len(tensors) > 0
    if is_tuple and all(isinstance(each, torch.Tensor) and each.ndim for each in tensors):
        return tensors
    return None


def _stacked(data: Any, indices: list[int]) -> Any:
    from torch.utils.data import default_collate

    tensors = _tensors(data)
    if tensors is not None:
        return tuple(tensor[indices] for tensor in tensors)
    rows = []
    for index in indices:
        with blamed(f"Sample {index} of the problem's data"):
            rows.append(data[index])
    try:
        return default_collate(rows)
    except (RuntimeError, TypeError) as error:
        raise OptionError(
            f"Samples {indices[:3]} of the problem's data cannot be stacked: {printable(error)}. "
            "Tensors of one shape were expected: pad or cut them to the same length, and exclude "
            "the padding in the loss."
        ) from error
