"""From the modes of a process to a trajectory through weight space."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from trajscope.errors import OptionError, printable
from trajscope.kernels.gram import Floats
from trajscope.schema import STEP, WEIGHT

_NOISE, _MAP, SAMPLES = 0, 1, 2
"""Random streams of a seed: map, samples and noise stay independent under the same one."""


def orthonormal_map(n_modes: int, n_weights: int, *, seed: int) -> Floats:
    """The map V that turns modes into weights: ``x = modes V``, ``V V' = 1``.

    Uniform (Haar) over all such maps: the Q of a Gaussian matrix, signs fixed by the diagonal of R
    (Mezzadri 2007, arXiv:math-ph/0609050). Every process of `trajscope.simulate` uses the map of
    its own seed, so a covariance S of modes is ``V' S V`` in weights.

    Returns
    -------
    (mode, weight)
        Orthonormal rows.

    Raises
    ------
    OptionError
        Fewer weights than modes, or a negative seed.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> basis = simulate.orthonormal_map(3, 50, seed=1)
    >>> bool(np.allclose(basis @ basis.T, np.eye(3)) or np.allclose(basis.T @ basis, np.eye(3)))
    True
    """
    expect(
        n_weights >= n_modes, "n_weights", n_weights, f"at least one for each of {n_modes} modes"
    )
    gaussian = random_stream(seed, _MAP).standard_normal((n_weights, n_modes))
    orthonormal, triangular = np.linalg.qr(gaussian)
    rows: Floats = (orthonormal * np.sign(np.diagonal(triangular))).T
    return rows


def as_trajectory(modes: Floats, n_weights: int | None, seed: int) -> xr.DataArray:
    """The trajectory of (step, mode), in `n_weights` weights or unmixed where that is None."""
    if n_weights is not None:
        modes = modes @ orthonormal_map(modes.shape[1], n_weights, seed=seed)
    steps = np.arange(len(modes))
    return xr.DataArray(modes, dims=(STEP, WEIGHT), coords={STEP: steps}, name="weights")


def as_walk(increments: Floats, n_weights: int | None, seed: int) -> xr.DataArray:
    """The trajectory from the origin with these increments, (interval, mode)."""
    modes = np.zeros((len(increments) + 1, increments.shape[1]))
    np.cumsum(increments, axis=0, out=modes[1:])
    return as_trajectory(modes, n_weights, seed)


def random_stream(seed: int, key: int = _NOISE) -> np.random.Generator:
    """An independent generator for every seed and key."""
    expect(seed >= 0, "seed", seed, "a whole number of at least 0")
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(key,)))


def square_root(covariance: Floats) -> Floats:
    """A matrix R with ``R R' = covariance``, which may be singular."""
    eigenvalues, vectors = np.linalg.eigh(covariance)
    root: Floats = vectors * np.sqrt(np.maximum(eigenvalues, 0.0))
    return root


def expect_steps(n_steps: int) -> None:
    """Refuse a number of checkpoints that makes no trajectory."""
    expect(n_steps >= 2, "n_steps", n_steps, "at least 2 checkpoints")


def correlation_times(taus: Sequence[float]) -> Floats:
    """`taus` as an array; refused unless they are one or more positive numbers."""
    times = np.asarray(taus, np.float64)
    whole = times.ndim == 1 and times.size and np.all((times > 0) & np.isfinite(times))
    expect(bool(whole), "taus", taus, "a sequence of one or more positive numbers of steps")
    return times


def expect(holds: bool | np.bool, name: str, found: object, expected: str) -> None:
    """Refuse the argument `name` unless the claim about it holds."""
    if not holds:
        raise OptionError(f"{name}={printable(found)}: {expected} expected.")
