"""What a noise budget needs: checkpoints, increments, gradients, and blocks of weights."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from trajscope.gradient_noise.budget.guards import withheld
from trajscope.gradient_noise.budget.stretches import (
    COPIES,
    FEWEST_PLACES,
    GRADIENTS,
    fewest_intervals,
    n_places,
    numbers,
    stretches_of,
)
from trajscope.gradient_noise.options import Options
from trajscope.gradient_noise.spectrum.job import Job
from trajscope.gradient_noise.spectrum.memory_plan import Plan, Room, make_plan
from trajscope.model.batches import drawn_batches, variance_scale
from trajscope.model.clock import evenly_spaced, updates_between
from trajscope.model.samples import Samples, chosen_samples, n_samples_of
from trajscope.model.settings import Settled, settle
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP

_WORDS: Final = {"epoch": "epochs that are not a whole number of batches", "index": "positions"}
_LOOKED_AT: Final = (0.0, 0.31, 0.5, 0.74, 1.0)
"""Of a place: unevenly, so that no cycle of learning rates is met at one phase only."""


@dataclass(frozen=True)
class Place:
    """A stretch of the run, and D in its middle.

    Attributes
    ----------
    step :
        The checkpoint where D is computed.
    first, last :
        Positions of the checkpoints between which the increments lie.
    job :
        The samples or batches there.
    rate :
        The learning rate there, over that of the budget.
    """

    step: int | float
    first: int
    last: int
    job: Job
    rate: float = 1.0

    @property
    def rows(self) -> list[int]:
        """Positions of the checkpoints whose files say the learning rate of all of it."""
        return [self.first + round(share * (self.last - self.first)) for share in _LOOKED_AT]


@dataclass(frozen=True)
class BudgetPlan:
    """Everything that is settled before.

    Attributes
    ----------
    updates :
        m, the updates between neighbouring checkpoints.
    optimizer :
        Of training; its learning rate is that of the budget.
    n_samples :
        N of training.
    words :
        What of it was read from files.
    """

    places: tuple[Place, ...]
    plan: Plan
    updates: int
    optimizer: Optimizer
    n_samples: int
    words: str = ""

    @property
    def n_passes(self) -> int:
        """Samples that will be passed backward."""
        return len(self.plan.blocks) * sum(len(place.job.samples) for place in self.places)

    def reporting(self, advance: Callable[[int], None]) -> "BudgetPlan":
        """The same, which calls `advance` with the number of samples that were passed backward."""
        places = (
            replace(place, job=replace(place.job, plan=self.plan, advance=advance))
            for place in self.places
        )
        return replace(self, places=tuple(places))


def plan_budget(
    trajectory: xr.Dataset, job: Job, options: Options, room: Room, spoken: dict[str, str]
) -> BudgetPlan | None:
    """The plan, or `None` where a guard refuses: it is then in `spoken`.

    Parameters
    ----------
    trajectory :
        As `open_trajectory` returns it.
    job :
        That of the chosen checkpoints.
    room :
        What may be taken.
    """
    settled = settle(trajectory, options.optimizer, spoken)
    optimizer = settled.optimizer
    # What is refused anyhow needs no more settings.
    if withheld(spoken) or not _is_told(settled, spoken):
        return None
    n_samples = n_samples_of(job.gradients.problem.data)
    if optimizer.b >= n_samples:
        spoken["no_noise"] = f"a batch contains all {n_samples} samples"
        return None
    steps = trajectory[STEP].to_numpy().astype(np.float64)
    start, stop = evenly_spaced(steps)
    unit = str(trajectory.attrs.get("step_unit", "index"))
    updates = updates_between(float(steps[start + 1] - steps[start]), unit, n_samples / optimizer.b)
    if updates is None:
        spoken["step_unit_unknown"] = _WORDS.get(unit, "fractions")
        return None
    places_there = n_places(stop - start, updates, optimizer)
    if places_there < FEWEST_PLACES:
        fewest = FEWEST_PLACES * fewest_intervals(updates, optimizer)
        spoken["too_short"] = (
            f"there are {stop - start} evenly spaced intervals, and at least {fewest} are needed"
        )
        return None
    places = _places(trajectory, job, options, stretches_of(start, stop, places_there, room), room)
    settled.look((row for place in places for row in place.rows), spoken)
    places, rate = _of_one_rate(places, settled)
    if len(places) < FEWEST_PLACES:
        spoken["schedule"] = f"{places_there - len(places)} of {places_there} parts of the run"
    if withheld(spoken):
        return None
    if not optimizer.kind:
        spoken["optimizer_unknown"] = ""
    optimizer = replace(optimizer, learning_rate=rate)
    rows = sum(len(place.job.samples) + place.last - place.first for place in places)
    plan = _plan(job, room, rows)
    return BudgetPlan(places, plan, updates, optimizer, n_samples, settled.words)


def _of_one_rate(places: tuple[Place, ...], settled: Settled) -> tuple[tuple[Place, ...], float]:
    """The places within which the learning rate is the same, and the mean rate of these."""
    kept = []
    for place in places:
        rate = settled.rate(place.rows)
        if rate is not None:
            kept.append(replace(place, rate=rate))
    mean = float(np.mean([place.rate for place in kept])) if kept else 1.0
    return tuple(replace(place, rate=place.rate / mean) for place in kept), mean


def _is_told(settled: Settled, spoken: dict[str, str]) -> bool:
    """Whether the optimizer's settings are known; if not, a guard speaks."""
    optimizer, batch = settled.optimizer, settled.files.batch
    if optimizer.batch_size is None:
        known = (optimizer.learning_rate, optimizer.momentum)
        names = [
            f"--{n}" for n, value in zip(("lr", "momentum"), known, strict=True) if value is None
        ]
        more = f", and {' and '.join(names)} where the trainer's files have none" if names else ""
        hint = f" (trainer_state.json: {batch} per process and pass)" if batch else ""
        spoken["settings_missing"] = f"--batch-size{hint}{more}"
        return False
    settings = {
        "--lr": optimizer.learning_rate,
        "--momentum": optimizer.momentum,
    }
    absent = [name for name, value in settings.items() if value is None]
    if absent == ["--momentum"]:
        spoken["momentum_unknown"] = ""
    elif absent:
        spoken["settings_missing"] = " and ".join(
            [", ".join(absent[:-1]), absent[-1]][-len(absent) :]
        )
    return not absent


def _places(
    trajectory: xr.Dataset,
    job: Job,
    options: Options,
    stretches: list[tuple[int, int]],
    room: Room,
) -> tuple[Place, ...]:
    n_gradients, _ = numbers(room, len(stretches))
    count = min(n_gradients, options.samples or n_gradients)
    steps = trajectory[STEP].to_numpy()
    return tuple(
        Place(steps[(first + last) // 2].item(), first, last, _job_at(number, job, options, count))
        for number, (first, last) in enumerate(stretches)
    )


def _job_at(number: int, job: Job, options: Options, count: int) -> Job:
    """The job at one place: samples or batches of its own, and what they are scaled by."""
    data = job.gradients.problem.data
    n, seed = n_samples_of(data), options.seed + number + 1
    device, dtype = job.samples.device, job.samples.dtype
    if options.mode == "train":
        b = options.batch_size or 1
        whole = Samples(data, np.arange(n), device, dtype)
        batches = drawn_batches(whole, count, b, seed)
        return replace(job, samples=batches, scale=variance_scale(n, b, count), seed=seed)
    k = min(count, n)
    samples = Samples(data, chosen_samples(n, None if k == n else k, seed), device, dtype)
    # Samples drawn without repetition: their variance, with k - 1, is that of all with N - 1.
    return replace(job, samples=samples, scale=k / max(k - 1, 1) * (n - 1) / n)


def _plan(job: Job, room: Room, n_rows: int) -> Plan:
    parameters = job.gradients.mapping.parameters
    n_weights = job.gradients.mapping.n_weights
    memory = room.memory - COPIES * 8 * n_rows**2
    plan = make_plan(parameters, {}, replace(room, n_samples=min(n_rows, n_weights), memory=memory))
    return replace(plan, chunk=max(min(plan.chunk, GRADIENTS), 1))
