"""How alike the noise is at two checkpoints: leading eigenvectors of D as vectors of weights."""

from typing import TYPE_CHECKING

import numpy as np

from trajscope.gradient_noise.spectrum.job import Covariance, Job
from trajscope.kernels.gram import Floats
from trajscope.model.losses import State

if TYPE_CHECKING:
    from torch import Tensor


def leading_directions(job: Job, state: State, found: Covariance) -> "Tensor":
    """Orthonormal eigenvectors of D for its largest eigenvalues, (component, weight), on the CPU.

    From the Gram matrix's eigenvector u the direction is ``sum_k u_k g_k``, up to its length: a
    weighted loss passed backward, without any gradient of a single sample.
    """
    import torch

    if job.plan.by_weight or len(found.directions) == 0:
        return torch.as_tensor(found.directions.copy(), dtype=job.samples.dtype)
    coefficients = torch.as_tensor(found.directions.copy(), device=job.samples.device)
    sums: Tensor | None = None
    for start, stop, batch in job.batches(0, job.plan.chunk):
        part, _ = job.gradients.weighted_sums(
            state, batch, coefficients[:, start:stop].to(job.samples.dtype)
        )
        sums = part if sums is None else sums.add_(part)
    assert sums is not None
    # Eigenvectors are orthogonal but for rounding, which this takes away.
    orthonormal: Tensor = torch.linalg.qr(sums.T).Q
    return orthonormal.T.contiguous().cpu()


def subspace_overlap(first: "Tensor", second: "Tensor") -> float:
    """Mean squared cosine of the principal angles between two subspaces of the same dimension.

    ``|V W'|_F^2 / k``, 1 for the same subspace, k/d for random ones; where one has fewer directions
    than the other, that many leading ones of both are compared.

    Parameters
    ----------
    first, second : (component, weight)
        Orthonormal.
    """
    k = min(len(first), len(second))
    if k == 0:
        return float("nan")
    # Directions in float32 may be longer than 1 in the last digits.
    return min(float((first[:k].double() @ second[:k].double().T).square().sum() / k), 1.0)


def spectrum_distance(first: Floats, second: Floats) -> float:
    """How differently two spectra share out their trace, from 0 (alike) to 1.

    ``sum_i |p_i - q_i| / 2`` with ``p = lambda / tr D``: the part of the trace that would have to
    move to other eigenvalues.

    Parameters
    ----------
    first, second : (component,)
        Descending.
    """
    if not (first.sum() > 0 and second.sum() > 0):
        return float("nan")
    return float(np.abs(first / first.sum() - second / second.sum()).sum() / 2)
