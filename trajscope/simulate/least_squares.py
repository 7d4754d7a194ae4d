"""Least squares: a loss whose gradient noise depends on the weights, with its stationary law."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP
from trajscope.simulate.descent import descended, sampled_batches
from trajscope.simulate.embedding import (
    SAMPLES,
    as_trajectory,
    expect,
    expect_steps,
    random_stream,
    square_root,
)
from trajscope.simulate.quadratic import QuadraticLoss, quadratic_loss
from trajscope.simulate.steady_state import state_covariance

_ROUNDS: Final = 1000
_CONVERGED: Final = 1e-12
_LARGEST: Final = 1e6
"""Times the noise at the minimum: it grows without end."""
_LOWER: Final = "a lower one, at which the noise is forgotten faster than it grows,"


@dataclass(frozen=True, eq=False)
class LeastSquares:
    """The mean over N samples of ``f_i(x) = (a_i' x - e_i)^2 / 2``, its minimum at x = 0.

    Sample i has gradient ``a_i (a_i' x - e_i)``: the noise grows with the distance from the
    minimum, as that of a network does.

    Attributes
    ----------
    inputs : (sample, mode)
        a_i.
    residuals : (sample,)
        e_i, orthogonal to every column of the inputs.

    Raises
    ------
    OptionError
        The shapes do not fit, or the minimum is not at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> inputs = np.array([[1.0], [-1.0], [0.0]])
    >>> loss = simulate.LeastSquares(inputs, np.array([1.0, 1.0, 2.0]))
    >>> loss.hessian.round(3)
    array([[0.667]])
    """

    inputs: Floats
    residuals: Floats

    def __post_init__(self) -> None:
        shape = np.shape(self.inputs)
        fits = len(shape) == 2 and shape[0] > shape[1] >= 1
        expect(fits, "inputs", f"array of shape {shape}", "more samples than modes")
        expect(
            np.shape(self.residuals) == shape[:1], "residuals",
            f"array of shape {np.shape(self.residuals)}", f"one for each of {shape[0]} samples",
        )  # fmt: skip
        pull = np.abs(self.inputs.T @ self.residuals).max()
        size = np.linalg.norm(self.inputs) * np.linalg.norm(self.residuals)
        expect(bool(pull <= 1e-9 * size), "residuals", "array that the inputs explain in part",
               "residuals of the best fit, orthogonal to all inputs")  # fmt: skip

    @property
    def n_samples(self) -> int:
        """N."""
        return len(self.inputs)

    @property
    def hessian(self) -> Floats:
        """``H = (1/N) sum_i a_i a_i'``, (mode, mode)."""
        found: Floats = self.inputs.T @ self.inputs / self.n_samples
        return found

    def noise_at_minimum(self) -> QuadraticLoss:
        """The loss of the same Hessian whose noise is that of the minimum everywhere."""
        return QuadraticLoss(self.hessian, -self.inputs * self.residuals[:, np.newaxis])

    def diffusion(self, covariance: Floats) -> Floats:
        """D, averaged over positions of this covariance about the minimum.

        ``D = (1/N) sum_i a_i a_i' (e_i^2 + a_i' S a_i) - H S H``
        """
        a = self.inputs
        sizes = self.residuals**2 + np.einsum("ni,ij,nj->n", a, covariance, a)
        second: Floats = (a * sizes[:, np.newaxis]).T @ a / self.n_samples
        return second - self.hessian @ covariance @ self.hessian


def least_squares(
    curvatures: Floats, *, n_samples: int, noise: float = 1.0, seed: int
) -> LeastSquares:
    """Random least squares with exactly these eigenvalues of the Hessian, along the modes.

    Inputs are normal, then made orthogonal; residuals normal of standard deviation `noise`, but
    for what the inputs explain.

    Parameters
    ----------
    curvatures : (mode,)
        Positive.
    n_samples :
        N, more than the modes.

    Examples
    --------
    >>> from trajscope import simulate
    >>> loss = simulate.least_squares([1.0, 0.1], n_samples=100, seed=0)
    >>> abs(loss.hessian.round(6))
    array([[1. , 0. ],
           [0. , 0.1]])
    """
    h = np.asarray(curvatures, np.float64)
    expect(bool((h > 0).all() and h.ndim == 1), "curvatures", curvatures, "positive numbers")
    expect(n_samples > len(h), "n_samples", n_samples, f"more samples than the {len(h)} modes")
    rng = random_stream(seed, SAMPLES)
    orthonormal, _ = np.linalg.qr(rng.standard_normal((n_samples, len(h))))
    errors = noise * rng.standard_normal(n_samples)
    errors -= orthonormal @ (orthonormal.T @ errors)
    return LeastSquares(np.sqrt(n_samples * h) * orthonormal, errors)


def least_squares_covariance(loss: LeastSquares, optimizer: Optimizer) -> Floats:
    """S2, stationary covariance of positions and velocities, with the noise that depends on x.

    ``S2 = M S2 M' + G (D(S) / b) G'`` with `LeastSquares.diffusion`: linear in S, solved by
    repetition. Exact with replacement, with any momentum. With shuffled epochs a lower bound, at
    their ends: it leaves out how batches of an epoch depend on each other through x, which in flat
    directions is most of what does not cancel.

    Returns
    -------
    (position and velocity of every mode, the same)

    Raises
    ------
    OptionError
        There is no steady state: the noise grows faster than it is forgotten.

    Examples
    --------
    >>> from trajscope import simulate
    >>> loss = simulate.least_squares([1.0, 0.1], n_samples=100, seed=0)
    >>> plain = simulate.Optimizer(learning_rate=0.1, batch_size=10)
    >>> simulate.least_squares_covariance(loss, plain).shape
    (4, 4)
    """
    k = len(loss.hessian)
    found = np.zeros((2 * k, 2 * k))
    start = float(np.abs(loss.diffusion(found[:k, :k])).max())
    for _ in range(_ROUNDS):
        diffusion = loss.diffusion(found[:k, :k])
        size = float(np.abs(diffusion).max())
        expect(size < _LARGEST * start, "learning_rate", optimizer.eta, _LOWER)
        constant = quadratic_loss(
            loss.hessian, (diffusion + diffusion.T) / 2, n_samples=loss.n_samples, seed=0
        )
        before, found = found, state_covariance(constant, optimizer)
        if float(np.abs(found - before).max()) <= _CONVERGED * float(np.abs(found).max()):
            return found
    expect(False, "learning_rate", optimizer.eta, _LOWER)
    return found


def descent_on_least_squares(
    n_steps: int,
    n_weights: int | None = None,
    *,
    loss: LeastSquares,
    optimizer: Optimizer,
    seed: int,
    updates_per_checkpoint: int = 1,
) -> xr.DataArray:
    """Checkpoints of stochastic gradient descent on least squares, begun in the steady state.

    Updates as in `stochastic_gradient_descent`; the covariance of positions is the upper left block
    of `least_squares_covariance`.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        As `least_squares_covariance`, or batches that do not divide the samples of an epoch.

    Examples
    --------
    >>> from trajscope import simulate
    >>> loss = simulate.least_squares([1.0, 0.1], n_samples=100, seed=0)
    >>> plain = simulate.Optimizer(learning_rate=0.1, batch_size=10)
    >>> simulate.descent_on_least_squares(50, loss=loss, optimizer=plain, seed=1).shape
    (50, 2)
    """
    expect_steps(n_steps)
    k = len(loss.hessian)
    rng = random_stream(seed)
    root = square_root(least_squares_covariance(loss, optimizer))
    position, velocity = np.split(root @ rng.standard_normal(2 * k), 2)
    n_updates = (n_steps - 1) * updates_per_checkpoint
    batches = sampled_batches(loss.n_samples, optimizer, n_updates, rng)

    def gradient(position: Floats, rows: NDArray[np.int64]) -> Floats:
        inputs = loss.inputs[rows]
        found: Floats = inputs.T @ (inputs @ position - loss.residuals[rows]) / len(rows)
        return found

    rates = np.full(n_updates + 1, optimizer.undampened().eta)
    state = (position, velocity)
    modes = descended(gradient, batches, state, optimizer, rates, updates_per_checkpoint)
    trajectory = as_trajectory(modes, n_weights, seed)
    return trajectory.assign_coords({STEP: updates_per_checkpoint * np.arange(n_steps)})
