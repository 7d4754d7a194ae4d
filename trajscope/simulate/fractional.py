"""Walks without a scale of their own: fractional Brownian motion."""

import numpy as np
import xarray as xr

from trajscope.kernels.gram import Floats
from trajscope.simulate.embedding import as_walk, expect, expect_steps, random_stream


def fractional_brownian(
    n_steps: int, n_weights: int | None = None, *, hurst: float, n_modes: int, seed: int
) -> xr.DataArray:
    """Fractional Brownian motion from the origin in k modes, exact at unit steps.

    ``MSD(q) = k q^{2H}``, ``c_h = k (|h+1|^{2H} - 2 |h|^{2H} + |h-1|^{2H}) / 2``,
    ``VR(q) = q^{2H - 1}`` at every scale

    Persistent for H > 1/2 (superdiffusion), antipersistent below (subdiffusion), Brownian at 1/2;
    no correlation time (Mandelbrot & Van Ness 1968, doi:10.1137/1010093).

    Parameters
    ----------
    hurst :
        H, between 0 and 1.
    n_modes :
        k.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        A value outside its range.

    Notes
    -----
    Increments by circulant embedding, whose eigenvalues are never negative here (Davies & Harte
    1987, doi:10.1093/biomet/74.1.95; Craigmile 2003, doi:10.1111/1467-9892.00318).

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.fractional_brownian(
    ...     100, hurst=0.8, n_modes=20, seed=1).shape
    (100, 20)
    """
    expect_steps(n_steps)
    expect(0 < hurst < 1, "hurst", hurst, "a number between 0 and 1")
    expect(n_modes >= 1, "n_modes", n_modes, "at least 1 mode")
    increments = _fractional_noise(n_steps - 1, n_modes, hurst, random_stream(seed))
    return as_walk(increments, n_weights, seed)


def _fractional_noise(n: int, n_modes: int, hurst: float, rng: np.random.Generator) -> Floats:
    """Stationary increments of unit variance, as (interval, mode)."""
    lags = np.arange(n + 1, dtype=np.float64)
    powers = [np.abs(lags + shift) ** (2 * hurst) for shift in (1, 0, -1)]
    covariance = (powers[0] - 2 * powers[1] + powers[2]) / 2
    circulant = np.concatenate([covariance, covariance[n - 1 : 0 : -1]])
    # Rounding alone makes an eigenvalue negative.
    eigenvalues = np.maximum(np.fft.fft(circulant).real, 0.0)
    white = rng.standard_normal((2, len(circulant), n_modes))
    spectrum = np.sqrt(eigenvalues / len(circulant))[:, np.newaxis] * (white[0] + 1j * white[1])
    noise: Floats = np.fft.fft(spectrum, axis=0).real[:n]
    return noise
