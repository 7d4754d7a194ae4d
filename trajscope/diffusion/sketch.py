"""D of randomly projected gradients, with its error measured: only where it is asked for."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.diffusion.batches import Batches
from trajscope.diffusion.by_sample import covariance_by_sample
from trajscope.diffusion.eigen import Matrix
from trajscope.diffusion.fit import Fit
from trajscope.diffusion.gradients import State
from trajscope.diffusion.gram import add_products, symmetrise
from trajscope.diffusion.job import Covariance, Job
from trajscope.diffusion.ledger import Ledger
from trajscope.diffusion.numbers import Spectrum
from trajscope.diffusion.plan import Columns, Plan, Room, make_plan
from trajscope.diffusion.samples import Samples
from trajscope.errors import OptionError
from trajscope.kernels.gram import Floats
from trajscope.schema import ALL_WEIGHTS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_COMPARED: Final = 256
"""Samples whose exact spectrum the sketch's is held against."""

SKETCH_ERRORS: Final = {
    "sketch_trace_error": "trace of the sketch over the exact one, less 1",
    "sketch_lambda_max_error": "lambda_max of a part of the samples by the sketch and exactly",
    "sketch_frobenius_error": "|D|_F of the same samples by the sketch and exactly",
}
"""Variables of the result: relative errors, in the order of `Covariance.sketch_errors`."""


@dataclass(frozen=True)
class Projection:
    """Random signs, and one of K places for each weight: ``(S g)_k = sum_{h(i) = k} s_i g_i``.

    Inner products of projected gradients are right on average, and off by about
    ``sqrt(2/K) |g| |g'|`` (CountSketch; Charikar et al. 2002, doi:10.1007/3-540-45465-9_59).
    """

    size: int
    places: "dict[str, Tensor]"
    signs: "dict[str, Tensor]"

    @classmethod
    def drawn(cls, size: int, job: Job, seed: int) -> "Projection":
        """The same for every checkpoint and any chunks."""
        import torch

        places, signs = {}, {}
        for number, parameter in enumerate(job.gradients.fit.parameters):
            rng = np.random.default_rng([seed, number])
            device, dtype = job.samples.device, job.samples.dtype
            drawn = rng.integers(size, size=parameter.size, dtype=np.int32)
            places[parameter.name] = torch.as_tensor(drawn, device=device)
            flipped = rng.integers(2, size=parameter.size, dtype=np.int8) * 2 - 1
            signs[parameter.name] = torch.as_tensor(flipped, device=device, dtype=dtype)
        return cls(size, places, signs)

    def of(self, rows: "dict[str, Tensor]") -> "Tensor":
        """Projected gradients, (sample, place), from those by each parameter, (sample, weight)."""
        import torch

        first = next(iter(rows.values()))
        total = torch.zeros((len(first), self.size), dtype=first.dtype, device=first.device)
        for name, values in rows.items():
            total.index_add_(1, self.places[name], values * self.signs[name])
        return total.double()


def sketch_plan(fit: Fit, size: int, room: Room) -> Plan:
    """All weights at once, in chunks that leave room for the projection and the matrix.

    Raises
    ------
    OptionError
        The sketch would be no smaller than what it replaces, or does not fit.
    """
    n, d = room.n_samples, fit.n_weights
    if size >= min(n, d):
        raise OptionError(
            f"--sketch {size}: with {n} samples and {d} weights the exact matrix is no larger. "
            f"Give at most {min(n, d) - 1}, or leave --sketch out."
        )
    # Places, signs and the sum of all gradients.
    projection = d * (4 + room.itemsize + 8)
    small = replace(room, n_samples=size, memory=room.memory - projection)
    chunk = make_plan(fit.parameters, {}, small).chunk_of_all
    whole = tuple(Columns(parameter, 0, parameter.size) for parameter in fit.parameters)
    return Plan(True, (whole,), chunk, chunk)


def covariance_of_sketch(job: Job, state: State, size: int, seed: int, room: Room) -> Covariance:
    """The spectrum of ``S D S'``, S a random projection onto `size` numbers, and its errors.

    One pass over the samples, which also sums ``|g|^2`` and g: the trace is compared with the exact
    one. The largest eigenvalue and the Frobenius norm are compared on some of the samples, whose
    exact spectrum is computed as without a sketch.

    Parameters
    ----------
    room :
        For the exact spectrum of these few.
    """
    projection = Projection.drawn(size, job, seed)
    sums = _Sums(size, job.samples.device)
    losses = np.empty(len(job.samples))
    names = list(projection.places)
    for start, stop, piece in job.pieces(state, names, ()):
        losses[start:stop] = piece.losses.double().cpu().numpy()
        sums.add(projection.of(piece.rows), piece.rows)
    matrix, mean_square, trace = sums.finished(len(job.samples))
    d = job.gradients.fit.n_weights
    spectrum = job.spectrum(matrix.eigenvalues(), d, mean_square, 0.0)
    exact = trace * job.scale
    of_trace = spectrum.trace / exact - 1 if exact > 0 else float("nan")
    errors = np.array([of_trace, *_errors_of_some(job, state, projection, room)])
    return Covariance({ALL_WEIGHTS: spectrum}, losses, np.zeros((0, size)), errors)


class _Sums:
    """Sums over samples, of projected gradients and of gradients."""

    def __init__(self, size: int, device: "torch.device") -> None:
        self.matrix = Matrix.of(None, size, device)
        self.total: Tensor | None = None
        self.gradients: dict[str, Tensor] = {}
        self.shift: Tensor | None = None
        self.squares = 0.0

    def add(self, projected: "Tensor", rows: "dict[str, Tensor]") -> None:
        """Add some samples."""
        # Taking off a gradient near the mean first keeps the digits of a small covariance.
        self.shift = projected.mean(0) if self.shift is None else self.shift
        projected = projected - self.shift
        summed = projected.sum(0)
        self.total = summed if self.total is None else self.total + summed
        add_products(self.matrix.values, projected.T)
        for name, values in rows.items():
            here = values.double().sum(0)
            self.gradients[name] = self.gradients[name] + here if name in self.gradients else here
            self.squares += float(values.double().square().sum())

    def finished(self, n: int) -> tuple[Matrix, float, float]:
        """Covariance of what was projected; the exact ``|gbar|^2`` and trace."""
        assert self.total is not None
        symmetrise(self.matrix.values)
        self.matrix.values.div_(n)
        mean = self.total / n
        self.matrix.values.addr_(mean, mean, alpha=-1)
        square = sum(float((each / n).square().sum()) for each in self.gradients.values())
        return self.matrix, square, self.squares / n - square


def _errors_of_some(
    job: Job, state: State, projection: Projection, room: Room
) -> tuple[float, float]:
    """Relative errors of the largest eigenvalue and of the Frobenius norm, on some samples."""
    import torch

    some = _some(job)
    projected = torch.cat(
        [
            projection.of(piece.rows)
            for _, _, piece in some.pieces(state, list(projection.places), ())
        ]
    )
    projected -= projected.mean(0)
    values = Matrix(projected @ projected.T / len(projected)).eigenvalues() * job.scale
    parameters = job.gradients.fit.parameters
    # As many samples as there are: fewer weights than samples go by samples here as well.
    fewer = replace(room, n_samples=min(len(some.samples), job.gradients.fit.n_weights))
    grouped = tuple(replace(parameter, group=ALL_WEIGHTS) for parameter in parameters)
    plan = replace(make_plan(grouped, {}, fewer), chunk=job.plan.chunk)
    found = covariance_by_sample(replace(some, plan=plan), state, Ledger(None))
    exact = found.spectra[ALL_WEIGHTS]
    frobenius = float(np.sqrt(values @ values))
    return _error(float(values.max()), exact.largest), _error(frobenius, _frobenius(exact))


def _some(job: Job) -> Job:
    """The same job with a few of its samples, evenly spread."""
    n = len(job.samples)
    rows = np.unique(np.linspace(0, n - 1, min(n, _COMPARED)).round().astype(int))
    samples: Samples | Batches = (
        replace(job.samples, indices=job.samples.indices[rows])
        if isinstance(job.samples, Samples)
        else replace(job.samples, rows=job.samples.rows[rows])
    )
    return replace(job, samples=samples, advance=_ignore, n_directions=0)


def _error(found: float, exact: float) -> float:
    return float(found / exact - 1) if exact > 0 else float("nan")


def _frobenius(spectrum: Spectrum) -> float:
    values: Floats = spectrum.eigenvalues
    return float(np.sqrt(values @ values))


def _ignore(count: int) -> None:
    """Count nothing: these few are no part of the progress."""
