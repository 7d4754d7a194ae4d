"""From a source and a problem to a Dataset: the work behind `trajscope.diffusion`."""

import hashlib
import time
import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from trajscope.errors import TrajscopeWarning
from trajscope.gradient_noise.budget.run import budget
from trajscope.gradient_noise.caveats import doubts
from trajscope.gradient_noise.curve import loss_and_gradient
from trajscope.gradient_noise.options import Options
from trajscope.gradient_noise.overlap import leading_directions
from trajscope.gradient_noise.prepare import Progress, Work, prepared
from trajscope.gradient_noise.result import (
    Curve,
    as_dataset,
    comparison_variables,
    curve_variables,
    sketch_variables,
    spectra_variables,
    temperature_variables,
)
from trajscope.gradient_noise.spectrum.from_covariance import covariance_by_weight
from trajscope.gradient_noise.spectrum.from_gram import covariance_by_sample
from trajscope.gradient_noise.spectrum.job import Covariance
from trajscope.gradient_noise.spectrum.memory import exact_arithmetic
from trajscope.gradient_noise.spectrum.resume import Ledger
from trajscope.gradient_noise.spectrum.sketch import SKETCH_PASSES, covariance_of_sketch
from trajscope.model.checkpoints import Checkpoints
from trajscope.model.gradients import State, in_mode
from trajscope.model.mapping import filled
from trajscope.model.problem import Problem
from trajscope.model.samples import n_samples_of

if TYPE_CHECKING:
    from torch import Tensor


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
        work = prepared(problem, checkpoints, options, progress)
        found, directions, ledgers = _covariances(work)
        curve = _curve(work)
        balance = budget(work.budget, checkpoints, options, work.spoken)
    variables = spectra_variables(found) | balance.variables
    if options.sketch is not None:
        variables |= sketch_variables(variables, found)
    if len(found) > 1:
        variables |= comparison_variables(found, directions)
    if curve is not None:
        variables |= curve_variables(curve)
    if options.lr is not None and options.batch_size is not None:
        mean = variables["eigenvalue_mean"][1]
        n_all = n_samples_of(problem.data)
        variables |= temperature_variables(mean, options.lr, options.batch_size, n_all)
    attributes = _attributes(work, time.perf_counter() - started) | balance.attributes
    dataset = as_dataset(variables, work.steps, found[0].spectra, attributes)
    if curve is not None:
        dataset = dataset.assign_coords(checkpoint=curve.steps)
    messages = doubts(dataset)
    for message in messages:
        warnings.warn(message, TrajscopeWarning, stacklevel=3)
    for ledger in ledgers:
        ledger.clear()
    return dataset.assign_attrs(warnings=messages)


def _covariances(work: Work) -> "tuple[list[Covariance], list[Tensor], list[Ledger]]":
    """What was found at each step, the leading directions, and where it is kept."""
    found, directions, ledgers = [], [], []
    for step in work.steps:
        arrays = work.checkpoints.read(step)
        model, device = work.problem.model, work.samples.device
        state = filled(model, work.fit, arrays, device, work.samples.dtype)
        name = f"{_digest(work, state)}-{step}"
        finished = Ledger(_file(work.options, f"{name}-done.npz"), interval=0.0)
        covariance = _covariance(work, state, finished, _file(work.options, f"{name}.npz"))
        found.append(covariance)
        ledgers.append(finished)
        if work.job.n_directions:
            directions.append(leading_directions(work.job, state, covariance))
    return found, directions, ledgers


def _covariance(work: Work, state: State, finished: Ledger, unfinished: Path | None) -> Covariance:
    job, size = work.job, work.options.sketch
    saved = finished.load()
    if saved:
        passes = len(job.plan.blocks) if size is None else SKETCH_PASSES
        job.advance(len(job.samples) * passes)
        return Covariance.from_arrays(saved)
    if size is not None:
        found = covariance_of_sketch(job, state, size, work.options.seed).checked()
    else:
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
    settings: tuple[object, ...] = (options.mode, options.dtype, options.seed, options.batch_size)
    settings += (job.n_directions, options.sketch)
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
        "sketch": options.sketch or 0,
        "blocks": len(job.plan.blocks),
        "chunk": job.plan.chunk,
        "vectorised": job.gradients.vectorised,
        "factored": [site.weight for site in job.gradients.sites if site.is_factored],
        "seconds": seconds,
    }
