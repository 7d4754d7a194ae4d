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


def correlation_time(positions: Floats) -> float:
    """Two-sided integrated autocorrelation time, in checkpoints: ``1 + 2 sum_h rho[h]``.

    Pooled over components with their variance; 2 tau for an autocorrelation exp(-h/tau). Summed
    to the first lag where it is not positive, or that is three times the sum so far, beyond which
    there is mostly noise (Sokal 1997, doi:10.1007/978-1-4899-0319-8_6). The mean over the window
    is taken off, so it saturates near a quarter of the window.

    Parameters
    ----------
    positions : (step, component)
    """
    n_steps = len(positions)
    centred = positions - positions.mean(axis=0)
    length = scipy.fft.next_fast_len(2 * n_steps - 1, real=True)
    power = np.abs(scipy.fft.rfft(centred, length, axis=0)) ** 2
    products = scipy.fft.irfft(power.sum(axis=1), length)[:n_steps]
    if products[0] <= 0:
        return 1.0
    rho = products / products[0]
    times = 1 + 2 * (rho.cumsum() - rho[0])
    ends = np.flatnonzero((rho <= 0) | (np.arange(n_steps) >= 3 * times))
    return float(times[ends[0] - 1] if ends.size else times[-1])


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
    return max(
        (np.concatenate([data, *nulls]) for nulls in zip(*drawn, strict=True)),
        key=lambda nulls: p_value(standardised(nulls).max(axis=-1)),
    )
