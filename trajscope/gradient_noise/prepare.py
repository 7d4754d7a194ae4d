"""Everything that is settled before the first checkpoint is gone through."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from trajscope.gradient_noise.budget.modes import difference_of_modes
from trajscope.gradient_noise.budget.plan import BudgetPlan, plan_budget
from trajscope.gradient_noise.curve import curve_rows
from trajscope.gradient_noise.options import TRAIN_BATCHES, Options
from trajscope.gradient_noise.spectrum.job import Job
from trajscope.gradient_noise.spectrum.memory import activation_bytes
from trajscope.gradient_noise.spectrum.memory_plan import Room, make_plan
from trajscope.gradient_noise.spectrum.sketch import SKETCH_PASSES, sketch_plan
from trajscope.model.batches import Batches, drawn_batches, variance_scale
from trajscope.model.checkpoints import Checkpoints, chosen_steps
from trajscope.model.gradients import Gradients
from trajscope.model.mapping import Arrays, Fit, filled, fit_module
from trajscope.model.problem import Problem
from trajscope.model.samples import Samples, chosen_samples, n_samples_of
from trajscope.model.verification import checked_gradients

_DIRECTIONS: Final = 10
"""Leading eigenvectors that are compared between checkpoints."""
_CURVE: Final = 200
"""Checkpoints of the curve of loss and gradient norm, unless asked otherwise."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Work:
    """Everything that is settled before the first checkpoint is gone through.

    Attributes
    ----------
    samples :
        For the curve, and what batches are drawn from.
    steps, rows :
        The chosen checkpoints, and positions of those of the curve.
    budget :
        Of the noise; `None` where a guard refused it.
    spoken :
        Guards of the budget that have spoken, with their details.
    """

    problem: Problem
    checkpoints: Checkpoints
    options: Options
    fit: Fit
    samples: Samples
    job: Job
    steps: list[int | float]
    rows: list[int]
    budget: BudgetPlan | None
    spoken: dict[str, str] = field(default_factory=dict)


def prepared(
    problem: Problem, checkpoints: Checkpoints, options: Options, progress: Progress
) -> Work:
    """The work, planned.

    Raises
    ------
    TrajscopeError
        As `trajscope.diffusion`.
    """
    steps = chosen_steps(checkpoints.steps, options.at)
    arrays = checkpoints.read(steps[-1])
    fit = fit_module(problem.model, arrays, checkpoints.groups)
    wanted = None if options.mode == "train" else options.samples
    chosen = chosen_samples(n_samples_of(problem.data), wanted, options.seed)
    samples = Samples(problem.data, chosen, options.torch_device(), options.torch_dtype)
    # The curve is of the network in eval mode.
    every = options.every if options.mode == "eval" else 0
    rows = curve_rows(len(checkpoints.steps), every, _CURVE)
    if options.mode == "eval":
        gradients = checked_gradients(problem, fit, arrays, samples)
        job, room = _planned(gradients, samples, arrays, options, n_steps=len(steps))
    else:
        job, room = _of_batches(problem, fit, samples, arrays, options)
    spoken: dict[str, str] = {}
    budget = plan_budget(checkpoints.trajectory, job, options, room, spoken)
    if budget is not None and options.mode == "eval":
        differs = difference_of_modes(job, arrays, budget.batch_size)
        spoken |= {"wrong_mode": differs} if differs else {}
    passes = len(job.plan.blocks) if options.sketch is None else SKETCH_PASSES
    total = len(job.samples) * passes * len(steps) + len(samples) * len(rows)
    total += budget.n_passes if budget is not None else 0
    advance = _counter(progress, total)
    job = replace(job, advance=advance)
    budget = budget.reporting(advance) if budget is not None else None
    return Work(problem, checkpoints, options, fit, samples, job, steps, rows, budget, spoken)


def _of_batches(
    problem: Problem, fit: Fit, samples: Samples, arrays: Arrays, options: Options
) -> tuple[Job, Room]:
    """The job of train mode: batches instead of samples."""
    m = TRAIN_BATCHES if options.samples is None else options.samples
    n, b = len(samples), options.batch_size or 1
    batches = drawn_batches(samples, m, b, options.seed)
    gradients = Gradients(problem, fit, vectorised=False, of_batches=True)
    job, room = _planned(gradients, batches, arrays, replace(options, chunk=1), n_steps=1)
    scale = variance_scale(n, b, m)
    return replace(job, scale=scale, population=n, seed=options.seed), room


def _planned(
    gradients: Gradients,
    samples: Samples | Batches,
    arrays: Arrays,
    options: Options,
    *,
    n_steps: int,
) -> tuple[Job, Room]:
    """The job cut to the memory there is, and that."""
    fit = gradients.fit
    state = filled(gradients.problem.model, fit, arrays, samples.device, samples.dtype)
    itemsize = samples.dtype.itemsize
    compared = n_steps > 1 and options.sketch is None
    n_directions = min(_DIRECTIONS, len(samples) - 1, fit.n_weights) if compared else 0
    directions = n_steps * n_directions * fit.n_weights * itemsize
    room = Room(
        len(samples),
        options.room(samples.device) - directions,
        activation_bytes(gradients, state, samples.picked([0])),
        itemsize,
        None if options.chunk == "auto" else int(options.chunk),
    )
    if options.sketch is not None:
        plan = sketch_plan(fit, options.sketch, room)
    else:
        factors = {
            site.weight: (site.n_positions, site.n_in, site.n_out)
            for site in gradients.sites
            if site.is_factored
        }
        plan = make_plan(fit.parameters, factors, room)
    return Job(gradients, samples, plan, n_directions, 1.0, len(samples), _ignore), room


def _counter(progress: Progress, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return advance


def _ignore(count: int) -> None:
    """Count nothing."""
