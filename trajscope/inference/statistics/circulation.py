"""The test against time reversal: whether a path turns in the plane of its leading components.

Notation: x is (step, component), T steps; X its Fourier coefficients at the frequencies f/T,
0 < f < T/2, and w_f = 2 pi f/T.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.inference.nulls.autoregression import fit, simulate
from trajscope.inference.nulls.draws import normals, over_batches, phases
from trajscope.inference.statistics.brownian import p_value
from trajscope.kernels.gram import Floats

Spectra = NDArray[np.complexfloating]
_WORTH_CONFIRMING: Final = 0.1
"""p-value above which no other null is asked."""


@dataclass(frozen=True)
class Modes:
    """Whitened components, rotated so that no two are correlated one step apart, both ways alike.

    Attributes
    ----------
    spectra : (..., mode, frequency)
    unmixing : (..., mode, component)
        From components to modes.
    """

    spectra: Spectra
    unmixing: Floats


def spectra_of(positions: Floats) -> Spectra:
    """Fourier coefficients without zero and Nyquist, (..., component, frequency).

    Parameters
    ----------
    positions : (..., step, component)
    """
    n_steps = positions.shape[-2]
    coefficients = scipy.fft.rfft(positions - positions.mean(axis=-2, keepdims=True), axis=-2)
    return np.asarray(np.swapaxes(coefficients[..., 1 : (n_steps - 1) // 2 + 1, :], -1, -2))


def slow_modes(spectra: Spectra, n_steps: int) -> Modes:
    """Modes of time-lagged independent component analysis at lag 1; Molgedey & Schuster 1994.

    Whitened by the covariance, then rotated by the eigenvectors of the symmetric part of the
    covariance one step apart. doi:10.1103/PhysRevLett.72.3634

    Parameters
    ----------
    spectra : (..., component, frequency)
    """
    cosines = np.cos(_angular(spectra.shape[-1], n_steps)).astype(spectra.real.dtype)
    covariance = _products(spectra, spectra)
    values, vectors = np.linalg.eigh(covariance)
    whitening = np.swapaxes(
        vectors / np.sqrt(np.maximum(values, 1e-12))[..., np.newaxis, :], -1, -2
    )
    white = whitening.astype(spectra.real.dtype) @ spectra
    lagged = _products(white * cosines, white)
    _, rotation = np.linalg.eigh(lagged)
    turned = np.swapaxes(rotation[..., ::-1], -1, -2)
    return Modes(turned.astype(white.real.dtype) @ white, turned @ whitening)


def signed_areas(modes: Spectra, n_steps: int) -> Floats:
    """Standardised signed areas, ``t_ij``, (..., mode, mode_other).

    ``A_ij = -(4/T) sum_f sin(w_f) |X_i||X_j| sin(phi_j - phi_i)``: the area that modes i and j
    sweep, ``sum_t x_i[t] x_j[t+1] - x_j[t] x_i[t+1]``; and
    ``t_ij = A_ij / sqrt(8/T^2 sum_f sin^2(w_f) |X_i|^2 |X_j|^2)``, over its standard deviation
    when all phases are independent. Areas as a measure of circulation: Strang,
    arXiv:2411.07613.
    """
    sines = np.sin(_angular(modes.shape[-1], n_steps)).astype(modes.real.dtype)
    areas = -4 / n_steps * (modes * sines @ np.swapaxes(modes.conj(), -1, -2)).imag
    power = modes.real**2 + modes.imag**2
    variances = 8 / n_steps**2 * (power * sines**2 @ np.swapaxes(power, -1, -2))
    return np.asarray(areas / np.sqrt(np.maximum(variances, 1e-300)))


def circulation(modes: Spectra, n_steps: int) -> Floats:
    """``S = sum_{i<j} t_ij^2``, (...)."""
    areas = signed_areas(modes, n_steps)
    return np.asarray((areas**2).sum(axis=(-2, -1)) / 2)


def draw_circulation(spectra: Spectra, n_steps: int, n_draws: int, seed: int) -> Floats:
    """`circulation` of the data (draw 0), and of surrogates that look the same backwards.

    Every mode keeps its amplitudes and gets independent random phases (Theiler et al. 1992,
    doi:10.1016/0167-2789(92)90102-S); modes are then found again, as they were in the data.

    Parameters
    ----------
    spectra : (component, frequency)
    """
    modes = slow_modes(spectra, n_steps).spectra
    amplitudes = np.abs(modes).astype(np.float32)

    def draw(batch: int, count: int) -> Floats:
        angles = phases(seed, batch, amplitudes.shape)[:count]
        drawn = np.empty(angles.shape, np.complex64)
        np.multiply(amplitudes, np.cos(angles), out=drawn.real)
        np.multiply(amplitudes, np.sin(angles), out=drawn.imag)
        return circulation(slow_modes(drawn, n_steps).spectra, n_steps)

    data = np.array([circulation(modes, n_steps)])
    return np.concatenate([data, *over_batches(draw, n_draws, 4 * amplitudes.size)])


def draw_independent_modes(
    spectra: Spectra, n_steps: int, n_draws: int, seed: int, *, longest: int
) -> Floats:
    """`circulation` of the data (draw 0), and of independent autoregressive modes.

    Every mode is fitted by an autoregression of order at most `longest`; at order 1 this is the
    null of a memoryless optimizer near a minimum, at higher orders of one that may ring.

    Parameters
    ----------
    spectra : (component, frequency)
    """
    modes = slow_modes(spectra, n_steps).spectra
    models = [fit(series, longest) for series in series_of(modes, n_steps)]

    def draw(batch: int, count: int) -> Floats:
        noise = normals(seed, batch, (len(models), 2 * n_steps))[:count]
        series = np.stack([simulate(m, noise[:, i]) for i, m in enumerate(models)], axis=1)
        # Transformed in single precision: the sums over frequencies need no more.
        drawn = scipy.fft.rfft(series.astype(np.float32), axis=-1)[..., 1 : modes.shape[-1] + 1]
        return circulation(slow_modes(drawn, n_steps).spectra, n_steps)

    data = np.array([circulation(modes, n_steps)])
    return np.concatenate([data, *over_batches(draw, n_draws, 4 * modes.size)])


def draw_least_favourable(
    path: Floats,
    with_even_noise: Callable[[], Floats],
    n_draws: tuple[int, int],
    seed: int,
    *,
    n_slow: int = 0,
) -> Floats:
    """Draws of that null under which the circulation of the data is least unusual.

    Of the path, and, where both nulls leave a p-value of 0.1 or less, of its components once the
    volatility of the noise is taken out (`volatility`): each with its spectra kept and random
    phases (`draw_circulation`), and with the leakage imitated (`draw_independent_modes`).

    Parameters
    ----------
    path : (step, component)
    with_even_noise :
        Makes the components without volatility.
    n_draws :
        Of the phases, and of the independent modes.
    n_slow :
        Lowest frequencies that are left out.
    """
    drawn = _draw_reversible(path, n_draws, seed, n_slow)
    if p_value(drawn) > _WORTH_CONFIRMING:
        return drawn
    even = with_even_noise()
    if even.shape[1] < 2:
        return drawn
    return max(drawn, _draw_reversible(even, n_draws, seed, n_slow), key=p_value)


def _draw_reversible(path: Floats, n_draws: tuple[int, int], seed: int, n_slow: int) -> Floats:
    n_steps = len(path)
    spectra: Spectra = spectra_of(path).copy()
    spectra[:, :n_slow] = 0
    phases = draw_circulation(spectra, n_steps, n_draws[0], seed)
    if p_value(phases) > _WORTH_CONFIRMING:
        return phases
    longest = min(20, n_steps // 10)
    modes = draw_independent_modes(spectra, n_steps, n_draws[1], seed, longest=longest)
    return max(phases, modes, key=p_value)


def series_of(spectra: Spectra, n_steps: int) -> Floats:
    """The path of each mode, (..., mode, step), back from its Fourier coefficients."""
    padded = np.zeros((*spectra.shape[:-1], n_steps // 2 + 1), dtype=spectra.dtype)
    padded[..., 1 : spectra.shape[-1] + 1] = spectra
    return np.asarray(scipy.fft.irfft(padded, n_steps, axis=-1))


def _angular(n_frequencies: int, n_steps: int) -> Floats:
    return 2 * np.pi * np.arange(1, n_frequencies + 1) / n_steps


def _products(one: Spectra, other: Spectra) -> Floats:
    """Real parts of the inner products over frequencies, (..., component, component)."""
    return np.asarray((one @ np.swapaxes(other.conj(), -1, -2)).real)
