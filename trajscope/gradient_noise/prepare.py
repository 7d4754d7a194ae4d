"""Everything that is settled before the first checkpoint is gone through."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Final

from trajscope.gradient_noise.budget.plan import BudgetPlan, plan_budget
from trajscope.gradient_noise.curve import curve_rows
from trajscope.gradient_noise.options import TRAIN_BATCHES, Options
from trajscope.gradient_noise.spectrum.job import Job
from trajscope.gradient_noise.spectrum.memory_plan import Room, make_plan
from trajscope.gradient_noise.spectrum.sketch import SKETCH_PASSES, sketch_plan
from trajscope.model.batches import Batches, drawn_batches, variance_scale
from trajscope.model.checkpoints import Checkpoints, chosen_steps
from trajscope.model.gradients import Gradients
from trajscope.model.losses import at_work
from trajscope.model.mapping import ParameterMapping, loaded_state, map_parameters
from trajscope.model.matching import Arrays
from trajscope.model.memory import activation_bytes, exact_arithmetic
from trajscope.model.modes import difference_of_modes
from trajscope.model.problem import Problem
from trajscope.model.samples import Samples, chosen_samples, n_samples_of
from trajscope.model.verification import checked_gradients

_DIRECTIONS: Final = 10
"""Leading eigenvectors that are compared between checkpoints."""
_CURVE: Final = 200
"""Checkpoints of the curve of loss and gradient norm, unless asked otherwise."""

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Subject:
    """What is measured, checked: nothing of it is refused any more, but for want of memory.

    Attributes
    ----------
    gradients :
        The way to gradients that gave those of a few samples rightly.
    drawn :
        What D is of: samples, or in train mode batches of them.
    samples :
        For the curve, and what batches are drawn from.
    steps, rows :
        The chosen checkpoints, and positions of those of the curve.
    """

    problem: Problem
    checkpoints: Checkpoints
    options: Options
    gradients: Gradients
    drawn: Samples | Batches
    samples: Samples
    steps: list[int | float]
    rows: list[int]

    @property
    def mapping(self) -> ParameterMapping:
        """How a checkpoint fills the module."""
        return self.gradients.mapping


@dataclass(frozen=True)
class Work:
    """A subject, and how the work is cut to the memory there is.

    Attributes
    ----------
    budget :
        Of the noise; `None` where a guard refused it.
    spoken :
        Guards of the budget that have spoken, with their details.
    n_passes :
        Samples that will be passed backward, each as often as it is.
    """

    subject: Subject
    job: Job
    budget: BudgetPlan | None
    spoken: dict[str, str]
    n_passes: int

    def reporting(self, progress: Progress) -> "Work":
        """The same, which calls `progress` with (samples done, samples in all)."""
        advance = _counter(progress, self.n_passes)
        budget = self.budget.reporting(advance) if self.budget is not None else None
        return replace(self, job=replace(self.job, advance=advance), budget=budget)


def check(problem: Problem, checkpoints: Checkpoints, options: Options) -> Work:
    """The work, planned: everything that can be refused is refused here.

    Raises
    ------
    TrajscopeError
        As `trajscope.diffusion`.
    """
    steps = chosen_steps(checkpoints.steps, options.at)
    arrays = checkpoints.read(steps[-1])
    mapping = map_parameters(problem.model, arrays, checkpoints.groups, problem.rename)
    wanted = None if options.mode == "train" else options.samples
    chosen = chosen_samples(n_samples_of(problem.data), wanted, options.seed)
    samples = Samples(problem.data, chosen, options.torch_device(), options.torch_dtype)
    # The curve is of the network in eval mode.
    every = options.every if options.mode == "eval" else 0
    rows = curve_rows(len(checkpoints.steps), every, _CURVE)
    drawn = _batches(samples, options) if options.mode == "train" else samples
    with computing(problem, options):
        gradients = checked_gradients(problem, mapping, arrays, drawn, seed=_seed(options))
        subject = Subject(problem, checkpoints, options, gradients, drawn, samples, steps, rows)
        return planned(subject)


@contextmanager
def computing(problem: Problem, options: Options) -> Iterator[None]:
    """The module in the mode that was asked for, arithmetic exact, torch's random numbers kept."""
    import torch

    with ExitStack() as stack:
        stack.enter_context(at_work(problem.model, options.mode))
        stack.enter_context(exact_arithmetic())
        if options.mode == "train":
            stack.enter_context(torch.random.fork_rng())
        yield


def planned(subject: Subject) -> Work:
    """The work, cut to the memory there is now.

    Raises
    ------
    OptionError
        It is not enough.
    """
    options, checkpoints, samples = subject.options, subject.checkpoints, subject.samples
    arrays = checkpoints.read(subject.steps[-1])
    n_steps = 1 if options.mode == "train" else len(subject.steps)
    job, room = _planned(subject, arrays, n_steps=n_steps)
    spoken: dict[str, str] = {}
    budget = plan_budget(checkpoints.trajectory, job, options, room, spoken)
    if budget is not None and options.mode == "eval":
        differs = difference_of_modes(subject.gradients, samples, arrays, budget.optimizer.b)
        spoken |= {"wrong_mode": differs} if differs else {}
    passes = len(job.plan.blocks) if options.sketch is None else SKETCH_PASSES
    total = len(job.samples) * passes * len(subject.steps) + len(samples) * len(subject.rows)
    total += budget.n_passes if budget is not None else 0
    return Work(subject, job, budget, spoken, total)


def _seed(options: Options) -> int | None:
    """Of what the module draws: only in train mode."""
    return options.seed if options.mode == "train" else None


def _batches(samples: Samples, options: Options) -> Batches:
    m = TRAIN_BATCHES if options.samples is None else options.samples
    return drawn_batches(samples, m, options.batch_size or 1, options.seed)


def _planned(subject: Subject, arrays: Arrays, *, n_steps: int) -> tuple[Job, Room]:
    """The job cut to the memory there is, and that."""
    gradients, drawn, options = subject.gradients, subject.drawn, subject.options
    mapping = gradients.mapping
    state = loaded_state(subject.problem.model, mapping, arrays, drawn.device, drawn.dtype)
    itemsize = drawn.dtype.itemsize
    compared = n_steps > 1 and options.sketch is None
    n_directions = min(_DIRECTIONS, len(drawn) - 1, mapping.n_weights) if compared else 0
    directions = n_steps * n_directions * mapping.n_weights * itemsize
    chunk = 1 if gradients.of_batches else options.chunk
    room = Room(
        len(drawn),
        options.room() - directions,
        activation_bytes(gradients, state, drawn.picked([0])),
        itemsize,
        None if chunk == "auto" else int(chunk),
        drawn.device.type == "cuda",
    )
    if options.sketch is not None:
        plan = sketch_plan(mapping, options.sketch, room)
    else:
        factors = {
            site.weight: (site.n_positions, site.n_in, site.n_out)
            for site in gradients.sites
            if site.is_factored
        }
        plan = make_plan(mapping.parameters, factors, room)
    scale, population = 1.0, len(drawn)
    if gradients.of_batches:
        population = len(subject.samples)
        scale = variance_scale(population, options.batch_size or 1, len(drawn))
    job = Job(gradients, drawn, plan, n_directions, scale, population, _ignore, _seed(options))
    return job, room


def _counter(progress: Progress, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return advance


def _ignore(count: int) -> None:
    """Count nothing."""
