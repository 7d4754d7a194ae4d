"""Loss and gradient norm over many checkpoints."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.model.checkpoints import Checkpoints
from trajscope.model.gradients import Gradients
from trajscope.model.mapping import loaded_state
from trajscope.model.matching import Arrays
from trajscope.model.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor


def curve_rows(n_steps: int, every: int | None, most: int) -> list[int]:
    """Positions of every `every`-th checkpoint counted from the last, or of up to `most`."""
    stride = max(-(-n_steps // most), 1) if every is None else every
    return list(range(n_steps - 1, -1, -stride))[::-1] if stride else []


def loss_and_gradient(
    gradients: Gradients,
    checkpoints: Checkpoints,
    samples: Samples,
    rows: list[int],
    chunk: int,
    advance: Callable[[int], None],
) -> tuple[Floats, Floats]:
    """Mean loss, and length of its gradient over the square root of d, at some checkpoints.

    ``|grad f| / sqrt(d)`` with ``f = (1/N) sum_k f_k``: the gradient of each sample counts alike,
    whatever the chunks.

    Parameters
    ----------
    rows :
        Positions of the checkpoints.
    chunk :
        Samples at once.

    Returns
    -------
    (checkpoint,), (checkpoint,)
        NaN where the loss is.
    """
    losses, norms = np.empty(len(rows)), np.empty(len(rows))
    for position, row in enumerate(rows):
        arrays = checkpoints.read(checkpoints.steps[row].item())
        loss, gradient = _mean(gradients, arrays, samples, chunk)
        losses[position] = loss
        norms[position] = float(gradient.norm()) / np.sqrt(len(gradient))
        advance(len(samples))
    return losses, norms


def _mean(
    gradients: Gradients, arrays: Arrays, samples: Samples, chunk: int
) -> "tuple[float, Tensor]":
    """Mean loss of all samples and its gradient, (weight,), in float64."""
    import torch

    state = loaded_state(
        gradients.problem.model, gradients.mapping, arrays, samples.device, samples.dtype
    )
    n = len(samples)
    total, gradient = 0.0, torch.zeros((), dtype=torch.float64, device=samples.device)
    for start in range(0, n, chunk):
        batch = samples.batch(start, min(start + chunk, n))
        ones = torch.ones((1, min(chunk, n - start)), dtype=samples.dtype, device=samples.device)
        sums, losses = gradients.weighted_sums(state, batch, ones)
        total += float(losses.double().sum())
        gradient = gradient + sums[0].double()
    return total / n, gradient / n
