"""The stationary law that linear theory predicts, in eigenvectors of the Hessian."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.optimizer import Optimizer

_STABLE = 1 - 1e-12


@dataclass(frozen=True)
class Law:
    """A stationary Gaussian process, seen at checkpoints: a position and a velocity a direction.

    Attributes
    ----------
    carried : (direction, 2, 2)
        What a state becomes from one checkpoint to the next, without noise.
    state : (direction, direction, 2, 2)
        Stationary covariance of the states.
    """

    carried: Floats
    state: Floats

    @property
    def covariance(self) -> Floats:
        """S, the covariance of the positions, as (direction, direction)."""
        positions: Floats = self.state[:, :, 0, 0]
        return positions

    @property
    def lagged(self) -> Floats:
        """``C = E x[t+1] x[t]'`` from a checkpoint to the next, as (direction, direction)."""
        found: Floats = np.einsum("ip,ijp->ij", self.carried[:, 0], self.state[:, :, :, 0])
        return found

    @property
    def correlation_times(self) -> Floats:
        """``-1 / log |largest eigenvalue|`` of every direction, in checkpoints."""
        sizes = np.abs(np.linalg.eigvals(self.carried)).max(axis=1)
        times: Floats = -1 / np.log(np.clip(sizes, 1e-300, _STABLE))
        return times

    def without_correlations(self) -> "Law":
        """The same with independent directions: no current flows."""
        alone = np.eye(len(self.state), dtype=bool)[:, :, None, None]
        return Law(self.carried, np.where(alone, self.state, 0.0))

    def of(self, chosen: NDArray[np.intp]) -> "Law":
        """Of some directions, by their positions."""
        return Law(self.carried[chosen], self.state[np.ix_(chosen, chosen)])

    def paths(self, n_runs: int, n_steps: int, rng: np.random.Generator) -> Floats:
        """Independent runs in the steady state, as (run, step, direction)."""
        k = len(self.state)
        width = 2 if self.has_memory else 1
        state = self.state[:, :, :width, :width]
        carried = self.carried[:, :width, :width]
        kept = np.einsum("ipq,ijqr,jsr->ijps", carried, state, carried)
        start, added = (_root(_flat(each)) for each in (state, state - kept))
        paths = np.empty((n_steps, n_runs, k))
        now = (rng.standard_normal((n_runs, width * k)) @ start.T).reshape(n_runs, k, width)
        for step in range(n_steps):
            paths[step] = now[:, :, 0]
            noise = rng.standard_normal((n_runs, width * k)) @ added.T
            moved = sum(carried[:, :, p] * now[:, :, p, None] for p in range(width))
            now = moved + noise.reshape(n_runs, k, width)
        return paths.transpose(1, 0, 2)

    @property
    def has_memory(self) -> bool:
        """Whether the velocity matters for where positions go."""
        return bool(np.any(self.carried[:, 0, 1] != 0))


@dataclass(frozen=True)
class Response:
    """What noise becomes in the steady state: a law for every D.

    Attributes
    ----------
    carried : (direction, 2, 2)
        As in `Law`.
    gain : (direction, direction, 2, 2)
        Stationary covariance of the states for ``D_ij = 1``.
    """

    carried: Floats
    gain: Floats

    def law(self, diffusion: Floats) -> Law:
        """The law for D, (direction, direction): in eigenvectors of H every D_ij acts alone."""
        return Law(self.carried, self.gain * diffusion[:, :, None, None])


def response(
    curvatures: Floats, optimizer: Optimizer, *, updates: int, n_samples: int | None = None
) -> Response:
    """How noise spreads along eigenvectors of the Hessian, seen every `updates` updates.

    ``s <- M_i s + G n`` for ``s = (x_i, v_i)``, ``M_i = [[1 - eta a h_i, -eta c], [h_i, mu]]``,
    ``G = [-eta a; 1]``, n of covariance ``D/b``; ``a = 1``, ``c = mu`` for heavy-ball momentum,
    ``a = 1 + mu``, ``c = mu^2`` for Nesterov's. ``S_ij = M_i S_ij M_j' + G (D_ij / b) G'``. Without
    momentum ``S_ij (h_i + h_j - eta h_i h_j) = eta D_ij / b`` (exact in discrete time).

    Where epochs are shuffled the checkpoints are ends of epochs of ``n = N/b`` updates:
    ``S_ij = M_i^n S_ij M_j'^n + D_ij (N-b)/((N-1) b) [n sum_s M_i^s G G' M_j'^s - (sum_s M_i^s G)
    (sum_s M_j^s G)'] / (n-1)``, for noise that does not depend on x: a lower bound
    (arXiv:2306.05300 has the flat limit).

    Parameters
    ----------
    curvatures : (direction,)
        h_i, loss per squared unit of weight, every one stable (`is_stable`).
    updates :
        m, from a checkpoint to the next; a multiple of n where epochs are shuffled.
    n_samples :
        N, needed where epochs are shuffled.
    """
    once = _update(curvatures, optimizer)
    gain = _noise_gain(optimizer)
    epoch = optimizer.batches_per_epoch(n_samples or 0) if optimizer.is_shuffled else 1
    added = _added(once, gain, epoch) / optimizer.b
    if optimizer.is_shuffled and n_samples is not None:
        added = added * ((n_samples - optimizer.b) / max(n_samples - 1, 1))
    over_epoch = np.linalg.matrix_power(once, epoch)
    return Response(np.linalg.matrix_power(once, updates), _stationary(over_epoch, added))


def is_stable(curvatures: Floats, optimizer: Optimizer) -> NDArray[np.bool_]:
    """Whether the directions have a steady state, as (direction,) booleans."""
    sizes = np.abs(np.linalg.eigvals(_update(curvatures, optimizer))).max(axis=1)
    stable: NDArray[np.bool_] = (sizes < _STABLE) & (curvatures > 0)
    return stable


def stability_limit(optimizer: Optimizer) -> float:
    """Largest ``eta h`` with a steady state: 2(1 + mu), with Nesterov (2 + 2 mu) / (1 + 2 mu)."""
    mu = optimizer.mu
    return (2 + 2 * mu) / (1 + 2 * mu) if optimizer.nesterov else 2 * (1 + mu)


def _update(curvatures: Floats, optimizer: Optimizer) -> Floats:
    """M_i, as (direction, 2, 2)."""
    ahead, velocity = optimizer.weights
    h = np.asarray(curvatures, np.float64)
    update = np.empty((len(h), 2, 2))
    update[:, 0, 0] = 1 - optimizer.eta * ahead * h
    update[:, 0, 1] = -optimizer.eta * velocity
    update[:, 1, 0] = h
    update[:, 1, 1] = optimizer.mu
    return update


def _noise_gain(optimizer: Optimizer) -> Floats:
    """G, as (2,)."""
    return np.array([-optimizer.eta * optimizer.weights[0], 1.0])


def _added(once: Floats, gain: Floats, epoch: int) -> Floats:
    """What the noise of an epoch adds to the states' covariance, for ``D_ij / b = 1``."""
    k = len(once)
    entered = np.broadcast_to(gain, (k, 2)).copy()
    summed, squares = np.zeros((k, 2)), np.zeros((k, k, 2, 2))
    for _ in range(epoch):
        squares += np.einsum("ip,jq->ijpq", entered, entered)
        summed += entered
        entered = np.einsum("ipq,iq->ip", once, entered)
    if epoch == 1:
        return squares
    together: Floats = np.einsum("ip,jq->ijpq", summed, summed)
    return (epoch * squares - together) / (epoch - 1)


def _stationary(carried: Floats, added: Floats) -> Floats:
    """The solution of ``X_ij = A_i X_ij A_j' + W_ij`` for every pair, as (i, j, 2, 2)."""
    k = len(carried)
    products = np.einsum("ipr,jqs->ijpqrs", carried, carried).reshape(k, k, 4, 4)
    solved = np.linalg.solve(np.eye(4) - products, added.reshape(k, k, 4, 1))
    found: Floats = solved.reshape(k, k, 2, 2)
    return found


def _flat(state: Floats) -> Floats:
    """(i, j, p, q) as the matrix of states (i, p) and (j, q)."""
    k, _, width, _ = state.shape
    return state.transpose(0, 2, 1, 3).reshape(k * width, k * width)


def _root(covariance: Floats) -> Floats:
    """A matrix R with ``R R' = covariance``, of which negative eigenvalues are rounding."""
    values, vectors = np.linalg.eigh((covariance + covariance.T) / 2)
    root: Floats = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
