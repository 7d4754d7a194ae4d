"""Statistics of increments that a change of their order changes: what the permutation null draws.

Notation: y[t] are the increments of T checkpoints, n = T - 1 of them, centred in time;
``c[h] = sum_t <y[t], y[t+h]>`` and ``rho[h] = c[h]/c[0]``, pooled over weights.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
import scipy.fft
import scipy.linalg
from numpy.typing import NDArray

from trajscope.inference.draws import over_batches, permutations, signs
from trajscope.kernels.gram import Floats

RELAXATION_TIMES: Final = (1 / 3, 1 / 6, 1 / 12, 1 / 24)
"""Of the decays that are looked for, as shares of the window."""
_MEMORY: Final = 2
"""Order of the autoregression that is taken off before the noise scale is judged."""
_CACHED: Final = 1 << 18
"""Numbers of single precision that are transformed at a time."""


@dataclass(frozen=True)
class IncrementDraws:
    """Statistics of the data (draw 0) and of every draw of the null.

    Attributes
    ----------
    kolmogorov, fisher, ljung_box, low_power : (draw,)
        See `brownian.OMNIBUS`.
    least_power : (draw,)
        Smallest relative power of any frequency; `fisher` is the largest.
    lowest_power : (draw,)
        Mean relative power of the two lowest frequencies.
    variance_ratio : (draw, scale)
    relaxation : (draw, decay)
        Movement along the net displacement that comes early.
    noise_scale : (draw,)
        Studentised CUSUM of the squared second differences of the innovations.
    """

    kolmogorov: Floats
    fisher: Floats
    ljung_box: Floats
    low_power: Floats
    least_power: Floats
    lowest_power: Floats
    variance_ratio: Floats
    relaxation: Floats
    noise_scale: Floats


def scales(n: int) -> NDArray[np.int64]:
    """Aggregation lengths q of the variance ratio, in intervals: 2, 4, 8, ... and n/4."""
    longest = max(2, n // 4)
    powers = 2 ** np.arange(1, int(np.log2(longest)) + 1)
    return np.union1d(powers, [longest])


def n_frequencies(n: int) -> int:
    """Fourier frequencies of n intervals, without zero and Nyquist."""
    return (n - 1) // 2


def pooled_autocovariance(increments: NDArray[np.float32]) -> Floats:
    """``c[h]``, h = 0..n-1, summed over components.

    Parameters
    ----------
    increments : (draw, component, interval)

    Returns
    -------
    (draw, lag)
    """
    n = increments.shape[-1]
    length = scipy.fft.next_fast_len(2 * n - 1, real=True)
    spectrum = scipy.fft.rfft(increments, length, axis=-1)
    power = (spectrum.real**2 + spectrum.imag**2).sum(axis=1, dtype=np.float64)
    return np.asarray(scipy.fft.irfft(power, length, axis=-1)[:, :n])


def relative_periodogram(products: Floats) -> Floats:
    """``P[j] = I[j] / mean(I)`` at the Fourier frequencies j/n, j = 1 .. (n-1)/2.

    ``I[j] = (1/n) sum over weights of |sum_t y[t] exp(-2 pi i j t/n)|^2``

    Parameters
    ----------
    products : (draw, lag)

    Returns
    -------
    (draw, frequency)
    """
    n = products.shape[-1]
    circular = products.copy()
    circular[:, 1:] += products[:, :0:-1]
    power = scipy.fft.rfft(circular, axis=-1).real[:, 1 : n_frequencies(n) + 1]
    mean = power.mean(axis=-1, keepdims=True)
    return np.asarray(power / np.where(mean > 0, mean, 1))


def variance_ratio(products: Floats) -> Floats:
    """``VR(q) = 1 + 2 sum_{h<q} (1 - h/q) rho[h]`` at `scales`; Lo & MacKinlay 1988.

    The variance of a displacement over q intervals, over q times that of one interval:
    1 for uncorrelated increments (less by about q/n, for they are centred), below 1 where
    displacements are taken back. doi:10.1093/rfs/1.1.41

    Parameters
    ----------
    products : (draw, lag)

    Returns
    -------
    (draw, scale)
    """
    # Of increments that are all equal, nothing is left once they are centred.
    squares = np.maximum(products[:, :1], 1e-300)
    return np.asarray(products @ _bartlett_weights(products.shape[-1]) / squares)


@lru_cache(maxsize=8)
def _bartlett_weights(n: int) -> Floats:
    """``2 (1 - h/q)`` for lags h below every scale q, 1 at lag 0; (lag, scale)."""
    lags = np.arange(n)
    weights = np.stack([2 * np.maximum(1 - lags / q, 0) for q in scales(n)], axis=1)
    weights[0] = 1
    return np.asarray(weights)


def draw_increments(
    increments: Floats, n_draws: int, seed: int, *, flip: bool = False
) -> IncrementDraws:
    """Statistics of centred increments, and of `n_draws` draws of their null.

    Under the null the increments are exchangeable in time, whatever their covariance between
    weights: every order of them is as likely. Where their scale changes they are not, but their
    signs can be flipped; the mean is then taken off again.

    Parameters
    ----------
    increments : (interval, component)
        Centred or not; any basis of weight space.
    flip :
        Flip signs instead of permuting.
    """
    n = len(increments)
    net = increments.sum(axis=0)
    centred = (increments - increments.mean(axis=0)).T
    scale = np.abs(centred).max()
    centred = (centred / (scale or 1)).astype(np.float32)
    length = float(np.linalg.norm(net))
    along = (net / (length or 1)).astype(np.float32)
    news = innovations(centred)

    def flipped(coins: NDArray[np.float32]) -> tuple[Floats, ...]:
        drawn = centred * coins[:, np.newaxis]
        drawn -= drawn.mean(axis=-1, keepdims=True)
        return _statistics(drawn, news * coins[:, np.newaxis, : news.shape[1]], along)

    def permuted(orders: NDArray[np.int32]) -> tuple[Floats, ...]:
        # What is left of a random order without some numbers is a random order of the others.
        fewer = orders[orders < news.shape[1]].reshape(len(orders), -1)
        return _statistics(_reordered(centred, orders), _reordered(news, fewer), along)

    def draw(batch: int, count: int) -> tuple[Floats, ...]:
        # A few at a time, so that what is transformed stays in the cache.
        at_once = max(1, _CACHED // centred.size)
        parts = [slice(start, min(start + at_once, count)) for start in range(0, count, at_once)]
        if flip:
            coins = signs(seed, batch, n)
            return _joined([flipped(coins[part]) for part in parts])
        orders = permutations(seed, batch, n)
        return _joined([permuted(orders[part]) for part in parts])

    data = _statistics(centred[np.newaxis], news[np.newaxis], along)
    return IncrementDraws(*_joined([data, *over_batches(draw, n_draws, centred.size)]))


def innovations(increments: NDArray[np.float32]) -> NDArray[np.float32]:
    """What one autoregression of order two, the same for all components, leaves of increments.

    Of white increments nearly all; of those of a path that rings as heavy-ball momentum makes it,
    whose squares are alike for long, what is exchangeable in time (Yule-Walker).

    Parameters
    ----------
    increments : (component, interval)
        Centred.

    Returns
    -------
    (component, interval - 2)
    """
    products = pooled_autocovariance(increments[np.newaxis])[0, : _MEMORY + 1]
    if products[0] <= 0:
        return increments[:, _MEMORY:]
    # Pooled products of a finite series are positive definite: the equations have a solution.
    coefficients = scipy.linalg.solve_toeplitz(products[:-1], products[1:]).astype(np.float32)
    n = increments.shape[1]
    predicted = sum(
        coefficient * increments[:, _MEMORY - lag : n - lag]
        for lag, coefficient in enumerate(coefficients, start=1)
    )
    return np.asarray(increments[:, _MEMORY:] - predicted)


def _reordered(rows: NDArray[np.float32], orders: NDArray[np.int32]) -> NDArray[np.float32]:
    drawn: NDArray[np.float32] = np.take(rows, orders, axis=1)
    return np.moveaxis(drawn, 1, 0)


def _joined(parts: Sequence[tuple[Floats, ...]]) -> tuple[Floats, ...]:
    return tuple(np.concatenate(each) for each in zip(*parts, strict=True))


def _statistics(
    increments: NDArray[np.float32], news: NDArray[np.float32], along: NDArray[np.float32]
) -> tuple[Floats, ...]:
    products = pooled_autocovariance(increments)
    n = products.shape[-1]
    power = relative_periodogram(products)
    m = power.shape[-1]
    shares = power.cumsum(axis=-1) / m
    n_lags = min(20, n // 5)
    rho = products[:, 1 : n_lags + 1] / np.maximum(products[:, :1], 1e-300)
    return (
        np.abs(shares - np.arange(1, m + 1) / m).max(axis=-1) * m**0.5,
        power.max(axis=-1),
        n * (n + 2) * (rho**2 / (n - np.arange(1, n_lags + 1))).sum(axis=-1),
        power[:, : max(1, m // 10)].mean(axis=-1),
        power.min(axis=-1),
        power[:, :2].mean(axis=-1),
        variance_ratio(products),
        np.einsum("dcn,c->dn", increments, along) @ decays(n),
        noise_scale_statistic(news),
    )


@lru_cache(maxsize=8)
def decays(n: int) -> Floats:
    """Decaying exponentials of `RELAXATION_TIMES`, centred and of unit norm; (interval, decay)."""
    times = (np.arange(n) + 0.5)[:, np.newaxis] / (n * np.array(RELAXATION_TIMES))
    decays = np.exp(-times)
    decays -= decays.mean(axis=0)
    return np.asarray(decays / np.linalg.norm(decays, axis=0))


def squared_differences(increments: NDArray[np.floating]) -> Floats:
    """``v[t] = |y[t+1] - y[t]|^2 / 2``: the noise of two intervals, free of any slow drift.

    Parameters
    ----------
    increments : (draw, component, interval)

    Returns
    -------
    (draw, turn)
    """
    return np.asarray((np.diff(increments, axis=-1) ** 2).sum(axis=1, dtype=np.float64) / 2)


def noise_scale_statistic(increments: NDArray[np.floating]) -> Floats:
    """Largest CUSUM of the squared second differences over its long-run standard deviation.

    ``max_k |sum_{t<k} (v[t] - mean v)| / sqrt(m L)``, m values. The long-run variance L is that
    of the means of about twelve batches, about the means before and after the best k, so that a
    step does not hide itself; slow fluctuations of a cycle's amplitude do not look like one.

    Parameters
    ----------
    increments : (draw, component, interval)

    Returns
    -------
    (draw,)
    """
    values = squared_differences(increments)
    m = values.shape[-1]
    cusum, change = cumulative_excess(values)
    before = np.arange(m) < change[:, np.newaxis]
    residual = values - np.where(before, *_side_means(values, before))
    size = max(3, m // 12)
    batches = residual[:, : m // size * size].reshape(len(values), -1, size).sum(axis=-1)
    variance = (batches**2).mean(axis=-1) / size
    floor = 1e-9 * np.maximum((values**2).mean(axis=-1), 1e-300)
    return np.asarray(np.abs(cusum).max(axis=-1) / np.sqrt(m * np.maximum(variance, floor)))


def cumulative_excess(values: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """``sum_{t<k} (v[t] - mean v)``, k = 1..m-1, and the k of its largest size, per draw."""
    cusum = (values - values.mean(axis=-1, keepdims=True)).cumsum(axis=-1)[:, :-1]
    return cusum, np.abs(cusum).argmax(axis=-1) + 1


def _side_means(values: Floats, before: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    n_before = before.sum(axis=-1, keepdims=True)
    head = (values * before).sum(axis=-1, keepdims=True)
    total = values.sum(axis=-1, keepdims=True)
    return head / n_before, (total - head) / (values.shape[-1] - n_before)
