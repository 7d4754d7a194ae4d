"""Autoregressive models of single modes: reversible by construction, whatever their spectrum."""

from dataclasses import dataclass

import numpy as np
import scipy.fft

from trajscope.inference.nulls.draws import shifts, signs
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


@dataclass(frozen=True)
class SizedModes:
    """Independent autoregressive modes whose innovations keep their sizes and places in time.

    Noise that is loud for a while, or has heavy tails, is loud in all modes at once, and may be so
    anywhere in the window: both leave currents and beginnings by chance that steady noise does not.

    Attributes
    ----------
    models :
        Of each mode.
    sizes : (mode, time)
        Sizes of the innovations over their root mean square, without those at the start that no
        past predicts.
    n_steps :
        Length of what is drawn.
    """

    models: tuple[Autoregression, ...]
    sizes: Floats
    n_steps: int

    @classmethod
    def of(cls, series: Floats, longest: int) -> "SizedModes":
        """Fitted to the modes of a path, (mode, step)."""
        models = tuple(fit(each, longest) for each in series)
        unpredicted = max(len(model.coefficients) for model in models) - 1
        sizes = np.stack(
            [
                np.abs(np.convolve(each - each.mean(), model.coefficients)[: series.shape[-1]])
                for model, each in zip(models, series, strict=True)
            ]
        )[:, unpredicted:]
        rms = np.sqrt(np.mean(sizes**2, axis=-1, keepdims=True))
        return cls(models, sizes / np.maximum(rms, 1e-300), series.shape[-1])

    def draw(self, seed: int, batch: int, count: int) -> Floats:
        """Series with the sizes shifted together round their circle, signs drawn singly.

        Returns
        -------
        (draw, mode, step)
        """
        modes, around = self.sizes.shape
        period = 2 * self.n_steps
        places = (shifts(seed, batch, around)[:count, np.newaxis] + np.arange(period)) % around
        coins = signs(seed, batch, modes * period)[:count].reshape(-1, modes, period)
        drawn = [
            simulate(model, sizes[places] * coins[:, number])
            for number, (model, sizes) in enumerate(zip(self.models, self.sizes, strict=True))
        ]
        return np.stack(drawn, axis=1)
