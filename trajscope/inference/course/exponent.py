"""Anomalous diffusion: whether increments are those of fractional Brownian motion."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.inference.statistics.increments import pooled_autocovariance, relative_periodogram
from trajscope.kernels.gram import Floats

_TERMS: Final = 30
"""Of the sum over aliases of the spectrum."""
_LOWEST, _HIGHEST = 0.02, 0.98
_FAR: Final = 12.0
"""Logarithm of the odds beyond which a pole of a model is as good as on the circle."""
_WHITE: Final = 0.05
"""H of positions that are all but independent: a well that is faster than the checkpoints."""
_CRITICAL: Final = 1.63
"""Of Kolmogorov's statistic at 1%."""
_WITHIN: Final = 3.84
"""Of chi squared at 5%, one degree of freedom."""


@dataclass(frozen=True)
class Exponent:
    """Of a mean squared displacement that grows as ``q^(2 H)``.

    Attributes
    ----------
    hurst :
        H: 1/2 for Brownian motion.
    interval :
        95%, where the likelihood is within 3.84 / 2 of its largest.
    """

    hurst: float
    interval: tuple[float, float]


def anomalous_exponent(increments: Floats) -> Exponent | None:
    """The exponent where fractional Brownian motion fits, and better than what has a time scale.

    Whittle's likelihood of the pooled periodogram, ``-E sum_j (log S_j + P_j / S_j)``, with E the
    effective number of independent components, ``(sum_k l_k)^2 / sum_k l_k^2`` of the variances
    l. The others are relaxation in one or in two wells and increments of an AR(1) or AR(2)
    process, and a walk. It fits where the cumulative ``P_j / S_j`` stay within Kolmogorov's
    bounds at 1%. Spectrum of the increments: Sinai 1976, doi:10.1137/1121009; Whittle 1953,
    doi:10.1007/BF02590998.

    Parameters
    ----------
    increments : (interval, component)
        Their mean is taken off.
    """
    n = len(increments)
    centred = increments - increments.mean(axis=0)
    products = pooled_autocovariance(centred.T[np.newaxis].astype(np.float32))
    power = relative_periodogram(products)[0]
    angles = 2 * np.pi * np.arange(1, (n - 1) // 2 + 1) / n
    variances = np.linalg.eigvalsh(centred.T @ centred)
    effective = float(variances.sum() ** 2 / (variances**2).sum())

    def deviance(spectrum: Floats) -> float:
        ratio = power / spectrum
        return effective * float(len(power) * np.log(ratio.mean()) + np.log(spectrum).sum())

    from scipy.optimize import minimize_scalar  # slow to import, and most runs do without

    found = minimize_scalar(
        lambda h: deviance(fractional(angles, h)), bounds=(_LOWEST, _HIGHEST), method="bounded"
    )
    hurst, lowest = float(found.x), float(found.fun)
    if hurst < _WHITE or not _fits(power / fractional(angles, hurst), effective):
        return None
    if any(model(angles, deviance) - lowest < least for model, least in _OTHERS):
        return None
    grid = np.linspace(_LOWEST, _HIGHEST, 481)
    inside = [h for h in grid if deviance(fractional(angles, h)) - lowest <= _WITHIN] or [hurst]
    return Exponent(hurst, (float(min(inside)), float(max(inside))))


def fractional(angles: Floats, hurst: float) -> Floats:
    """Spectrum of fractional Gaussian noise: ``|1 - e^(iw)|^2 sum_j |w + 2 pi j|^(-2 H - 1)``."""
    power = -2 * hurst - 1
    aliases = 2 * np.pi * np.arange(-_TERMS, _TERMS + 1)
    summed = (np.abs(angles[:, np.newaxis] + aliases) ** power).sum(axis=1)
    # What lies beyond, as an integral.
    summed += 2 * (2 * np.pi) ** power * (_TERMS + 0.5) ** (power + 1) / (2 * hurst)
    return np.asarray(2 * (1 - np.cos(angles)) * summed)


Deviance = Callable[[Floats], float]


def _walk(angles: Floats, deviance: Deviance) -> float:
    return deviance(np.ones_like(angles))


def _one_well(angles: Floats, deviance: Deviance) -> float:
    from scipy.optimize import minimize_scalar

    found = minimize_scalar(
        lambda odds: deviance(_well(angles, odds)), bounds=(-_FAR, _FAR), method="bounded"
    )
    return float(found.fun)


def _two_wells(angles: Floats, deviance: Deviance) -> float:
    from scipy.optimize import minimize

    def of(p: Floats) -> float:
        share = _logistic(p[2])
        return deviance(share * _well(angles, p[0]) + (1 - share) * _well(angles, p[1]))

    starts = ((-1.0, 3.0, 0.0), (1.0, 5.0, 0.0))
    return min(float(minimize(of, each, method="Nelder-Mead").fun) for each in starts)


def _autoregression(angles: Floats, deviance: Deviance) -> float:
    from scipy.optimize import minimize

    turn = np.exp(-1j * angles)

    def of(p: Floats) -> float:
        first, second = np.tanh(p)
        response = 1 - first * (1 - second) * turn - second * turn * turn
        return deviance(1 / np.maximum(np.abs(response) ** 2, 1e-12))

    return float(minimize(of, (0.1, 0.0), method="Nelder-Mead").fun)


_OTHERS: Final = ((_walk, 10.0), (_one_well, 4.0), (_two_wells, -2.0), (_autoregression, 2.0))
"""What else increments may be, and by how much its deviance must exceed that of one exponent; two
wells have two more parameters, and may be a little better."""


def _well(angles: Floats, odds: float) -> Floats:
    """Increments of relaxation, ``r = 1 / (1 + exp(-odds))`` from step to step, per unit noise."""
    r = _logistic(odds)
    return np.asarray((1 + r) * (1 - np.cos(angles)) / (1 - 2 * r * np.cos(angles) + r * r))


def _logistic(odds: float) -> float:
    return float(1 / (1 + np.exp(-np.clip(odds, -_FAR, _FAR))))


def _fits(ratio: Floats, effective: float) -> bool:
    m = len(ratio)
    shares = ratio.cumsum() / ratio.sum()
    reach = float(np.abs(shares - np.arange(1, m + 1) / m).max())
    return bool(reach * (m * effective) ** 0.5 <= _CRITICAL)
