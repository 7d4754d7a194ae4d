"""Spread of the autocorrelation over weights, from all of them or from a random sample."""

from typing import Final

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.kernels.spectra import FEWEST_COLUMNS

DEFICITS: Final = ("deficit", "deficit_square", "deficit_cube", "deficit_fourth")
_NUMBERS_AT_ONCE: Final = 4
"""Of Philox, which counts in fours."""
_OWN_KEYS: Final = 1 << 64
"""Other random numbers of the same seed have keys below."""


class Spread:
    """Sums of `deficit_moments`, of chosen weights: few of a piece are, so they wait for others.

    Parameters
    ----------
    length, n_steps :
        As `deficit_moments` takes them.
    factor : (row,)
        Power over the squares that are added, at the last of the frequencies.
    """

    def __init__(self, length: int, factor: Floats, n_steps: int) -> None:
        self.length, self.factor, self.n_steps = length, factor, n_steps
        self.waiting: list[NDArray[np.floating]] = []
        self.total: dict[str, Floats] = {name: np.zeros(n_steps) for name in DEFICITS}
        self.total["n_deficits"] = np.zeros(())

    def add(
        self,
        squares: NDArray[np.floating],
        inverse: NDArray[np.floating],
        chosen: NDArray[np.bool_],
    ) -> None:
        """Take the chosen weights of a piece.

        Parameters
        ----------
        squares : (row, weight, part)
            Of real and imaginary parts, or their sum.
        inverse : (weight,)
            ``1 / sum_t (x_t - m)^2``.
        chosen : (weight,)
        """
        columns = np.flatnonzero(chosen)
        if not len(columns):
            return
        own = squares if len(columns) == len(chosen) else squares[:, columns]
        power = np.zeros((self.length // 2 + 1, len(columns)), squares.dtype)
        rows = power[-len(squares) :]
        for part in range(own.shape[2]):
            rows += own[:, :, part]
        rows *= self.factor.astype(power.dtype)[:, np.newaxis]
        rows *= inverse[columns]
        self.waiting.append(power)
        if sum(each.shape[1] for each in self.waiting) >= FEWEST_COLUMNS:
            self._empty()

    def sums(self) -> dict[str, Floats]:
        """With those that still wait."""
        self._empty()
        return self.total

    def _empty(self) -> None:
        if not self.waiting:
            return
        power = np.concatenate(self.waiting, axis=1)
        self.waiting = []
        self.total["n_deficits"] += power.shape[1]
        for name, values in deficit_moments(power, self.length, self.n_steps).items():
            self.total[name] += values


def deficit_moments(power: NDArray[np.floating], length: int, n_steps: int) -> dict[str, Floats]:
    """Sums over weights of powers of ``1 - r_i(h)``, of which their spread and its error follow.

    ``r_i(h) = sum_{t<T-h} (x_t - m)(x_{t+h} - m) / sum_t (x_t - m)^2``, h = 0..T-1 (biased)

    At short lags r is near one and hardly spreads; one less r keeps the digits of that.

    Parameters
    ----------
    power : (frequency, weight)
        ``|FFT(x - m)|^2 / sum_t (x_t - m)^2`` of positions padded to `length`, which is even.
    n_steps :
        T.

    Returns
    -------
    dict
        ``deficit``, ``deficit_square``, ``deficit_cube``, ``deficit_fourth``, each (lag,).
    """
    # The power of a real series is real and even, so a cosine transform inverts it, in less time
    # than the general inverse.
    correlation = scipy.fft.dct(power, type=1, axis=0)[:n_steps]
    if length == 2 * (n_steps - 1):
        correlation[-1] /= 2  # the last lag and its negative fall on one another
    # In float64: a fourth central moment is what is left of sums 1e12 times as large.
    one = np.subtract(1, correlation / length, dtype=np.float64)
    two = np.square(one)
    pairs = ((two, one), (two, two))
    sums = [one.sum(axis=1), two.sum(axis=1), *(np.einsum("tw,tw->t", *pair) for pair in pairs)]
    return dict(zip(DEFICITS, sums, strict=True))


def sampled(first: int, n_weights: int, *, share: float, seed: int) -> NDArray[np.bool_]:
    """Which of neighbouring weights are in a random sample that holds this share of all weights.

    Parameters
    ----------
    first :
        Number of the first weight: a weight is in the sample or not whatever piece it comes in.

    Returns
    -------
    (weight,)

    Examples
    --------
    >>> chosen = sampled(0, 100, share=0.5, seed=0)
    >>> bool((sampled(30, 40, share=0.5, seed=0) == chosen[30:70]).all())
    True
    """
    before = first % _NUMBERS_AT_ONCE
    source = np.random.Philox(key=seed | _OWN_KEYS, counter=first // _NUMBERS_AT_ONCE)
    numbers: NDArray[np.uint64] = source.random_raw(before + n_weights)[before:]
    return numbers < np.float64(share) * 2.0**64
