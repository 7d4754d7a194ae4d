"""The spectrum of D where there are fewer weights than samples: D itself."""

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from trajscope.gradient_noise.spectrum.eigen import Matrix
from trajscope.gradient_noise.spectrum.job import ROUNDING, Covariance, Job
from trajscope.gradient_noise.spectrum.noise_scale import Scatter
from trajscope.gradient_noise.spectrum.products import add_products, symmetrise
from trajscope.gradient_noise.spectrum.resume import Ledger
from trajscope.gradient_noise.spectrum.statistics import Spectrum
from trajscope.kernels.gram import Floats
from trajscope.model.losses import State
from trajscope.schema import ALL_WEIGHTS

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def covariance_by_weight(job: Job, state: State, ledger: Ledger) -> Covariance:
    """The spectrum of D from D itself, ``D = (1/N) sum_k g_k g_k' - gbar gbar'``, in float64.

    Parameters
    ----------
    state :
        As `mapping.loaded_state` makes it.
    ledger :
        Where the sums are kept after each chunk.
    """
    import torch

    sizes, n, device = job.sizes, len(job.samples), job.samples.device
    d = sum(sizes.values())
    saved: dict[str, Any] = ledger.load()
    matrix = Matrix.of(saved.get("matrix"), d, device)
    # Taking off a gradient near the mean first keeps the digits of a small covariance.
    shift = torch.as_tensor(saved["shift"], device=device) if saved else None
    total = torch.as_tensor(saved.get("total", np.zeros(d)), device=device)
    fourth = Fourth.of(saved, d, device)
    losses = saved.get("losses", np.full(n, np.nan))
    first = int(saved.get("done", 0))
    job.advance(first)
    wanted = [columns.parameter.name for columns in job.plan.blocks[0]]
    for start, stop, piece in job.pieces(state, wanted, (), first):
        rows = torch.cat([piece.rows[name].double() for name in wanted], dim=1)
        shift = rows.mean(0) if shift is None else shift
        rows -= shift
        total += rows.sum(0)
        add_products(matrix.values, rows.T)
        fourth.add(rows)
        losses[start:stop] = piece.losses.double().cpu().numpy()
        sums = {"matrix": matrix, "shift": shift, "total": total, **fourth.sums}
        ledger.save({**_as_arrays(sums), "losses": losses, "done": np.array(stop, float)})
    assert shift is not None
    symmetrise(matrix.values)
    matrix.values.div_(n)
    offset = total / n
    matrix.values.addr_(offset, offset, alpha=-1)
    mean = shift + offset
    scatter = fourth.scatter(matrix.values, offset, mean, n)
    spectra, vectors = _diagonal_blocks(job, matrix, mean, sizes)
    ledger.clear()
    return Covariance(spectra, losses, vectors, scatter=scatter)


class Fourth:
    """Sums of powers of the gradients ``h_k`` about a point near their mean, as they grow.

    Attributes
    ----------
    sums :
        ``cubes`` (weight,), the sum of ``|h|^2 h``; ``squares``, of ``|h|^2``; ``fourths``, of
        ``|h|^4``.
    """

    def __init__(self, sums: "dict[str, Tensor]") -> None:
        self.sums = sums

    @classmethod
    def of(cls, saved: Mapping[str, Any], d: int, device: "torch.device") -> "Fourth":
        """What was saved, or nothing yet."""
        import torch

        empty = {"cubes": np.zeros(d), "squares": np.zeros(()), "fourths": np.zeros(())}
        return cls(
            {
                name: torch.as_tensor(saved.get(name, zero), device=device)
                for name, zero in empty.items()
            }
        )

    def add(self, rows: "Tensor") -> None:
        """Add some samples, (sample, weight)."""
        sizes = rows.square().sum(1)
        added = {"cubes": sizes @ rows, "squares": sizes.sum(), "fourths": sizes.square().sum()}
        self.sums = {name: total + added[name] for name, total in self.sums.items()}

    def scatter(self, matrix: "Tensor", offset: "Tensor", mean: "Tensor", n: int) -> Scatter:
        """About the mean: with o the `offset` of the mean from the point, gbar the mean itself.

        ``sum (h - o) gbar |h - o|^2 = cubes gbar - squares o gbar - 2 N o'D gbar``, and likewise
        the sum of ``|h - o|^4``.
        """
        cubes, squares, fourths = (self.sums[name] for name in ("cubes", "squares", "fourths"))
        turned = matrix @ offset
        size = offset @ offset
        across = cubes @ mean - squares * (offset @ mean) - 2 * n * (turned @ mean)
        total = (
            fourths
            - 4 * (cubes @ offset)
            + 2 * size * squares
            + 4 * n * (offset @ turned)
            + n * size**2
        )
        centred = squares / n - size
        return Scatter(
            float(mean @ (matrix @ mean)),
            float(across / n),
            max(float(total / n - centred**2), 0.0),
        )


def _diagonal_blocks(
    job: Job, matrix: Matrix, mean: "Tensor", sizes: Mapping[str, int]
) -> tuple[dict[str, Spectrum], Floats]:
    """The spectra of all weights and of every group, and the leading eigenvectors."""

    def of(part: Matrix, start: int, stop: int) -> Spectrum:
        square = float(mean[start:stop] @ mean[start:stop])
        floor = ROUNDING**2 * (float(part.values.diagonal().sum()) + square)
        return job.spectrum(part.eigenvalues(), stop - start, square, floor)

    spectra: dict[str, Spectrum] = {}
    bounds = np.cumsum([0, *sizes.values()]).tolist()
    for group, (start, stop) in zip(sizes, pairwise(bounds), strict=True):
        if len(sizes) > 1:
            own = Matrix(matrix.values[start:stop, start:stop].clone())
            spectra[group] = of(own, start, stop)
    vectors = matrix.leading_vectors(job.n_directions)
    return {ALL_WEIGHTS: of(matrix, 0, bounds[-1]), **spectra}, vectors


def _as_arrays(values: Mapping[str, Any]) -> dict[str, Floats]:
    return {
        name: each.to_numpy() if isinstance(each, Matrix) else each.cpu().numpy()
        for name, each in values.items()
    }
