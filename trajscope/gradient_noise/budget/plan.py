"""What a noise budget needs: checkpoints, increments, gradients, and blocks of weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Final

import numpy as np
import xarray as xr

from trajscope.gradient_noise.budget.guards import withheld
from trajscope.gradient_noise.budget.settings import Settled, settle
from trajscope.gradient_noise.options import Options
from trajscope.gradient_noise.spectrum.job import Job
from trajscope.gradient_noise.spectrum.memory_plan import Plan, Room, make_plan
from trajscope.model.batches import drawn_batches, variance_scale
from trajscope.model.samples import Samples, chosen_samples, n_samples_of
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP

_PLACES: Final = 8
"""Where D is computed: a few more than the five that an average needs, for a narrower interval."""
_FEWEST_PLACES: Final = 3
_FEWEST_INTERVALS: Final = 4
"""Increments a place needs, for a mean and what is left of them."""
_MEMORIES: Final = 5
_INTERVALS: Final = 128
"""Increments that are taken around each place at most."""
_GRADIENTS: Final = 128
"""Samples, or batches, at each place: a thousand in all, unless fewer are asked for."""
_WORDS: Final = {"epoch": "epochs that no whole number of batches makes up", "index": "positions"}
_LOOKED_AT: Final = (0.0, 0.31, 0.5, 0.74, 1.0)
"""Of a place: unevenly, so that no cycle of learning rates is met at one phase only."""
_COPIES: Final = 4
"""Matrices of all inner products that are there at once, at the most."""


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
        spoken["no_noise"] = f"a batch holds all {n_samples} samples"
        return None
    steps = trajectory[STEP].to_numpy().astype(np.float64)
    start, stop = _evenly_spaced(steps)
    unit = str(trajectory.attrs.get("step_unit", "index"))
    updates = _updates(float(steps[start + 1] - steps[start]), unit, n_samples / optimizer.b)
    if updates is None:
        spoken["step_unit_unknown"] = _WORDS.get(unit, "fractions")
        return None
    places_there = n_places(stop - start, updates, optimizer)
    if places_there < _FEWEST_PLACES:
        fewest = _FEWEST_PLACES * _fewest_intervals(updates, optimizer)
        spoken["too_short"] = (
            f"there are {stop - start} evenly spaced intervals, and {fewest} are the fewest"
        )
        return None
    places = _places(trajectory, job, options, _stretches(start, stop, places_there, room), room)
    settled.look((row for place in places for row in place.rows), spoken)
    places, rate = _of_one_rate(places, settled)
    if len(places) < _FEWEST_PLACES:
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


def n_places(n_intervals: int, updates: int, optimizer: Optimizer) -> int:
    """How many places there can be: up to 8, each long enough for a mean of its own.

    Increments are correlated over ``mu/(1 - mu)`` updates: places of five times that are nearly
    independent of each other, which their interval needs (0.94 of them hold the truth instead of
    0.91 with three times).
    """
    return min(_PLACES, n_intervals // _fewest_intervals(updates, optimizer))


def _fewest_intervals(updates: int, optimizer: Optimizer) -> int:
    return max(_FEWEST_INTERVALS, math.ceil(_MEMORIES * optimizer.memory / updates))


def _is_told(settled: Settled, spoken: dict[str, str]) -> bool:
    """Whether the optimizer's settings are known; if not, a guard speaks."""
    optimizer, batch = settled.optimizer, settled.files.batch
    if optimizer.batch_size is None:
        known = (optimizer.learning_rate, optimizer.momentum)
        names = [
            f"--{n}" for n, value in zip(("lr", "momentum"), known, strict=True) if value is None
        ]
        more = f", and {' and '.join(names)} where the trainer's files have none" if names else ""
        hint = f" (trainer_state.json: {batch} a process and pass)" if batch else ""
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
    n_gradients, _ = _numbers(room, len(stretches))
    count = min(n_gradients, options.samples or n_gradients)
    steps = trajectory[STEP].to_numpy()
    return tuple(
        Place(steps[(first + last) // 2].item(), first, last, _job_at(number, job, options, count))
        for number, (first, last) in enumerate(stretches)
    )


def _evenly_spaced(steps: "np.ndarray") -> tuple[int, int]:
    """Positions of the first and the last checkpoint of the longest evenly spaced part."""
    intervals = np.diff(steps)
    values, counts = np.unique(intervals, return_counts=True)
    usual = values[counts.argmax()]
    odd = np.flatnonzero(intervals != usual)
    edges = [-1, *odd.tolist(), len(intervals)]
    before, after = max(pairwise(edges), key=lambda pair: pair[1] - pair[0])
    return before + 1, after


def _updates(interval: float, unit: str, per_epoch: float) -> int | None:
    """Updates in an interval, where that can be known."""
    updates = {"step": interval, "epoch": interval * per_epoch}.get(unit, float("nan"))
    return round(updates) if updates >= 1 and abs(updates - round(updates)) < 1e-6 else None


def _numbers(room: Room, n_places: int) -> tuple[int, int]:
    """Gradients and intervals at each place, fewer where their products would not mapping."""
    most = n_places * (_GRADIENTS + _INTERVALS)
    fitting = (max(room.memory, 0) / (4 * _COPIES * 8)) ** 0.5
    share = min(fitting / most, 1.0)
    return max(int(_GRADIENTS * share), 2), max(int(_INTERVALS * share), _FEWEST_INTERVALS)


def _stretches(start: int, stop: int, n_places: int, room: Room) -> list[tuple[int, int]]:
    """First and last checkpoint of the middle of each of `n_places` parts."""
    _, longest = _numbers(room, n_places)
    edges = np.linspace(start, stop, n_places + 1).astype(int).tolist()
    return [
        (first, first + length)
        for before, after in pairwise(edges)
        for length in [min(after - before, longest)]
        for first in [before + (after - before - length) // 2]
    ]


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
    memory = room.memory - _COPIES * 8 * n_rows**2
    plan = make_plan(parameters, {}, replace(room, n_samples=min(n_rows, n_weights), memory=memory))
    return replace(plan, chunk=max(min(plan.chunk, _GRADIENTS), 1))
