"""Autoregressive models of single modes: reversible by construction, whatever their spectrum."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from trajscope.kernels.gram import Floats


@dataclass(frozen=True)
class Autoregression:
    """``x[t] + a[1] x[t-1] + ... + a[p] x[t-p] = e[t]``, ``e`` white.

    Attributes
    ----------
    coefficients : (order + 1,)
        1, a[1], ..., a[p].
    variance :
        Of e.
    """

    coefficients: Floats
    variance: float


def fit(series: Floats, longest: int) -> Autoregression:
    """Burg's fit of the order, at most `longest`, with the smallest corrected Akaike criterion.

    Burg 1967; Hurvich & Tsai 1989, doi:10.1093/biomet/76.2.297. A stationary Gaussian series
    of one dimension looks the same backwards, so a path of independent such modes has no current.

    Parameters
    ----------
    series : (step,)
    """
    n = len(series)
    centred = series - series.mean()
    forward, backward = centred[1:], centred[:-1]
    coefficients, variance = np.ones(1), float(np.mean(centred**2))
    best, lowest = Autoregression(coefficients, variance), np.inf
    for order in range(longest + 1):
        criterion = n * np.log(max(variance, 1e-300)) + 2 * (order + 1) * n / (n - order - 2)
        if criterion < lowest:
            best, lowest = Autoregression(coefficients, variance), criterion
        energy = float(forward @ forward + backward @ backward)
        if energy <= 0:
            break
        reflection = -2 * float(forward @ backward) / energy
        padded = np.append(coefficients, 0)
        coefficients = padded + reflection * padded[::-1]
        variance *= 1 - reflection**2
        forward, backward = (
            forward[1:] + reflection * backward[1:],
            backward[:-1] + reflection * forward[:-1],
        )
    return best


def simulate(model: Autoregression, innovations: Floats) -> Floats:
    """Stationary series with the spectrum of `model`, half as long as the period drawn.

    Drawn in Fourier space with a period twice the length: what lies further apart than a window
    wraps around, what lies within it hardly does.

    Parameters
    ----------
    innovations : (..., period)
        Uncorrelated, of variance 1; standard normal numbers give a Gaussian series.

    Returns
    -------
    (..., step)
    """
    period = innovations.shape[-1]
    response = scipy.fft.rfft(model.coefficients, period)
    shaped = scipy.fft.rfft(innovations, axis=-1) * (model.variance**0.5 / response)
    # The mean of a window is taken off later; a near unit root would swamp the rest with it.
    shaped[..., 0] = 0
    return np.asarray(scipy.fft.irfft(shaped, period, axis=-1)[..., : period // 2])
