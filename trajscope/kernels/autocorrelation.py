"""Autocorrelation of positions: pooled over weights, and for a Brownian path."""

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.kernels.spectra import column_pieces


def pooled_products(weights: NDArray[np.floating]) -> dict[str, Floats]:
    """Squared norms and lagged inner products of centred positions, summed over weights.

    Parameters
    ----------
    weights : (step, weight)

    Returns
    -------
    dict
        ``squared_norms`` (step,): ``sum_i (x_t - m)^2``; ``product_power`` (frequency,): the
        transform of the lagged products, which `lagged_from_power` turns back. Both float64, since
        a mean squared displacement at a short lag is a small difference of these.
    """
    n_steps = len(weights)
    n_frequencies = _padded_length(n_steps) // 2 + 1
    sums = {"squared_norms": np.zeros(n_steps), "product_power": np.zeros(n_frequencies)}
    scratch: dict[int, NDArray[np.floating]] = {}
    for columns in column_pieces(weights, _padded_length(n_steps)):
        displacement = weights[:, columns].astype(np.float64) - weights[0, columns]
        centred = displacement - displacement.mean(axis=0)
        sums["squared_norms"] += np.einsum("tw,tw->t", centred, centred)
        sums["product_power"] += _padded_power(displacement, scratch).sum(axis=1)
    return sums


def _padded_power(
    weights: NDArray[np.floating], scratch: dict[int, NDArray[np.floating]]
) -> NDArray[np.floating]:
    """``|FFT(x - m)|^2`` of each weight padded to `_padded_length`, (frequency, weight).

    `scratch` keeps the padded array from piece to piece, by its width: making it anew each time
    cost a fifth of the whole.
    """
    n_steps, n_weights = weights.shape
    if n_weights not in scratch:
        scratch[n_weights] = np.zeros((_padded_length(n_steps), n_weights), weights.dtype)
    padded = scratch[n_weights]
    centred = padded[:n_steps]
    np.subtract(weights, weights[0], out=centred)
    centred -= centred.mean(axis=0)
    power: NDArray[np.floating] = np.square(np.abs(scipy.fft.rfft(padded, axis=0)))
    return power


def _padded_length(n_steps: int) -> int:
    """An even length without wrap-around up to lag T - 1, whose transform is fast."""
    return int(2 * scipy.fft.next_fast_len(n_steps, real=True))


def lagged_from_power(power: Floats, n_steps: int) -> Floats:
    """Lagged products ``R(h)``, h = 0..T-1, from the power that `pooled_products` summed.

    Parameters
    ----------
    power : (frequency,)
    n_steps :
        T.

    Returns
    -------
    (lag,)
    """
    products: Floats = scipy.fft.irfft(power, _padded_length(n_steps))[:n_steps]
    return products


def brownian_autocorrelation(n_steps: int) -> Floats:
    """Expected autocorrelation of one weight on a Brownian path of `n_steps` checkpoints.

    The biased estimate ``r(h)`` is a ratio of quadratic forms in the increments. In the cosines
    ``phi_k(t) ~ cos(pi k (t + 1/2) / T)`` a centred Brownian path has independent coefficients of
    variance ``l_k = 1 / (4 sin^2(pi k / 2T))``, so with ``a_k(h) = sum_t phi_k(t) phi_k(t+h)``::

        E r(h) = sum_k E[w_k] a_k(h),   w_k = l_k z_k^2 / sum_j l_j z_j^2
        E[w_k] = int_0^inf l_k / (1 + 2 s l_k) prod_j (1 + 2 s l_j)^(-1/2) ds

    the last line being the moment formula for a ratio of quadratic forms in normal variables
    (Magnus 1986, Annales d'Économie et de Statistique 4, 95-109, doi:10.2307/20075629).

    Returns
    -------
    (lag,)
        Dimensionless, 1 at lag 0. It never enters the band of white noise for good: a path that
        wanders is correlated with itself over any window.
    """
    modes = np.arange(1, n_steps)
    angles = np.pi * modes / n_steps
    variances = 1 / (4 * np.sin(angles / 2) ** 2)
    shares = _expected_shares(variances / variances.sum())
    # Summing the product of cosines over t gives
    # T a_k(h) = (T - h) cos(k h pi/T) - sin(k h pi/T) / sin(k pi/T): a cosine and a sine transform.
    lags = np.arange(n_steps)
    cosines = scipy.fft.dct(np.pad(shares, 1), type=1)[:n_steps] / 2
    sines = np.zeros(n_steps)
    sines[1:] = scipy.fft.dst(shares / np.sin(angles), type=1) / 2
    curve: Floats = ((n_steps - lags) * cosines - sines) / n_steps
    return curve


def _expected_shares(variances: Floats) -> Floats:
    """``E[l_k z_k^2 / sum_j l_j z_j^2]`` for standard normal z; `variances` sum to one."""
    shares = np.zeros_like(variances)
    # s = exp(u): the integrand is smooth and decays on both sides, so the trapezoid rule converges
    # geometrically.
    for s in np.exp(np.linspace(-18.0, 14.0, 401)):
        damping = 1 + 2 * s * variances
        shares += variances * s / damping * np.exp(-0.5 * np.log(damping).sum())
    normalised: Floats = shares / shares.sum()
    return normalised
