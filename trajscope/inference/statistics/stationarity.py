"""How long a path remembers, and whether it began where it then stayed."""

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.inference.nulls.draws import over_batches, phases
from trajscope.inference.statistics.brownian import p_value, standardised
from trajscope.kernels.gram import Floats

PREFIXES: Final = (1 / 20, 1 / 10, 1 / 5, 1 / 3)
"""Beginnings that are compared with the whole window, as shares of it."""
_CACHED: Final = 1 << 20
"""Numbers that are transformed together."""
_NARROW: Final = 1.002
"""Ratio of the bounds at which a time is found."""


def correlation_time(positions: Floats, taken: Floats | None = None) -> float:
    """Two-sided integrated autocorrelation time, in checkpoints: ``1 + 2 sum_h rho[h]``.

    Pooled over components with their variance; ``(1 + r)/(1 - r)``, about 2 tau, for an
    autocorrelation ``r^h = exp(-h/tau)``. The sum ends at the first lag where it is not positive,
    or that is three times the sum so far, beyond which there is mostly noise (Sokal 1997,
    doi:10.1007/978-1-4899-0319-8_6). A mean, or a course, that is taken off takes slow movement
    with it, and makes this sum too small. So what is returned is the time of the exponential
    autocorrelation that leaves the same sum on average once the same is taken off (indirect
    inference, Gourieroux, Monfort & Renault 1993, doi:10.1002/jae.3950080507). Its median over
    runs of one such time is within 5% from five of these times on; where less than the window
    would leave as large a sum, it is the length of the window.

    Parameters
    ----------
    positions : (step, component)
    taken : (step, function)
        Orthonormal functions of time that are taken off; the constant by default.
    """
    n_steps = len(positions)
    if taken is None:
        taken = np.full((n_steps, 1), n_steps**-0.5)
    found = _summed(autocovariance(positions, taken))
    if found <= 1:
        return found
    low, high = 1.0, float(n_steps)
    if _expected_sum(high, taken) <= found:
        return high
    while high > low * _NARROW:
        middle = (low * high) ** 0.5
        low, high = (middle, high) if _expected_sum(middle, taken) < found else (low, middle)
    return float((low * high) ** 0.5)


def autocovariance(positions: Floats, taken: Floats | None = None) -> Floats:
    """Sums of products h steps apart, (lag,), over all components, on a scale of its own.

    Parameters
    ----------
    positions : (step, component)
    taken : (step, function)
        Orthonormal functions of time that are taken off, some components at a time; none by
        default.
    """
    n_steps = len(positions)
    length = scipy.fft.next_fast_len(2 * n_steps - 1, real=True)
    scale = max(float(positions.max()), -float(positions.min())) or 1
    power = np.zeros(length // 2 + 1)
    at_once = max(1, _CACHED // n_steps)
    for start in range(0, positions.shape[1], at_once):
        rest = positions[:, start : start + at_once] / scale
        if taken is not None:
            rest -= taken @ (taken.T @ rest)
        some = rest.T.astype(np.float32)
        spectrum = scipy.fft.rfft(some, length, axis=1)
        power += (spectrum.real**2 + spectrum.imag**2).sum(axis=0, dtype=np.float64)
    return np.asarray(scipy.fft.irfft(power, length)[:n_steps])


def _summed(autocovariance: Floats) -> float:
    if autocovariance[0] <= 0:
        return 1.0
    rho = autocovariance / autocovariance[0]
    times = 1 + 2 * (rho.cumsum() - rho[0])
    ends = np.flatnonzero((rho <= 0) | (np.arange(len(rho)) >= 3 * times))
    return float(times[ends[0] - 1] if ends.size else times[-1])


def _expected_sum(time: float, taken: Floats) -> float:
    """What the sum comes to for an exponential autocorrelation of this time, on average.

    With S its covariance of all steps and Q the functions, the mean autocovariance is that of
    ``(1 - Q Q') S (1 - Q Q')``, summed along diagonals.
    """
    from scipy.signal import lfilter  # half a second, which a short run has no use for

    n_steps = len(taken)
    length = scipy.fft.next_fast_len(2 * n_steps - 1, real=True)
    r = (time - 1) / (time + 1)
    covered = lfilter([1.0], [1.0, -r], taken, axis=0)
    covered += lfilter([1.0], [1.0, -r], taken[::-1], axis=0)[::-1] - taken  # S Q
    other = taken @ (taken.T @ covered) - 2 * covered
    spectra = scipy.fft.rfft(taken, length, axis=0).conj() * scipy.fft.rfft(other, length, axis=0)
    lost = scipy.fft.irfft(spectra.real.sum(axis=1), length)[:n_steps]
    lags = np.arange(n_steps)
    return _summed((n_steps - lags) * r**lags + lost)


def early_excess(positions: NDArray[np.floating]) -> Floats:
    """Mean squared distance from the mean during `PREFIXES`, over that of the whole window.

    Parameters
    ----------
    positions : (..., component, step)

    Returns
    -------
    (..., prefix)
    """
    centred = positions - positions.mean(axis=-1, keepdims=True)
    distance = (centred**2).sum(axis=-2, dtype=np.float64)
    n_steps = distance.shape[-1]
    sums = distance.cumsum(axis=-1)
    ends = [max(2, round(share * n_steps)) for share in PREFIXES]
    early = np.stack([sums[..., end - 1] / end for end in ends], axis=-1)
    return np.asarray(early / (sums[..., -1:] / n_steps))


def draw_early_excess(positions: Floats, n_draws: int, seed: int) -> Floats:
    """`early_excess` of the data (draw 0) and of stationary surrogates, (draw, prefix).

    Amplitudes are kept and phases drawn: what is far out at the beginning is then far out
    anywhere. Of two nulls it is the one that leaves the larger p-value. Phases of their own for
    every component (Theiler et al. 1992, doi:10.1016/0167-2789(92)90102-S) lose that components
    which turn in one plane are far out together; phases that all of them share (Prichard & Theiler
    1994, doi:10.1103/PhysRevLett.73.951) lose that principal components of a slow path are far out
    at both its ends.

    Parameters
    ----------
    positions : (step, component)
    """
    n_steps = len(positions)
    spectra = scipy.fft.rfft(positions - positions.mean(axis=0), axis=0).T
    spectra[:, 0] = 0
    spectra = (spectra / (np.abs(spectra).max() or 1)).astype(np.complex64)
    amplitudes = np.abs(spectra)

    def draw(batch: int, count: int) -> tuple[Floats, Floats]:
        angles = phases(seed, batch, spectra.shape)[:count]
        turns = np.empty(angles.shape, np.complex64)
        np.cos(angles, out=turns.real)
        np.sin(angles, out=turns.imag)
        shared = early_excess(scipy.fft.irfft(spectra * turns[:, :1], n_steps, axis=-1))
        turns *= amplitudes
        return early_excess(scipy.fft.irfft(turns, n_steps, axis=-1)), shared

    data = early_excess(positions.T)[np.newaxis]
    drawn = over_batches(draw, n_draws, 4 * amplitudes.size)
    return max((np.concatenate([data, *nulls]) for nulls in zip(*drawn, strict=True)), key=_p_value)


def _p_value(excess: Floats) -> float:
    return p_value(standardised(excess).max(axis=-1))
