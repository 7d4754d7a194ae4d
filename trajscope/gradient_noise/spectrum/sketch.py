"""D of randomly projected gradients, with its error measured: only where it is asked for."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.errors import OptionError
from trajscope.gradient_noise.spectrum.eigen import Matrix
from trajscope.gradient_noise.spectrum.job import Covariance, Job
from trajscope.gradient_noise.spectrum.memory_plan import Columns, Plan, Room, make_plan
from trajscope.gradient_noise.spectrum.products import add_products, symmetrise
from trajscope.kernels.gram import Floats
from trajscope.model.losses import State
from trajscope.model.mapping import ParameterMapping
from trajscope.schema import ALL_WEIGHTS

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_BLOCK: Final = 8
"""Leading directions of a sketch that are followed, to find the largest eigenvalue exactly."""
SKETCH_PASSES: Final = 3
"""Over the samples, at each checkpoint."""

SKETCH_ERRORS: Final = {
    "sketch_trace_error": "trace of the sketch over the exact one, less 1",
    "sketch_lambda_max_error": "lambda_max of the sketch over that of matrix-free products, less 1",
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
        for number, parameter in enumerate(job.gradients.mapping.parameters):
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


def sketch_plan(mapping: ParameterMapping, size: int, room: Room) -> Plan:
    """All weights at once, in chunks that leave room for the projection and the matrix.

    Raises
    ------
    OptionError
        The sketch would be no smaller than what it replaces, or does not fit.
    """
    n, d = room.n_samples, mapping.n_weights
    if size >= min(n, d):
        raise OptionError(
            f"--sketch {size}: with {n} samples and {d} weights the exact matrix is not larger. "
            f"Give at most {min(n, d) - 1}, or omit --sketch."
        )
    # Places, signs, sums of gradients, and combinations of them.
    projection = d * (4 + 8 + (2 * _BLOCK + 4) * room.itemsize)
    small = replace(room, n_samples=size, memory=room.memory - projection)
    chunk = make_plan(mapping.parameters, {}, small).chunk_of_all
    whole = tuple(Columns(parameter, 0, parameter.size) for parameter in mapping.parameters)
    return Plan(True, (whole,), chunk, chunk)


def covariance_of_sketch(job: Job, state: State, size: int, seed: int) -> Covariance:
    """The spectrum of ``S D S'``, S a random projection onto `size` numbers, and its errors.

    One pass over the samples gives it, and the sums of ``|g|^2`` and g: the trace is compared with
    the exact one. Two more give directions ``V = C G``, C from the sketch's leading eigenvectors,
    and ``D V``: the largest eigenvalue is compared with the largest x of ``V'D^2 V = x V'D V``,
    which is at most the exact one, and differs from it by the square of what V misses.
    """
    projection = Projection.drawn(size, job, seed)
    sums = _Sums(size, job.samples.device)
    losses = np.empty(len(job.samples))
    names = list(projection.places)
    for start, stop, piece in job.pieces(state, names, ()):
        losses[start:stop] = piece.losses.double().cpu().numpy()
        sums.add(projection.of(piece.rows), piece.rows)
    matrix, mean_square, trace = sums.finished(len(job.samples))
    leading = matrix.leading_vectors(_BLOCK)
    d = job.gradients.mapping.n_weights
    spectrum = job.spectrum(matrix.eigenvalues(), d, mean_square, 0.0)
    largest = _largest_of_products(job, state, projection, leading) if len(leading) else np.nan
    exact = np.array([trace, largest]) * job.scale
    found = np.array([spectrum.trace, spectrum.largest])
    errors = np.where(exact > 0, found / np.where(exact > 0, exact, 1.0) - 1, np.nan)
    return Covariance({ALL_WEIGHTS: spectrum}, losses, np.zeros((0, size)), errors)


def _largest_of_products(job: Job, state: State, projection: Projection, leading: Floats) -> float:
    """The largest x of ``V'D^2 V = x V'D V``, V the directions the sketch finds, in two passes."""
    import scipy.linalg
    import torch

    names, n = list(projection.places), len(job.samples)
    directions = torch.as_tensor(leading.copy(), device=job.samples.device)
    first, second = _Combinations(), _Combinations()
    for _, _, piece in job.pieces(state, names, ()):
        first.add(piece.rows, directions @ projection.of(piece.rows).T)
    v = first.centred(n)
    for _, _, piece in job.pieces(state, names, ()):
        parts = [(v[name] @ rows.T).double() for name, rows in piece.rows.items()]
        second.add(piece.rows, torch.stack(parts).sum(0))
    products = second.centred(n)
    inner, square = _inner(v, products), _inner(products, products) / n
    try:
        values: Floats = scipy.linalg.eigh(square, (inner + inner.T) / 2, eigvals_only=True)
    except np.linalg.LinAlgError:  # directions that rounding makes dependent
        return float(square[0, 0] / inner[0, 0])
    return float(values[-1])


def _inner(left: "dict[str, Tensor]", right: "dict[str, Tensor]") -> Floats:
    """Inner products over all parameters, (left, right)."""
    parts = [(left[name] @ right[name].T).double().cpu().numpy() for name in left]
    total: Floats = np.sum(parts, axis=0, dtype=np.float64)
    return total


class _Combinations:
    """``sum_k (c_k - cbar) g_k`` for several c as they grow, by parameter."""

    def __init__(self) -> None:
        self.weighted: dict[str, Tensor] = {}
        self.plain: dict[str, Tensor] = {}
        self.totals: list[Tensor] = []

    def add(self, rows: "dict[str, Tensor]", coefficients: "Tensor") -> None:
        """Add some samples with their coefficients, (combination, sample)."""
        self.totals.append(coefficients.sum(1))
        for name, values in rows.items():
            for sums, part in (
                (self.weighted, coefficients.to(values.dtype) @ values),
                (self.plain, values.sum(0)),
            ):
                sums[name] = sums[name] + part if name in sums else part

    def centred(self, n: int) -> "dict[str, Tensor]":
        """The combinations after the mean of each one's coefficients is taken off."""
        means = sum(self.totals[1:], self.totals[0])[:, None] / n
        return {
            name: each - means.to(each.dtype) * self.plain[name]
            for name, each in self.weighted.items()
        }


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
