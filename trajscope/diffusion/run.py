"""From a source and a problem to a Dataset: the work behind `trajscope.diffusion`."""

import hashlib
import time
import warnings
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import xarray as xr

from trajscope.diffusion.batches import Batches, drawn_batches
from trajscope.diffusion.by_sample import covariance_by_sample
from trajscope.diffusion.by_weight import covariance_by_weight
from trajscope.diffusion.check import checked_gradients
from trajscope.diffusion.curve import curve_rows, loss_and_gradient
from trajscope.diffusion.doubts import doubts
from trajscope.diffusion.fit import Arrays, Fit, filled, fit_module
from trajscope.diffusion.gradients import Gradients, State, in_mode
from trajscope.diffusion.job import Covariance, Job
from trajscope.diffusion.ledger import Ledger
from trajscope.diffusion.memory import activation_bytes, exact_arithmetic
from trajscope.diffusion.options import TRAIN_BATCHES, Options
from trajscope.diffusion.overlap import leading_directions
from trajscope.diffusion.plan import Room, make_plan
from trajscope.diffusion.problem import Problem
from trajscope.diffusion.result import (
    Curve,
    as_dataset,
    comparison_variables,
    curve_variables,
    spectra_variables,
    temperature_variables,
)
from trajscope.diffusion.samples import Samples, chosen_samples, n_samples_of
from trajscope.diffusion.source import Checkpoints, chosen_steps
from trajscope.errors import TrajscopeWarning

if TYPE_CHECKING:
    from torch import Tensor

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
    """

    problem: Problem
    checkpoints: Checkpoints
    options: Options
    fit: Fit
    samples: Samples
    job: Job
    steps: list[int | float]
    rows: list[int]


def run(
    problem: Problem, checkpoints: Checkpoints, options: Options, progress: Progress
) -> xr.Dataset:
    """The Dataset of `trajscope.diffusion`.

    Raises
    ------
    TrajscopeError
        As there.
    """
    import torch

    started = time.perf_counter()
    with ExitStack() as stack:
        stack.enter_context(in_mode(problem.model, options.mode))
        stack.enter_context(exact_arithmetic())
        if options.mode == "train":
            stack.enter_context(torch.random.fork_rng())
        work = _prepared(problem, checkpoints, options, progress)
        found, directions, ledgers = _covariances(work)
        curve = _curve(work)
    variables = spectra_variables(found)
    if len(found) > 1:
        variables |= comparison_variables(found, directions)
    if curve is not None:
        variables |= curve_variables(curve)
    if options.lr is not None and options.batch_size is not None:
        mean = variables["eigenvalue_mean"][1]
        n_all = n_samples_of(problem.data)
        variables |= temperature_variables(mean, options.lr, options.batch_size, n_all)
    attributes = _attributes(work, time.perf_counter() - started)
    dataset = as_dataset(variables, work.steps, found[0].spectra, attributes)
    if curve is not None:
        dataset = dataset.assign_coords(checkpoint=curve.steps)
    messages = doubts(dataset)
    for message in messages:
        warnings.warn(message, TrajscopeWarning, stacklevel=3)
    for ledger in ledgers:
        ledger.clear()
    return dataset.assign_attrs(warnings=messages)


def _prepared(
    problem: Problem, checkpoints: Checkpoints, options: Options, progress: Progress
) -> Work:
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
        job = _planned(gradients, samples, arrays, options, n_steps=len(steps))
    else:
        job = _of_batches(problem, fit, samples, arrays, options)
    total = len(job.samples) * len(job.plan.blocks) * len(steps) + len(samples) * len(rows)
    job = replace(job, advance=_counter(progress, total))
    return Work(problem, checkpoints, options, fit, samples, job, steps, rows)


def _of_batches(
    problem: Problem, fit: Fit, samples: Samples, arrays: Arrays, options: Options
) -> Job:
    """The job of train mode: batches instead of samples."""
    m = TRAIN_BATCHES if options.samples is None else options.samples
    n, b = len(samples), options.batch_size or 1
    batches = drawn_batches(samples, m, b, options.seed)
    gradients = Gradients(problem, fit, vectorised=False, of_batches=True)
    job = _planned(gradients, batches, arrays, replace(options, chunk=1), n_steps=1)
    # Batches without repetition vary less than D/b, and m of them less than all there are.
    scale = b * (n - 1) / (n - b) * m / (m - 1)
    return replace(job, scale=scale, population=n, seed=options.seed)


def _planned(
    gradients: Gradients,
    samples: Samples | Batches,
    arrays: Arrays,
    options: Options,
    *,
    n_steps: int,
) -> Job:
    """The job cut to the memory there is."""
    fit = gradients.fit
    state = filled(gradients.problem.model, fit, arrays, samples.device, samples.dtype)
    itemsize = samples.dtype.itemsize
    n_directions = min(_DIRECTIONS, len(samples) - 1, fit.n_weights) if n_steps > 1 else 0
    directions = n_steps * n_directions * fit.n_weights * itemsize
    room = Room(
        len(samples),
        options.room(samples.device) - directions,
        activation_bytes(gradients, state, samples.picked([0])),
        itemsize,
        None if options.chunk == "auto" else int(options.chunk),
    )
    factors = {
        site.weight: (site.n_positions, site.n_in, site.n_out)
        for site in gradients.sites
        if site.is_factored
    }
    plan = make_plan(fit.parameters, factors, room)
    return Job(gradients, samples, plan, n_directions, 1.0, len(samples), _ignore)


def _covariances(work: Work) -> "tuple[list[Covariance], list[Tensor], list[Ledger]]":
    """What was found at each step, the leading directions, and where it is kept."""
    found, directions, ledgers = [], [], []
    for step in work.steps:
        arrays = work.checkpoints.read(step)
        model, device = work.problem.model, work.samples.device
        state = filled(model, work.fit, arrays, device, work.samples.dtype)
        name = f"{_digest(work, state)}-{step}"
        finished = Ledger(_file(work.options, f"{name}-done.npz"), interval=0.0)
        covariance = _covariance(work.job, state, finished, _file(work.options, f"{name}.npz"))
        found.append(covariance)
        ledgers.append(finished)
        if work.job.n_directions:
            directions.append(leading_directions(work.job, state, covariance))
    return found, directions, ledgers


def _covariance(job: Job, state: State, finished: Ledger, unfinished: Path | None) -> Covariance:
    saved = finished.load()
    if saved:
        job.advance(len(job.samples) * len(job.plan.blocks))
        return Covariance.from_arrays(saved)
    way = covariance_by_weight if job.plan.by_weight else covariance_by_sample
    found = way(job, state, Ledger(unfinished)).checked()
    finished.save(found.to_arrays())
    return found


def _curve(work: Work) -> Curve | None:
    if not work.rows:
        return None
    losses, norms = loss_and_gradient(
        work.job.gradients,
        work.checkpoints,
        work.samples,
        work.rows,
        work.job.plan.chunk,
        work.job.advance,
    )
    steps = work.checkpoints.steps[work.rows].astype(np.float64)
    return Curve(steps, losses, norms)


def _digest(work: Work, state: State) -> str:
    """What unfinished work depends on, as far as it can be known: not the loss's code."""
    job, options = work.job, work.options
    content = hashlib.sha256()
    settings = (options.mode, options.dtype, options.seed, options.batch_size, job.n_directions)
    content.update(repr((settings, work.fit.parameters, job.plan)).encode())
    content.update(work.samples.indices.tobytes())
    for name, tensor in state.items():
        content.update(repr((name, tuple(tensor.shape))).encode())
        content.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return content.hexdigest()[:24]


def _file(options: Options, name: str) -> Path | None:
    if options.work_dir is None:
        return None
    folder = Path(options.work_dir)
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _attributes(work: Work, seconds: float) -> dict[str, Any]:
    options, job = work.options, work.job
    samples = work.samples
    return {
        "mode": options.mode,
        "dtype": options.dtype,
        "device": str(samples.device),
        # Sums on a GPU may be taken in another order each time.
        "deterministic": samples.device.type == "cpu",
        "seed": options.seed,
        "n_weights": work.fit.n_weights,
        "n_samples": len(job.samples),
        "n_data": n_samples_of(work.problem.data),
        "batch_size": options.batch_size or 0,
        "matrix": "weight" if job.plan.by_weight else "sample",
        "blocks": len(job.plan.blocks),
        "chunk": job.plan.chunk,
        "vectorised": job.gradients.vectorised,
        "factored": [site.weight for site in job.gradients.sites if site.is_factored],
        "seconds": seconds,
    }


def _counter(progress: Progress, total: int) -> Callable[[int], None]:
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        progress(done, total)

    return advance


def _ignore(count: int) -> None:
    """Count nothing."""
