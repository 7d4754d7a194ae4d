"""From a source and a problem to a Dataset: the work behind `trajscope.diffusion`."""

import hashlib
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from trajscope.errors import OptionError, TrajscopeWarning, printable
from trajscope.gradient_noise.budget.run import budget
from trajscope.gradient_noise.caveats import caveats, temperature_caveats
from trajscope.gradient_noise.curve import loss_and_gradient
from trajscope.gradient_noise.overlap import leading_directions
from trajscope.gradient_noise.prepare import Subject, Work, computing
from trajscope.gradient_noise.result import (
    Curve,
    as_dataset,
    comparison_variables,
    curve_variables,
    noise_scale_variables,
    sketch_variables,
    spectra_variables,
    temperature_variables,
)
from trajscope.gradient_noise.spectrum.from_covariance import covariance_by_weight
from trajscope.gradient_noise.spectrum.from_gram import covariance_by_sample
from trajscope.gradient_noise.spectrum.job import Covariance
from trajscope.gradient_noise.spectrum.resume import Ledger
from trajscope.gradient_noise.spectrum.single import bound
from trajscope.gradient_noise.spectrum.sketch import SKETCH_PASSES, covariance_of_sketch
from trajscope.model.losses import State
from trajscope.model.mapping import loaded_state
from trajscope.model.plain import normalised_by_batch
from trajscope.model.samples import contents, mapped, n_samples_of
from trajscope.units import labelled

if TYPE_CHECKING:
    from torch import Tensor

_SEEN, _LOSSES = 64, 8
"""Samples whose contents, and whose losses, tell one problem from another."""


def run(work: Work, kept: list[Ledger]) -> xr.Dataset:
    """The Dataset of `trajscope.diffusion`.

    Parameters
    ----------
    kept :
        The files of finished work are added here.

    Raises
    ------
    TrajscopeError
        As there.
    """
    started = time.perf_counter()
    subject, options = work.subject, work.subject.options
    with computing(subject.problem, options):
        found, directions = _covariances(work, kept)
        curve = _curve(work)
        balance = budget(work.budget, subject.checkpoints, options, work.spoken)
    variables = spectra_variables(found) | balance.variables
    variables |= noise_scale_variables(found, len(work.job.samples), work.job.scale)
    if options.sketch is not None:
        variables |= sketch_variables(variables, found)
    if len(found) > 1:
        variables |= comparison_variables(found, directions)
    if curve is not None:
        variables |= curve_variables(curve)
    if options.lr is not None and options.batch_size is not None:
        mean = variables["eigenvalue_mean"][1]
        n_all = n_samples_of(subject.problem.data)
        variables |= temperature_variables(mean, options.lr, options.batch_size, n_all)
    attributes = _attributes(work, time.perf_counter() - started)
    single = any(each.is_single for each in found)
    attributes |= {"products": "float32" if single else "float64"}
    attributes |= {"products_bound": bound(1.0) if single else 0.0}
    attributes |= balance.attributes
    dataset = as_dataset(variables, subject.steps, found[0].spectra, attributes)
    if curve is not None:
        dataset = dataset.assign_coords(checkpoint=curve.steps)
    messages = caveats(dataset)
    if "temperature" in dataset:
        messages += temperature_caveats(work.spoken)
    for message in messages:
        warnings.warn(message, TrajscopeWarning, stacklevel=3)
    unit = str(subject.checkpoints.trajectory.attrs.get("step_unit", "index"))
    return labelled(dataset.assign_attrs(warnings=messages), unit)


def _covariances(work: Work, kept: list[Ledger]) -> "tuple[list[Covariance], list[Tensor]]":
    """What was found at each step, and the leading directions."""
    found, directions = [], []
    subject = work.subject
    seen = contents(subject.samples)
    for step in subject.steps:
        arrays = subject.checkpoints.read(step)
        model, samples = subject.problem.model, subject.samples
        state = loaded_state(model, subject.mapping, arrays, samples.device, samples.dtype)
        finished, unfinished = _files(work, state, step)
        covariance = _covariance(work, state, finished, unfinished)
        found.append(covariance)
        if contents(subject.samples) != seen:
            raise OptionError(
                f"The problem's data changed while the checkpoint at step {step:g} was measured. "
                "Is it written again, or augmented at random? Measure again when it stays as it is."
            )
        kept.append(finished)
        if work.job.n_directions:
            directions.append(leading_directions(work.job, state, covariance))
    return found, directions


def _covariance(work: Work, state: State, finished: Ledger, unfinished: Path | None) -> Covariance:
    job, size = work.job, work.subject.options.sketch
    saved = finished.load()
    if saved:
        passes = len(job.plan.blocks) if size is None else SKETCH_PASSES
        job.advance(len(job.samples) * passes)
        return Covariance.from_arrays(saved)
    if size is not None:
        found = covariance_of_sketch(job, state, size, work.subject.options.seed).checked()
    else:
        way = covariance_by_weight if job.plan.by_weight else covariance_by_sample
        found = way(job, state, Ledger(unfinished)).checked()
    finished.save(found.to_arrays())
    return found


def _curve(work: Work) -> Curve | None:
    subject = work.subject
    if not subject.rows:
        return None
    losses, norms = loss_and_gradient(
        work.job.gradients,
        subject.checkpoints,
        subject.samples,
        subject.rows,
        work.job.plan.chunk,
        work.job.advance,
    )
    steps = subject.checkpoints.steps[subject.rows].astype(np.float64)
    return Curve(steps, losses, norms)


def _files(work: Work, state: State, step: float) -> tuple[Ledger, Path | None]:
    """Where finished and unfinished work at one step is kept."""
    folder = work.subject.options.work_dir
    if folder is None:
        return Ledger(None), None
    Path(folder).mkdir(parents=True, exist_ok=True)
    name = f"{_digest(work, state)}-{step}"
    # Unfinished sums are those of some blocks of weights; what is finished is not.
    plan = hashlib.sha256(repr(work.job.plan).encode()).hexdigest()[:8]
    finished = Ledger(Path(folder) / f"{name}-done.npz", interval=0.0)
    return finished, Path(folder) / f"{name}-{plan}.npz"


def _digest(work: Work, state: State) -> str:
    """What unfinished work depends on: settings, weights, data, and the loss of some samples.

    Data, loss and model are seen through a few samples, spread over all: their contents, and
    their losses at these weights.
    """
    job, options = work.job, work.subject.options
    content = hashlib.sha256()
    settings: tuple[object, ...] = (options.mode, options.dtype, options.seed, options.batch_size)
    settings += (job.n_directions, options.sketch)
    content.update(repr((settings, work.subject.mapping.parameters)).encode())
    content.update(work.subject.samples.indices.tobytes())

    def add(tensor: "Tensor") -> "Tensor":
        content.update(repr((tuple(tensor.shape), tensor.dtype)).encode())
        content.update(np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
        return tensor

    for name, tensor in state.items():
        content.update(name.encode())
        add(tensor)
    positions = np.unique(np.linspace(0, len(job.samples) - 1, _SEEN).astype(int)).tolist()
    mapped(job.samples.picked(positions), add)
    losses = job.losses(state, positions[:: max(len(positions) // _LOSSES, 1)])
    # Sums in another order, on another number of threads, differ in their last digits.
    content.update(" ".join(f"{loss:.3g}" for loss in losses).encode())
    return content.hexdigest()[:24]


def _attributes(work: Work, seconds: float) -> dict[str, Any]:
    subject, job = work.subject, work.job
    options, samples = subject.options, subject.samples
    return {
        "mode": options.mode,
        "dtype": options.dtype,
        "device": str(samples.device),
        # Sums on a GPU may be taken in another order each time.
        "deterministic": samples.device.type == "cpu",
        "seed": options.seed,
        "n_weights": subject.mapping.n_weights,
        "n_samples": len(job.samples),
        "n_data": n_samples_of(subject.problem.data),
        "batch_size": options.batch_size or 0,
        "matrix": "weight" if job.plan.by_weight else "sample",
        "sketch": options.sketch or 0,
        "blocks": len(job.plan.blocks),
        "chunk": job.plan.chunk,
        "vectorised": job.gradients.vectorised,
        "mapping": list(subject.mapping.words),
        "unmapped": list(job.gradients.unmapped),
        "normalised_alone": _normalised_alone(subject),
        "factored": [site.weight for site in job.gradients.sites if site.is_factored],
        "seconds": seconds,
    }


def _normalised_alone(subject: Subject) -> list[str]:
    """Layers that in eval mode see one sample where training's saw a batch."""
    is_eval = subject.options.mode == "eval"
    names = normalised_by_batch(subject.problem.model) if is_eval else []
    return [printable(name) for name in names]
