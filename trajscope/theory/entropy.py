"""Entropy production and rotation of a few directions, from the trajectory alone."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.kernels.vector_autoregression import VectorAutoregression, fitted
from trajscope.theory.law import Law
from trajscope.theory.potential import Estimate, p_value
from trajscope.theory.statistics import Moments, currents, joined, moments, not_normal

LEAST_MODULUS: Final = 0.1
"""Of what a mode keeps from a checkpoint to the next: below, the angle of the rest is noise."""
FEWEST_ROTATION: Final = 50.0
FEWEST_ENTROPY: Final = 100.0
"""Correlation times that a window needs: entropy production is positive by construction."""
DIRECTIONS: Final = 4
_DRAWS: Final = 200
_BANDS: Final = 8
_FEWEST_LINES: Final = 2
"""Frequencies of a band for each direction: from fewer a density matrix is singular."""
_MOST_BYTES: Final = 64 << 20
_NORMAL: Final = 1.959964


@dataclass(frozen=True)
class Entropy:
    """Of the process seen at checkpoints, along `chosen` directions.

    Attributes
    ----------
    time :
        Correlation time of the slowest mode, in checkpoints.
    least :
        Modulus of the fastest eigenvalue of the transition.
    p_reversible :
        Of a path without currents.
    precision, precision_low, precision_high : (direction,)
        Diagonal of S^-1, squared weights to the power -1, and its 95% interval.
    not_normal :
        How the path differs from a normal law, as `statistics.not_normal`.
    rotation : Estimate
        Largest angle of an eigenvalue of the transition, radians per checkpoint.
    production : Estimate or None
        ``[tr(Sr^-1 Sf) - 2k] / 2`` per checkpoint; `None` in too short a window.
    bound :
        What the uncertainty of the predicted current alone says it is at least.
    frequencies, by_frequency : (band,)
        In cycles per checkpoint; the part of the production in each band, from cross-spectra.
    """

    chosen: NDArray[np.intp]
    time: float
    least: float
    p_reversible: float
    precision: Floats
    precision_low: Floats
    precision_high: Floats
    not_normal: str
    rotation: Estimate
    production: Estimate | None
    bound: float
    frequencies: Floats
    by_frequency: Floats


def entropy(path: Floats, law: Law | None, rng: np.random.Generator) -> Entropy | None:
    """Both from a vector autoregression; intervals from simulated ones. `None` without a fit.

    The directions are those with the largest predicted currents, which the trajectory has no part
    in. Estimates are freed of their mean over simulated paths of the fitted law.

    Parameters
    ----------
    path : (step, direction)
    law :
        That is predicted; without it all directions are taken.
    """
    k = path.shape[1]
    chosen = np.arange(k) if law is None else turning_most(law, min(DIRECTIONS, k))
    own = path[:, chosen] - path[:, chosen].mean(axis=0)
    model = fitted(own)
    if model is None:
        return None
    drawn, bands, shapes = _refitted(model, len(own), rng)
    if len(drawn) < _DRAWS // 2:
        return None
    of_law = (float("nan"),) * 3 if law is None else _predicted(own, law.of(chosen))
    long_enough = len(own) >= FEWEST_ENTROPY * model.correlation_time
    added = bands.mean(axis=0) - spectral_production(model)
    by_frequency = production_by_frequency(own) - added
    return Entropy(
        chosen,
        model.correlation_time,
        float(np.abs(np.linalg.eigvals(model.transition)).min()),
        _p_reversible(own, model, rng),
        *_precision(model, drawn),
        not_normal(moments(own), shapes, int(np.diagonal(model.transition).argmax())),
        _freed(angle, model, drawn, of_law[0]),
        _freed(production_of, model, drawn, of_law[1]) if long_enough else None,
        of_law[2],
        (np.arange(_BANDS) + 0.5) / (2 * _BANDS),
        by_frequency if long_enough else np.full(_BANDS, np.nan),
    )


def _predicted(path: Floats, law: Law) -> tuple[float, float, float]:
    """Rotation and production of a law, and what the path's current says the latter is at least."""
    transition = law.lagged @ np.linalg.inv(law.covariance)
    turned = angle(VectorAutoregression(transition, np.eye(len(transition))))
    return turned, production(law.covariance, law.lagged), uncertainty_bound(path, law)


def turning_most(law: Law, count: int) -> NDArray[np.intp]:
    """The directions of the largest predicted currents, added one at a time."""
    k = len(law.covariance)
    planes = np.zeros((k, k))
    planes[np.triu_indices(k, 1)] = np.abs(currents(law.covariance, law.lagged))
    planes += planes.T
    chosen = [int(each) for each in np.unravel_index(planes.argmax(), planes.shape)]
    while len(chosen) < count:
        gained = planes[chosen].sum(axis=0)
        gained[chosen] = -1
        chosen.append(int(gained.argmax()))
    return np.sort(np.array(chosen[:count]))


def production(covariance: Floats, lagged: Floats) -> float:
    """``[tr(Sr^-1 Sf) - 2k] / 2`` of a step: divergence of the path from its reverse.

    Sf is the covariance of (x[t], x[t+1]), Sr that of (x[t+1], x[t]).
    """
    forward = np.block([[covariance, lagged.T], [lagged, covariance]])
    backward = np.block([[covariance, lagged], [lagged.T, covariance]])
    return float(np.trace(np.linalg.solve(backward, forward)) - len(forward)) / 2


def production_of(model: VectorAutoregression) -> float:
    """That of an autoregression."""
    return production(model.covariance, model.transition @ model.covariance)


def angle(model: VectorAutoregression) -> float:
    """Largest angle of an eigenvalue, radians per checkpoint."""
    return float(np.abs(np.angle(np.linalg.eigvals(model.transition))).max())


def spectral_production(model: VectorAutoregression) -> Floats:
    """Its entropy production in bands of frequency, which add up to all of it, (band,).

    ``(1/4 pi) int [tr(conj(f)^-1 f) - k] dw`` over frequencies of both signs, f the spectral
    density matrix; of a normal process (the divergence rate of a path from its reverse).
    """
    n = 64
    centres = (np.arange(_BANDS * n) + 0.5) * np.pi / (_BANDS * n)
    k, one = len(model.noise), np.eye(len(model.noise))
    values = []
    for frequency in centres:
        transfer = np.linalg.inv(one - model.transition * np.exp(-1j * frequency))
        density = transfer @ model.noise @ transfer.conj().T
        values.append(np.trace(np.linalg.solve(density.conj(), density)).real - k)
    found: Floats = np.reshape(values, (_BANDS, n)).mean(axis=1) / (2 * _BANDS)
    return found


def production_by_frequency(path: Floats) -> Floats:
    """The same from averaged cross-periodograms, too large by what averaging few of them adds.

    Parameters
    ----------
    path : (step, direction)

    Returns
    -------
    (band,)
        NaN for a path too short for a spectral density matrix in every band.
    """
    n = len(path)
    if n < _FEWEST_LINES * path.shape[1] * 2 * _BANDS:
        return np.full(_BANDS, np.nan)
    transform = np.fft.rfft((path - path.mean(axis=0)) * np.hanning(n)[:, None], axis=0)[1:]
    values = []
    parts = max(min(len(transform) // (16 * path.shape[1] * _BANDS), 32), 1) * _BANDS
    for band in np.array_split(transform, parts):  # narrow: densities change within a band
        density = band.T @ band.conj() / len(band)
        values.append(np.trace(np.linalg.solve(density.conj(), density)).real - path.shape[1])
    found: Floats = np.reshape(values, (_BANDS, -1)).mean(axis=1) / (2 * _BANDS)
    return found


def uncertainty_bound(path: Floats, law: Law) -> float:
    """A lower bound of the entropy production per checkpoint: ``log(1 + 2 J^2 / V)``.

    J is the mean of the current ``sum_ij w_ij x_i[t] x_j[t+1]``, w the antisymmetric weights of
    the predicted currents, V its long-run variance from means over blocks: the thermodynamic
    uncertainty relation of discrete time (Proesmans & Van den Broeck 2017,
    doi:10.1209/0295-5075/119/20001). The sampling error of J is taken from its square.
    """
    scale = 1 / np.sqrt(np.diagonal(law.covariance))
    weights = (law.lagged.T - law.lagged) * np.outer(scale, scale)
    along = path * scale
    flow = ((along[:-1] @ weights) * along[1:]).sum(axis=1)
    n_blocks = int(np.clip(len(flow) // max(4 * law.correlation_times.max(), 1), 8, 64))
    size = len(flow) // n_blocks
    if size < 1:
        return 0.0
    means = flow[: n_blocks * size].reshape(n_blocks, size).mean(axis=1)
    variance = size * float(means.var(ddof=1))
    squared = max(float(flow.mean()) ** 2 - variance / len(flow), 0.0)
    return float(np.log1p(2 * squared / variance)) if variance > 0 else 0.0


def _freed(
    of: Callable[[VectorAutoregression], float],
    model: VectorAutoregression,
    drawn: list[VectorAutoregression],
    predicted: float,
) -> Estimate:
    values = np.array([of(each) for each in drawn])
    raw = float(of(model))
    value = raw - (float(values.mean()) - raw)
    sd = _NORMAL * float(values.std(ddof=1))
    low = max(value - sd, 0.0)
    return Estimate(max(value, 0.0), low, max(value + sd, 0.0), predicted)


def _precision(
    model: VectorAutoregression, drawn: list[VectorAutoregression]
) -> tuple[Floats, Floats, Floats]:
    """Diagonal of S^-1 freed of its bias, and its interval, of logarithms: S has long tails."""
    raw, *logs = (
        np.log(np.diagonal(np.linalg.inv(each.covariance))) for each in (model, *drawn)
    )  # fmt: skip
    value, sd = 2 * raw - np.mean(logs, axis=0), _NORMAL * np.std(logs, axis=0, ddof=1)
    return np.exp(value), np.exp(value - sd), np.exp(value + sd)


def _refitted(
    model: VectorAutoregression, n_steps: int, rng: np.random.Generator
) -> tuple[list[VectorAutoregression], Floats, Moments]:
    """Fits of simulated paths, their production by frequency, (path, band), and their moments."""
    fits, bands, shapes = [], [], []
    for path in _paths(model, n_steps, _DRAWS, rng):
        found = fitted(path)
        fits += [found] if found is not None else []
        bands.append(production_by_frequency(path))
        shapes.append(moments(path[None]))
    return fits, np.array(bands), joined(shapes)


def _p_reversible(path: Floats, model: VectorAutoregression, rng: np.random.Generator) -> float:
    """Of a reversible path: antisymmetric part of its lagged covariance, in units of S.

    The null is the autoregression whose transition, in coordinates in which S is the identity, is
    the symmetric part of the fitted one.
    """
    root = np.linalg.cholesky(model.covariance)
    inverse = np.linalg.inv(root)
    whitened = inverse @ model.transition @ root
    symmetric = (whitened + whitened.T) / 2
    noise = np.eye(len(root)) - symmetric @ symmetric
    null = VectorAutoregression(symmetric, (noise + noise.T) / 2)
    drawn = [_asymmetry(each) for each in _paths(null, len(path), _DRAWS, rng)]
    return p_value(np.array(_asymmetry(path)), np.array(drawn))


def _asymmetry(path: Floats) -> float:
    found = moments(path)
    return float((found.currents**2).sum())


def _paths(
    model: VectorAutoregression, n_steps: int, n_paths: int, rng: np.random.Generator
) -> Iterator[Floats]:
    """Simulated paths, (step, direction), a few at a time in memory."""
    at_once = int(np.clip(_MOST_BYTES // (8 * n_steps * len(model.noise)), 1, n_paths))
    for start in range(0, n_paths, at_once):
        count = min(at_once, n_paths - start)
        yield from np.stack(list(model.simulated(n_steps, count, rng)), axis=1)
