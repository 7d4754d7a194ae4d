"""Whether a network computes something else in training than in eval mode."""

from typing import Final

import numpy as np

from trajscope.errors import OptionError
from trajscope.model.gradients import Gradients
from trajscope.model.losses import at_work, batch_loss
from trajscope.model.mapping import loaded_state
from trajscope.model.matching import Arrays
from trajscope.model.samples import Samples, n_samples_of

_SAME: Final = 1e-4
"""Relative: float32 sums in another order."""


def difference_of_modes(
    gradients: Gradients, samples: Samples, arrays: Arrays, batch_size: int
) -> str:
    """The loss of one batch in both modes in words, or nothing where it is the same.

    Batch norm and dropout make it another one; so does anything else that asks for the mode.

    Parameters
    ----------
    samples :
        Of the problem's data, with the device and the dtype to compute in.
    arrays :
        A checkpoint.
    """
    import torch

    problem, mapping = gradients.problem, gradients.mapping
    device, dtype = samples.device, samples.dtype
    whole = Samples(problem.data, np.arange(n_samples_of(problem.data)), device, dtype)
    batch = whole.batch(0, min(batch_size, len(whole)))
    losses = []
    for mode in ("eval", "train"):
        state = loaded_state(problem.model, mapping, arrays, device, dtype)
        with torch.no_grad(), torch.random.fork_rng(), at_work(problem.model, mode):
            try:
                losses.append(float(batch_loss(problem, state, batch)))
            except OptionError as error:
                if not isinstance(error.__cause__, ValueError):
                    raise
                return (
                    "in train mode the loss of a single sample is undefined"  # batch norm says so
                )
    if abs(losses[0] - losses[1]) <= _SAME * max(abs(loss) for loss in losses):
        return ""
    return f"one batch has the loss {losses[0]:.3g}, in training {losses[1]:.3g}"
