"""The line rule: whether two modes share one narrow peak, as a coherent cycle does."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.inference.nulls.autoregression import Autoregression, fit, simulate
from trajscope.inference.nulls.draws import DRAWS_AT_ONCE, n_batches, normals
from trajscope.inference.statistics.circulation import series_of, slow_modes, spectra_of
from trajscope.kernels.gram import Floats

LEAST_CONCENTRATION: Final = 0.6
"""Share of its power that a mode must have within two bins of the peak."""
FEWEST_CYCLES: Final = 4
FEWEST_RINGING_TIMES: Final = 7
"""Windows of fewer do not resolve the line of ringing: two bins hold most of it."""
_HALF_WIDTH: Final = 2
_RINGING_MODES: Final = 4
"""Modes of a draw for every one of the data's."""


@dataclass(frozen=True)
class Line:
    """A peak that two modes share.

    Attributes
    ----------
    cycles :
        In the window.
    concentration :
        Share of power within two bins of the peak, of the second most concentrated mode.
    """

    cycles: int
    concentration: float

    @property
    def is_narrow(self) -> bool:
        """Whether the line rule holds."""
        return self.cycles >= FEWEST_CYCLES and self.concentration >= LEAST_CONCENTRATION


def line(series: Floats) -> Line:
    """The frequency around which two modes have most of their power, by Hann-windowed spectra.

    Parameters
    ----------
    series : (mode, step)
    """
    peaks, concentrations = _lines(series[np.newaxis])
    return Line(int(peaks[0]) + 1, float(concentrations[0]))


def ringing_time(damping: float) -> float:
    """Checkpoints in which ringing falls by e, ``-1 / log(r)``."""
    return float(-1 / np.log(damping))


def draw_line(series: Floats, damping: float | None, n_draws: int, seed: int) -> Floats:
    """`draw_ringing`, or `draw_memoryless` where the damping is not known."""
    if damping is None:
        return draw_memoryless(series, n_draws, seed)
    return draw_ringing(series, damping, n_draws, seed)


def draw_memoryless(series: Floats, n_draws: int, seed: int) -> Floats:
    """Concentration of the data's line (draw 0), and of modes that only relax.

    Each mode becomes an autoregression of order one at most, as plain SGD near a minimum makes.

    Parameters
    ----------
    series : (mode, step)
    """
    models = [fit(mode, 1) for mode in series]
    drawn = _draw(models, series.shape[-1], n_draws, seed)
    found = [np.array([line(series).concentration])]
    return np.concatenate(found + [_lines(paths)[1] for paths in drawn])


def draw_ringing(series: Floats, damping: float, n_draws: int, seed: int) -> Floats:
    """Concentration of the data's line (draw 0), and of ringing modes with the same peaks.

    A heavy-ball optimizer with momentum mu on a quadratic loss is the autoregression
    ``x[t] = 2 r cos(w) x[t-1] - r^2 x[t-2] + e[t]`` whose damping r = sqrt(mu) per update is the
    same at every frequency; Kunin et al. arXiv:2107.09133. A line that these do not reach is
    narrower than ringing can be.

    The leading principal components of many ringing modes have narrower lines than any mode of
    them. So every draw has four modes for each of `series`, and its leading components are found
    as those of the data were. Some fifty modes and more that ring at one frequency can still
    reach further.

    Parameters
    ----------
    series : (mode, step)
    damping :
        r from one checkpoint to the next, in (0, 1).
    """
    n_series, n_steps = series.shape
    peaks = _windowed_power(series).argmax(axis=-1) + 1
    models = [_ringing(damping, peak / n_steps) for peak in peaks] * _RINGING_MODES
    found = [np.array([line(series).concentration])]
    for drawn in _draw(models, n_steps, n_draws, seed):
        leading = _principal_components(drawn, n_series)
        modes = slow_modes(spectra_of(np.swapaxes(leading, -1, -2)), n_steps).spectra
        found.append(_lines(series_of(modes, n_steps))[1])
    return np.concatenate(found)


def _ringing(damping: float, frequency: float) -> Autoregression:
    """A ringing mode of variance 1; `frequency` in cycles per step."""
    square, cosine = damping**2, np.cos(2 * np.pi * frequency)
    variance = (1 - square) * ((1 + square) ** 2 - 4 * square * cosine**2) / (1 + square)
    return Autoregression(np.array([1, -2 * damping * cosine, square]), float(variance))


def _principal_components(paths: Floats, count: int) -> Floats:
    """The leading ones of (..., mode, step)."""
    centred = paths - paths.mean(axis=-1, keepdims=True)
    _, vectors = np.linalg.eigh(centred @ np.swapaxes(centred, -1, -2))
    return np.asarray(np.swapaxes(vectors[..., -count:], -1, -2) @ centred)


def _draw(models: list[Autoregression], n_steps: int, n_draws: int, seed: int) -> Iterator[Floats]:
    """Independent modes, batch by batch as (draw, mode, step)."""
    for batch in range(n_batches(n_draws)):
        count = min(DRAWS_AT_ONCE, n_draws - batch * DRAWS_AT_ONCE)
        noise = normals(seed, batch, (len(models), 2 * n_steps))[:count]
        yield np.stack([simulate(m, noise[:, i]) for i, m in enumerate(models)], axis=1)


def _lines(series: Floats) -> tuple[NDArray[np.int64], Floats]:
    """Peaks and concentrations of `Line`, (draw,), of series (draw, mode, step)."""
    power = _windowed_power(series)
    shares = power / np.maximum(power.sum(axis=-1, keepdims=True), 1e-300)
    padding = ((0, 0), (0, 0), (_HALF_WIDTH + 1, _HALF_WIDTH))
    summed = np.cumsum(np.pad(shares, padding), axis=-1)
    around = summed[..., 2 * _HALF_WIDTH + 1 :] - summed[..., : -2 * _HALF_WIDTH - 1]
    peaks = np.sort(shares, axis=1)[:, -2:].sum(axis=1).argmax(axis=-1)
    if series.shape[1] < 2:
        return peaks, np.zeros(len(series))
    at_peak = np.take_along_axis(around, peaks[:, np.newaxis, np.newaxis], axis=-1)[..., 0]
    return peaks, np.sort(at_peak, axis=1)[:, -2]


def _windowed_power(series: Floats) -> Floats:
    """Hann-windowed periodogram without its mean, (..., mode, frequency)."""
    window = np.hanning(series.shape[-1] + 1)[:-1]
    centred = series - series.mean(axis=-1, keepdims=True)
    return np.asarray(np.abs(scipy.fft.rfft(centred * window, axis=-1))[..., 1:] ** 2)
