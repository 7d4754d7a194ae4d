"""Stochastic gradient descent itself, where everything about it is known."""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.optimizer import Optimizer
from trajscope.schema import STEP
from trajscope.simulate.courses import LEARNING_RATE, Course, scales
from trajscope.simulate.embedding import (
    as_trajectory,
    expect,
    expect_steps,
    random_stream,
    square_root,
)
from trajscope.simulate.quadratic import QuadraticLoss
from trajscope.simulate.steady_state import state_covariance

Batch = TypeVar("Batch")


def stochastic_gradient_descent(  # noqa: PLR0913 - a problem, an optimizer, and what is logged
    n_steps: int,
    n_weights: int | None = None,
    *,
    loss: QuadraticLoss,
    optimizer: Optimizer,
    seed: int,
    updates_per_checkpoint: int = 1,
    start: Sequence[float] | None = None,
    schedule: Course | None = None,
) -> xr.DataArray:
    """Checkpoints of stochastic gradient descent on a quadratic loss.

    ``g = H x + mean of g_i over the batch``; ``v <- mu v + g``; ``x <- x - eta v``, or with
    Nesterov ``x <- x - eta (g + mu v)``

    Its covariances, signed areas and circulation are those of `stationary_covariance`,
    `lagged_covariance`, `signed_area_rates` and `circulation_matrix`, with ``lag =
    updates_per_checkpoint``; without replacement at the ends of epochs. With heavy-ball momentum a
    mode of curvature h rings when ``eta h > (1 - sqrt(mu))^2``: its position is an AR(2) process,
    multiplied by ``sqrt(mu) e^{+-i w}`` per update, ``cos w = (1 + mu - eta h) / (2 sqrt(mu))``. On
    a flat loss (H = 0) it walks freely with replacement, ``E|x_m - x_0|^2 = eta^2 tr(D)/b
    sum_{j=1..m} ((1 - mu^j) / (1 - mu))^2``; without, and with mu = 0, it is back where it was
    after every epoch.

    Within an epoch without replacement the batches cancel little by little. j of its n = N/b
    updates after its start at x, without momentum, a mode of curvature h has mean ``a^j x``,
    ``a = 1 - eta h``, and variance ``eta^2 C (n sum_i a^2i - (sum_i a^i)^2) / (n - 1)``,
    ``i = 0..j-1``, ``C = (D/b) (N-b)/(N-1)``: on a flat loss ``eta^2 C j (n - j) / (n - 1)``.

    With a `schedule` s, without momentum and with replacement, a mode of curvature h has mean
    ``x_0 prod_t (1 - eta s_t h)`` and variance ``V' = (1 - eta s_t h)^2 V + eta^2 s_t^2 D/b``.

    Parameters
    ----------
    loss, optimizer :
        As `quadratic_loss` makes it, and the settings of `Optimizer`.
    updates_per_checkpoint :
        m; the coordinate ``step`` counts updates, 0, m, 2m, ...
    start :
        Position at step 0 of every mode, at rest. By default position and velocity are drawn with
        the covariance of the steady state, so every checkpoint (at an epoch's end) has it (without
        a schedule).
    schedule :
        The course of s, by which the learning rate of every update is multiplied: `cosine()`,
        `stepped({0.5: 0.1})`, or one number for each update and one for the end of the last.

    Returns
    -------
    (step, weight)
        In the units of the loss's x. With a schedule it has the coordinate ``learning_rate`` along
        steps: ``eta s`` of the update that starts there. ``drop_vars`` makes it unknown.

    Raises
    ------
    OptionError
        No steady state to start from, a start of the wrong length, batches that do not divide the
        samples, a schedule that does not fit, or a run that diverges.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> plain = simulate.Optimizer(learning_rate=1.0, batch_size=16)
    >>> simulate.stochastic_gradient_descent(
    ...     100, loss=loss, optimizer=plain, seed=1).shape
    (100, 2)
    """
    expect_steps(n_steps)
    expect(
        updates_per_checkpoint >= 1,
        "updates_per_checkpoint",
        updates_per_checkpoint,
        "at least 1 update",
    )
    rng = random_stream(seed)
    state = _start(loss, optimizer, start, rng)
    n_updates = (n_steps - 1) * updates_per_checkpoint
    rates = optimizer.undampened().eta * scales(
        "schedule", 1.0 if schedule is None else schedule, n_updates + 1
    )
    batches = sampled_batches(loss.n_samples, optimizer, n_updates, rng)
    by_checkpoint = batches.reshape(n_steps - 1, updates_per_checkpoint, -1)
    noises = (
        noise for drawn in by_checkpoint for noise in loss.gradients_at_minimum[drawn].mean(axis=1)
    )

    def gradient(position: Floats, noise: Floats) -> Floats:
        found: Floats = loss.hessian @ position + noise
        return found

    with np.errstate(over="ignore", invalid="ignore"):
        modes = descended(gradient, noises, state, optimizer, rates, updates_per_checkpoint)
    expect(
        bool(np.isfinite(modes).all()),
        "learning_rate",
        optimizer.eta,
        "a lower one, at which the run does not diverge,",
    )
    trajectory = as_trajectory(modes, n_weights, seed)
    trajectory = trajectory.assign_coords({STEP: updates_per_checkpoint * np.arange(n_steps)})
    if schedule is None:
        return trajectory
    return trajectory.assign_coords({LEARNING_RATE: (STEP, rates[::updates_per_checkpoint])})


def descended(
    gradient: Callable[[Floats, Batch], Floats],
    batches: Iterable[Batch],
    state: tuple[Floats, Floats],
    optimizer: Optimizer,
    rates: Floats,
    every: int,
) -> Floats:
    """Positions before the first update and after every so many, (step, mode).

    Parameters
    ----------
    gradient :
        At a position, of a batch.
    state :
        Position and velocity to begin with.
    rates : (update,)
        Learning rates, without dampening; one more than there are updates.
    """
    (position, velocity), mu = state, optimizer.mu
    positions = np.empty((1 + (len(rates) - 1) // every, len(position)))
    positions[0] = position
    for update, batch in enumerate(batches, start=1):
        slope = gradient(position, batch)
        velocity = mu * velocity + slope
        direction = slope + mu * velocity if optimizer.nesterov else velocity
        position = position - rates[update - 1] * direction
        if update % every == 0:
            positions[update // every] = position
    return positions


def sampled_batches(
    n_samples: int, optimizer: Optimizer, n_updates: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Indices of the samples of every update, as (update, sample)."""
    size = optimizer.b
    if not optimizer.is_shuffled:
        return rng.integers(n_samples, size=(n_updates, size))
    n_epochs = -(-n_updates // optimizer.batches_per_epoch(n_samples))
    ordered = np.tile(np.arange(n_samples), (n_epochs, 1))
    return rng.permuted(ordered, axis=1).reshape(-1, size)[:n_updates]


def _start(
    loss: QuadraticLoss,
    optimizer: Optimizer,
    start: Sequence[float] | None,
    rng: np.random.Generator,
) -> tuple[Floats, Floats]:
    """Position and velocity at step 0, each as (mode,)."""
    if start is None:
        root = square_root(state_covariance(loss, optimizer))
        state = root @ rng.standard_normal(2 * loss.n_modes)
        return state[: loss.n_modes], state[loss.n_modes :]
    position = np.asarray(start, np.float64)
    fits = position.shape == (loss.n_modes,) and np.isfinite(position).all()
    expect(bool(fits), "start", start, f"a finite number for each of {loss.n_modes} modes")
    return position, np.zeros(loss.n_modes)
