"""Batches as training draws them, each taken as one sample: for the noise of train mode."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import OptionError
from trajscope.model.samples import Samples, mapped

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batches:
    """Batches of samples.

    Attributes
    ----------
    samples :
        What the batches are drawn from.
    rows : (batch, sample)
        Positions in `samples`.
    """

    samples: Samples
    rows: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def device(self) -> "torch.device":
        """Where batches go."""
        return self.samples.device

    @property
    def dtype(self) -> "torch.dtype":
        """What their floating-point tensors become."""
        return self.samples.dtype

    def of_dtype(self, dtype: "torch.dtype") -> "Batches":
        """The same batches, their floating-point tensors in another dtype."""
        return replace(self, samples=self.samples.of_dtype(dtype))

    def batch(self, start: int, stop: int) -> Any:
        """Batches ``start:stop`` stacked along a new first axis: (batch, sample, ...)."""
        return self.picked(range(start, stop))

    def picked(self, positions: Sequence[int]) -> Any:
        """The batches at these positions, stacked along a new first axis."""
        chosen = self.rows[np.asarray(positions)]
        flat = self.samples.picked(chosen.ravel().tolist())
        return mapped(flat, lambda tensor: tensor.reshape(*chosen.shape, *tensor.shape[1:]))


def drawn_batches(samples: Samples, n_batches: int, batch_size: int, seed: int) -> Batches:
    """`n_batches` independent batches, each of `batch_size` different samples.

    Raises
    ------
    OptionError
        A batch would be larger than the data, or there are fewer than two.
    """
    if not 1 <= batch_size < len(samples):
        raise OptionError(
            f"--batch-size {batch_size}: from 1 to below {len(samples)} was expected, the number "
            "of samples; a batch of all samples has no noise."
        )
    if n_batches < 2:
        raise OptionError(
            f"--samples {n_batches}: in train mode this is the number of batches; at least 2 are "
            "needed."
        )
    rng = np.random.default_rng(seed)
    rows = [rng.choice(len(samples), batch_size, replace=False) for _ in range(n_batches)]
    return Batches(samples, np.stack(rows))


def variance_scale(n_samples: int, batch_size: int, n_batches: int) -> float:
    """What the covariance of drawn batches' gradients is multiplied by to give D.

    ``b (N - 1)/(N - b) k/(k - 1)``: batches without repetition vary less than D/b, and k of them
    around their own mean less than all there are.
    """
    n, b = n_samples, batch_size
    return b * (n - 1) / (n - b) * n_batches / (n_batches - 1)
