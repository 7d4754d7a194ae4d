"""The steady state of stochastic gradient descent on a quadratic loss, in closed form.

Exact in discrete time. Position and velocity follow one linear map, ``s <- M s + G n`` with
``s = (x, v)`` and n the batch's gradient noise, of covariance D/b with replacement:
``M = [[1 - eta a H, -eta c 1], [H, mu 1]]``, ``G = [-eta a 1; 1]``, where ``a = 1``, ``c = mu`` for
heavy-ball momentum and ``a = 1 + mu``, ``c = mu^2`` for Nesterov's.

Matrices are (mode, mode), in the loss's own coordinates: ``V' S V`` with V the `orthonormal_map` of
a simulation's seed has them in its weights. Without replacement everything holds at the ends of
epochs, the only checkpoints that form a Markov chain.
"""

from typing import Final

import numpy as np
from scipy.linalg import solve_discrete_lyapunov

from trajscope.kernels.gram import Floats
from trajscope.optimizer import Optimizer
from trajscope.simulate.embedding import expect
from trajscope.simulate.quadratic import QuadraticLoss, diffusion_matrix

_STABLE: Final = 1 - 1e-9
"""Largest eigenvalue of an update that forgets its start; flat directions have 1, to rounding."""


def stationary_covariance(loss: QuadraticLoss, optimizer: Optimizer) -> Floats:
    """Covariance S of the positions in the steady state.

    ``S2 = M S2 M' + G (D/b) G'``, S its (x, x) block

    Without momentum ``S = (1 - eta H) S (1 - eta H)' + eta^2 D/b``; in eigenvectors of H
    ``S_ij (h_i + h_j - eta h_i h_j) = eta D_ij / b``. One mode with heavy-ball momentum:
    ``eta D (1 + mu) / (b h (1 - mu) (2 (1 + mu) - eta h))`` (Liu, Ziyin & Ueda 2021,
    arXiv:2012.03636). Without replacement, over the n = N/b batches of an epoch and with
    ``C = (D/b) (N-b)/(N-1)``: ``S2 = M^n S2 M'^n + W``, ``W = [n sum_i M^i G C G' M'^i - (sum_i M^i
    G) C (sum_i M^i G)'] / (n-1)``, i = 0..n-1, since the noise of an epoch adds up to 0.

    Returns
    -------
    (mode, mode)
        Squared units of weight.

    Raises
    ------
    OptionError
        There is no steady state, or the batches do not divide the samples.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> plain = simulate.Optimizer(learning_rate=1.0, batch_size=16)
    >>> simulate.stationary_covariance(loss, plain).shape
    (2, 2)
    """
    return state_covariance(loss, optimizer)[: loss.n_modes, : loss.n_modes]


def lagged_covariance(loss: QuadraticLoss, optimizer: Optimizer, lag: int) -> Floats:
    """Covariance of the positions with those `lag` updates before, in the steady state.

    ``C_m = E x[t+m] x[t]' = (M^m S2)_xx``

    So ``E|x[t+m] - x[t]|^2 = 2 tr(S - C_m)``. With heavy-ball momentum, with replacement and m = 1,
    ``sym(S - C_1) = eta/(1 + mu) sym(H S)``, ``antisym(C_1) = -eta/(1 - mu) antisym(H S)``.

    Returns
    -------
    (mode, mode)
        Squared units of weight; row at t + lag, column at t.

    Raises
    ------
    OptionError
        A negative lag, or one that is not a whole number of epochs where epochs are shuffled; no
        steady state.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> plain = simulate.Optimizer(learning_rate=1.0, batch_size=16)
    >>> simulate.lagged_covariance(loss, plain, 3).shape
    (2, 2)
    """
    expect(lag >= 0, "lag", lag, "a number of updates of at least 0")
    epoch = optimizer.batches_per_epoch(loss.n_samples)
    expect(lag % epoch == 0, "lag", lag, f"without replacement, a multiple of {epoch} updates")
    covariance = state_covariance(loss, optimizer)
    carried = np.linalg.matrix_power(_update(loss, optimizer), lag) @ covariance
    return carried[: loss.n_modes, : loss.n_modes]


def signed_area_rates(loss: QuadraticLoss, optimizer: Optimizer, lag: int = 1) -> Floats:
    """Twice the area swept in every plane of two modes from a checkpoint to the next.

    ``A_ij = E[x_i[t] x_j[t+m] - x_j[t] x_i[t+m]] = (C_m' - C_m)_ij``

    Antisymmetric; positive where the motion turns from mode i to mode j. Zero for all i, j if and
    only if the steady state, seen at this lag, is reversible: without momentum, when H and D
    commute.

    Returns
    -------
    (mode, mode)
        Squared units of weight per `lag` updates.

    Raises
    ------
    OptionError
        As `lagged_covariance`.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> plain = simulate.Optimizer(learning_rate=1.0, batch_size=16)
    >>> bool(np.allclose(simulate.signed_area_rates(loss, plain), 0, atol=1e-9))
    True
    """
    covariance = lagged_covariance(loss, optimizer, lag)
    return covariance.T - covariance


def inverse_temperature(loss: QuadraticLoss, optimizer: Optimizer) -> float:
    """Beta, that divides the entropy in the free energy that descent minimises.

    ``1/beta = eta / (2 b (1 - mu))``, times ``(N - b) / (N - 1)`` without replacement

    Exact as a definition; as a theory of the steady state it is the limit of small eta h (and with
    shuffled epochs, of eta h N/b large: flat directions are colder) (arXiv:1710.11029,
    where ``1 - b/N`` stands for the last factor).

    Returns
    -------
    float
        One over the unit of loss, for D in squared gradients.

    Raises
    ------
    OptionError
        The batch is the whole set without replacement: there is no noise.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> plain = simulate.Optimizer(learning_rate=1.0, batch_size=16)
    >>> simulate.inverse_temperature(loss, plain) > 0
    True
    """
    share = _noise_share(loss, optimizer)
    expect(
        share > 0,
        "batch_size",
        optimizer.b,
        f"without replacement, below the {loss.n_samples} samples (else there is no noise)",
    )
    effective = optimizer.undampened().eta / (1 - optimizer.mu)
    return 2 * optimizer.b / (effective * share)


def circulation_matrix(loss: QuadraticLoss, optimizer: Optimizer) -> Floats:
    """The antisymmetric Q of ``H = (D_eff + Q) U``: what turns about the minimum.

    ``Q = beta antisym(H S)`` with ``U = S^-1 / beta``, ``D_eff = beta sym(H S)``

    Likeliest paths follow ``dx/dt = -Q U x``. Without momentum, with replacement: ``D_eff = D +
    (eta/2) H U^-1 H``, and in eigenvectors of H ``Q_ij = D_ij (h_i - h_j) / (h_i + h_j - eta h_i
    h_j)``: zero if and only if H and D commute (arXiv:1710.11029; Kwon, Ao & Thouless 2005,
    arXiv:cond-mat/0506280).

    Returns
    -------
    (mode, mode)
        Squared loss per squared unit of weight, like D.

    Raises
    ------
    OptionError
        There is no steady state, or no noise.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> loss = simulate.quadratic_loss(
    ...     np.diag([0.1, 0.2]), np.eye(2), n_samples=64, seed=1)
    >>> plain = simulate.Optimizer(learning_rate=1.0, batch_size=16)
    >>> bool(np.allclose(simulate.circulation_matrix(loss, plain), 0, atol=1e-9))
    True
    """
    product = loss.hessian @ stationary_covariance(loss, optimizer)
    rates: Floats = inverse_temperature(loss, optimizer) * (product - product.T) / 2
    return rates


def state_covariance(loss: QuadraticLoss, optimizer: Optimizer) -> Floats:
    """S2, the stationary covariance of positions and velocities (without dampening) together.

    Returns
    -------
    (position and velocity of every mode, the same)

    Raises
    ------
    OptionError
        There is no steady state.
    """
    update = _update(loss, optimizer)
    largest = float(np.abs(np.linalg.eigvals(update)).max())
    expect(
        largest < _STABLE,
        "learning_rate",
        f"{optimizer.eta}, under which an update multiplies a mode by {largest:.9g}",
        "a factor below 1 (lower the rate, or use a positive definite Hessian)",
    )
    epoch = optimizer.batches_per_epoch(loss.n_samples)
    covariance = solve_discrete_lyapunov(
        np.linalg.matrix_power(update, epoch), _epoch_noise(loss, optimizer, epoch)
    )
    symmetric: Floats = (covariance + covariance.T) / 2
    return symmetric


def _epoch_noise(loss: QuadraticLoss, optimizer: Optimizer, epoch: int) -> Floats:
    """What the noise of `epoch` updates adds to S2; those of a shuffled epoch add up to 0."""
    share = _noise_share(loss, optimizer)
    noise = diffusion_matrix(loss) * (share / optimizer.b)
    update = _update(loss, optimizer)
    carried = _noise_gain(loss, optimizer)
    summed = np.zeros_like(carried)
    covariance = np.zeros_like(update)
    for _ in range(epoch):
        covariance += carried @ noise @ carried.T
        summed += carried
        carried = update @ carried
    if not optimizer.is_shuffled or epoch == 1:
        return covariance
    return (epoch * covariance - summed @ noise @ summed.T) / (epoch - 1)


def _update(loss: QuadraticLoss, optimizer: Optimizer) -> Floats:
    """M."""
    ahead, carried = optimizer.weights
    eta, one = optimizer.undampened().eta, np.eye(loss.n_modes)
    return np.block(
        [
            [one - eta * ahead * loss.hessian, -eta * carried * one],
            [loss.hessian, optimizer.mu * one],
        ]
    )


def _noise_gain(loss: QuadraticLoss, optimizer: Optimizer) -> Floats:
    """G."""
    one = np.eye(loss.n_modes)
    return np.vstack([-optimizer.undampened().eta * optimizer.weights[0] * one, one])


def _noise_share(loss: QuadraticLoss, optimizer: Optimizer) -> float:
    """Covariance of a batch's gradient in units of D/b."""
    n_samples, batch = loss.n_samples, optimizer.b
    if not optimizer.is_shuffled:
        return 1.0
    return (n_samples - batch) / (n_samples - 1) if n_samples > 1 else 0.0
