"""Inner products of gradients and increments, a block of weights at a time."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from trajscope.gradient_noise.budget.plan import BudgetPlan, Place
from trajscope.gradient_noise.budget.ratio import Grams
from trajscope.gradient_noise.spectrum.blocks import block_in_memory
from trajscope.gradient_noise.spectrum.job import ROUNDING
from trajscope.gradient_noise.spectrum.memory_plan import Columns
from trajscope.gradient_noise.spectrum.products import add_products, symmetrise
from trajscope.kernels.gram import Floats
from trajscope.model.checkpoints import Checkpoints
from trajscope.model.mapping import loaded_state

if TYPE_CHECKING:
    from torch import Tensor


def budget_grams(plan: BudgetPlan, checkpoints: Checkpoints, spoken: dict[str, str]) -> Grams:
    """The inner products at all places: one matrix of gradients and increments together.

    Parameters
    ----------
    spoken :
        A guard speaks here where a loss is no number.
    """
    import torch

    jobs = [place.job for place in plan.places]
    n_gradients = sum(len(job.samples) for job in jobs)
    n_increments = sum(place.last - place.first for place in plan.places)
    n = n_gradients + n_increments
    device, dtype = jobs[0].samples.device, jobs[0].samples.dtype
    total = torch.zeros((n, n), dtype=torch.float64, device=device)
    for columns in plan.plan.blocks:
        width = sum(each.stored for each in columns)
        rows = torch.empty((n, width), dtype=dtype, device=device)
        _gradients_into(rows, plan, columns, checkpoints, spoken)
        _increments_into(rows[n_gradients:], plan.places, columns, checkpoints)
        add_products(total, rows)
        del rows
    symmetrise(total)
    products: Floats = total.cpu().numpy()
    lengths = [place.last - place.first for place in plan.places]
    starts = np.concatenate([np.arange(place.first, place.last) for place in plan.places])
    return Grams(
        products[:n_gradients, :n_gradients],
        products[n_gradients:, n_gradients:],
        products[:n_gradients, n_gradients:],
        np.repeat(np.arange(len(jobs)), [len(job.samples) for job in jobs]),
        np.repeat(np.arange(len(jobs)), lengths),
        plan.updates * starts.astype(np.float64),
    )


def _gradients_into(
    rows: "Tensor",
    plan: BudgetPlan,
    columns: Sequence[Columns],
    checkpoints: Checkpoints,
    spoken: dict[str, str],
) -> None:
    """Fill the first rows with gradients, centred at each place and scaled to D."""
    start = 0
    for place in plan.places:
        job = place.job
        mapping, samples = job.gradients.mapping, job.samples
        arrays = checkpoints.read(place.step)
        state = loaded_state(
            job.gradients.problem.model, mapping, arrays, samples.device, samples.dtype
        )
        block, losses = block_in_memory(job, state, columns)
        if not np.isfinite(losses).all():
            spoken["no_noise"] = f"the loss is not finite at step {place.step:g}"
        stop = start + len(samples)
        centred = block.values - block.values.double().mean(0)
        # Equal gradients differ from their mean by rounding.
        centred[centred.abs() <= ROUNDING * block.values.abs().max()] = 0
        rows[start:stop] = centred * (job.scale / len(samples)) ** 0.5
        start = stop


def _increments_into(
    rows: "Tensor", places: Sequence[Place], columns: Sequence[Columns], checkpoints: Checkpoints
) -> None:
    """Fill rows with increments: subtracted in float64, then rounded."""
    import torch

    sources = places[0].job.gradients.mapping.sources
    start = 0
    for place in places:
        stop, left = start + place.last - place.first, 0
        for each in columns:
            weights = checkpoints.part(
                sources[each.parameter.name], (place.first, place.last + 1), (each.start, each.stop)
            )
            # As they would be at the learning rate of the budget.
            increments = np.diff(weights.astype(np.float64), axis=0) / place.rate
            rows[start:stop, left : left + each.stored] = torch.as_tensor(increments)
            left += each.stored
        start = stop
