"""A quadratic loss whose per-sample gradients are known."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.simulate.embedding import SAMPLES, expect, random_stream, square_root

_ROUNDING: Final = 1e-9
"""Relative: what symmetry and a zero mean may miss."""


@dataclass(frozen=True, eq=False)
class QuadraticLoss:
    """The mean over N samples of ``f_i(x) = x' H x / 2 + g_i' x``, with ``sum_i g_i = 0``.

    Sample i has gradient ``H x + g_i``, the loss ``H x``: its minimum is 0. Up to a constant, f_i
    is ``(x - c_i)' H (x - c_i) / 2`` with centre ``c_i = -H^-1 g_i``.

    Attributes
    ----------
    hessian : (mode, mode)
        H, symmetric; loss per squared unit of weight.
    gradients_at_minimum : (sample, mode)
        g_i, loss per unit of weight.

    Raises
    ------
    OptionError
        The shapes do not fit, a value is not finite, H is not symmetric, or the gradients have a
        mean.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> bool(np.allclose(simulate.diffusion_matrix(loss), np.eye(2)))
    True
    """

    hessian: Floats
    gradients_at_minimum: Floats

    def __post_init__(self) -> None:
        expect_symmetric("hessian", self.hessian)
        shape = np.shape(self.gradients_at_minimum)
        fits = len(shape) == 2 and shape[0] >= 1 and shape[1] == len(self.hessian)
        expect(
            fits,
            "gradients_at_minimum",
            f"array of shape {shape}",
            f"shape (sample, {len(self.hessian)}), as the Hessian has it,",
        )
        largest = np.abs(self.gradients_at_minimum).max()
        mean = np.abs(self.gradients_at_minimum.mean(axis=0)).max()
        expect(
            bool(np.isfinite(largest) and mean <= _ROUNDING * largest),
            "gradients_at_minimum",
            f"array whose mean is up to {mean:.3g}",
            "finite numbers of mean 0 over samples",
        )

    @property
    def n_samples(self) -> int:
        """N."""
        return len(self.gradients_at_minimum)

    @property
    def n_modes(self) -> int:
        """Dimension of x."""
        return len(self.hessian)

    def sample_gradients(self, position: Floats) -> Floats:
        """``H x + g_i`` of every sample at x = `position`, as (sample, mode)."""
        gradients: Floats = self.hessian @ position + self.gradients_at_minimum
        return gradients


def quadratic_loss(
    hessian: Floats, diffusion: Floats, *, n_samples: int, seed: int
) -> QuadraticLoss:
    """A `QuadraticLoss` with this Hessian and exactly this gradient covariance D.

    ``g = sqrt(N) Z R'``, ``R R' = D``, with Z (sample, mode) of orthonormal columns that sum to 0,
    else random. For many samples the gradients are nearly normal.

    Parameters
    ----------
    hessian : (mode, mode)
    diffusion : (mode, mode)
        D, symmetric and positive semidefinite, of any rank.
    n_samples :
        N, more than the modes.

    Raises
    ------
    OptionError
        A matrix is not symmetric, D has a negative eigenvalue, or there are too few samples.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> bool(np.allclose(simulate.diffusion_matrix(loss), np.eye(2)))
    True
    """
    expect_symmetric("hessian", hessian)
    expect_symmetric("diffusion", diffusion)
    n_modes = len(diffusion)
    expect(
        len(hessian) == n_modes,
        "diffusion",
        f"matrix of {n_modes} modes",
        f"as many modes as the Hessian's {len(hessian)}",
    )
    eigenvalues = np.linalg.eigvalsh(diffusion)
    expect(
        bool(eigenvalues[0] >= -_ROUNDING * eigenvalues[-1]),
        "diffusion",
        f"matrix with eigenvalue {eigenvalues[0]:.3g}",
        "no negative eigenvalue",
    )
    expect(n_samples > n_modes, "n_samples", n_samples, f"more samples than the {n_modes} modes")
    gaussian = random_stream(seed, SAMPLES).standard_normal((n_samples, n_modes))
    orthonormal, _ = np.linalg.qr(gaussian - gaussian.mean(axis=0))
    return QuadraticLoss(hessian, np.sqrt(n_samples) * orthonormal @ square_root(diffusion).T)


def diffusion_matrix(loss: QuadraticLoss) -> Floats:
    """Covariance of the per-sample gradients, the same at every x.

    ``D = (1/N) sum_i g_i g_i'``; a batch of b has D/b with replacement, ``D/b (N-b)/(N-1)`` without

    Returns
    -------
    (mode, mode)
        Squared loss per squared unit of weight (arXiv:1710.11029).

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> simulate.diffusion_matrix(loss).shape
    (2, 2)
    """
    gradients = loss.gradients_at_minimum
    covariance: Floats = gradients.T @ gradients / loss.n_samples
    return covariance


def expect_symmetric(name: str, matrix: Floats) -> None:
    """Refuse what is not a finite symmetric matrix."""
    shape = np.shape(matrix)
    square = len(shape) == 2 and shape[0] == shape[1] >= 1 and np.isfinite(matrix).all()
    expect(bool(square), name, f"array of shape {shape}", "a square matrix of finite numbers")
    difference = np.abs(matrix - matrix.T).max()
    expect(
        bool(difference <= _ROUNDING * np.abs(matrix).max()),
        name,
        f"matrix that differs from its transpose by {difference:.3g}",
        "a symmetric matrix",
    )
