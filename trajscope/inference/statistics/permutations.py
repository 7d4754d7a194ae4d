"""The null of increments that are exchangeable in time: their statistics in random orders."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from trajscope.inference.nulls.draws import over_batches, permutations, signs
from trajscope.inference.statistics.increments import (
    asymmetries,
    autocovariance_of,
    decays,
    mean_reversion,
    pooled_power,
    relative_periodogram,
    variance_ratio,
)
from trajscope.inference.statistics.noise import (
    innovations,
    noise_scale_statistic,
    squared_differences,
)
from trajscope.kernels.gram import Floats

Singles = NDArray[np.float32]
Redrawn = tuple[Floats, Floats, Floats]
"""Products (draw, lag), progress (draw, interval), squared differences (draw, turn)."""

_CACHED: Final = 1 << 18
"""Numbers of single precision that are transformed at a time."""
_TOGETHER: Final = 8
"""Components that are transformed together at least: what one instruction takes."""
_LONGEST_GRAM: Final = 512
"""Intervals beyond which a Gram matrix leaves the cache."""
MOST_NUMBERS: Final = 1 << 22
"""That are drawn anew; larger windows are drawn in fewer directions."""
_FEWEST: Final = 64
"""Directions."""
_DIRECTIONS: Final = 11
"""Of the generator, beside the seed."""
_WORTH_A_GRAM: Final = 6
"""Intervals for every component, up to which a Gram matrix is faster than transforms."""


@dataclass(frozen=True)
class IncrementDraws:
    """Statistics of the data (draw 0) and of every draw of the null.

    Attributes
    ----------
    kolmogorov, fisher, ljung_box, low_power : (draw,)
        See `brownian.omnibus`.
    least_power : (draw,)
        Smallest relative power of any frequency; `fisher` is the largest.
    lowest_power : (draw,)
        Mean relative power of the two lowest frequencies.
    variance_ratio : (draw, scale)
    mean_reversion : (draw,)
    relaxation : (draw, decay)
        Movement along the net displacement that comes early.
    asymmetry : (draw, decay)
        That which comes early rather than late.
    noise_scale : (draw,)
        Largest standardised CUSUM of the logarithms of squared differences; `noise`.
    """

    kolmogorov: Floats
    fisher: Floats
    ljung_box: Floats
    low_power: Floats
    least_power: Floats
    lowest_power: Floats
    variance_ratio: Floats
    mean_reversion: Floats
    relaxation: Floats
    asymmetry: Floats
    noise_scale: Floats


@dataclass(frozen=True)
class _Components:
    """Increments by component, transformed anew in every draw.

    Attributes
    ----------
    rows, news : (component, interval)
        Centred increments, and their innovations.
    progress : (interval,)
        Increments along the net displacement.
    course : (interval, function)
        Orthonormal functions that every order leaves out again, if there are any.
    """

    rows: Singles
    news: Singles
    progress: Floats
    course: Singles | None = None

    def permuted(self, orders: NDArray[np.int32]) -> Redrawn:
        """In other orders, (draw, interval)."""
        fewer = _fewer(orders, self.news.shape[1])
        power, differences = [], []
        for some in self._cached(len(orders)):
            drawn = _reordered(self.rows[some], orders)
            if self.course is not None:
                drawn -= (drawn @ self.course) @ self.course.T
            power.append(pooled_power(drawn))
            differences.append(squared_differences(_reordered(self.news[some], fewer)))
        return self._summed(power), self.progress[orders], sum(differences)

    def flipped(self, coins: Singles) -> Redrawn:
        """With other signs, (draw, interval), and without the mean that these leave."""
        fewer = coins[:, np.newaxis, : self.news.shape[1]]
        power, differences = [], []
        for some in self._cached(len(coins)):
            drawn = self.rows[some] * coins[:, np.newaxis]
            drawn -= drawn.mean(axis=-1, keepdims=True)
            power.append(pooled_power(drawn))
            differences.append(squared_differences(self.news[some] * fewer))
        progress = self.progress * coins
        progress -= progress.mean(axis=-1, keepdims=True)
        return self._summed(power), progress, sum(differences)

    def _summed(self, power: list[Floats]) -> Floats:
        """Products (draw, lag) of all components, from the power of some at a time."""
        return autocovariance_of(sum(power), self.rows.shape[1])

    def _cached(self, n_draws: int) -> list[slice]:
        """Some components at a time, so that what is made of them stays in the cache."""
        count, n = self.rows.shape
        some = max(_TOGETHER, _CACHED // (n_draws * n))
        return [slice(start, start + some) for start in range(0, count, some)]


@dataclass(frozen=True)
class _Gram:
    """The same from inner products: ten times faster for many components of a short window.

    Attributes
    ----------
    rows, news : (interval, interval)
        Inner products of the centred increments, and of their innovations.
    progress : (interval,)
    course : (interval, function)
        Orthonormal functions that every order leaves out again, if there are any.
    """

    rows: Singles
    news: Singles
    progress: Floats
    course: Singles | None = None

    def permuted(self, orders: NDArray[np.int32]) -> Redrawn:
        """In other orders, (draw, interval)."""
        fewer = _fewer(orders, len(self.news))
        squares = self.news.diagonal()[fewer].astype(np.float64)
        beside = self.news[fewer[:, :-1], fewer[:, 1:]]
        grams = (self.rows.take(order, axis=0).take(order, axis=1) for order in orders)
        if self.course is not None:
            grams = (_without(self.course, gram) for gram in grams)
        return (
            diagonal_sums(grams, self.rows.shape),
            self.progress[orders],
            (squares[:, 1:] + squares[:, :-1]) / 2 - beside,
        )

    def flipped(self, coins: Singles) -> Redrawn:
        """With other signs, (draw, interval), and without the mean that these leave."""
        m = len(self.news)
        squares = self.news.diagonal().astype(np.float64)
        beside = self.news.diagonal(1) * coins[:, : m - 1] * coins[:, 1:m]
        progress = self.progress * coins
        return (
            diagonal_sums((_centred(self.rows * np.outer(c, c)) for c in coins), self.rows.shape),
            progress - progress.mean(axis=-1, keepdims=True),
            (squares[1:] + squares[:-1]) / 2 - beside,
        )


def draw_increments(
    increments: Floats,
    n_draws: int,
    seed: int,
    *,
    flip: bool = False,
    course: Floats | None = None,
    most: int = MOST_NUMBERS,
) -> IncrementDraws:
    """Statistics of centred increments, and of `n_draws` draws of their null.

    Under the null the increments are exchangeable in time, whatever their covariance between
    weights: every order of them is as likely. Where their scale changes they are not, but their
    signs can be flipped; the mean is then taken off again.

    Long windows of many numbers are drawn in fewer random directions of weight space, at least 64
    and the same in every order: exchangeable increments stay so in any of them, so the p-values
    stay exact, and products that are pooled over weights keep their mean (Johnson & Lindenstrauss
    1984, doi:10.1090/conm/026/737400). In k directions noise of participation ratio r scatters as
    noise of 1 / (1/r + 1/k) equal weights.

    Parameters
    ----------
    increments : (interval, component)
        Centred or not; any basis of weight space.
    flip :
        Flip signs instead of permuting.
    course : (interval, function)
        Orthonormal functions of time, the constant among them, that are taken off the increments
        and off every order of what is left (Freedman & Lane 1983,
        doi:10.1080/07350015.1983.10509354); only with permutations.
    most :
        Numbers of a window, above 512 intervals, from which it is drawn in fewer directions.
    """
    n = len(increments)
    rows, progress, length = _rows(increments, course)
    drawn = _redrawable(_in_fewer_directions(rows, most, seed), progress, course)
    size = min(rows.size, max(most, _FEWEST * n))
    # A few at a time, so that what is transformed stays in the cache.
    at_once = max(1, _CACHED // size)

    def redrawn(batch: int, count: int) -> list[tuple[Floats, ...]]:
        parts = [slice(start, min(start + at_once, count)) for start in range(0, count, at_once)]
        if flip:
            coins = signs(seed, batch, n)
            return [_statistics(*drawn.flipped(coins[part]), length) for part in parts]
        orders = permutations(seed, batch, n)
        return [_statistics(*drawn.permuted(orders[part]), length) for part in parts]

    unmoved = np.arange(n, dtype=np.int32)[np.newaxis]
    found = [_statistics(*drawn.permuted(unmoved), length)]
    found += [part for batch in over_batches(redrawn, n_draws, size) for part in batch]
    return IncrementDraws(*(np.concatenate(each) for each in zip(*found, strict=True)))


def _rows(increments: Floats, course: Floats | None) -> tuple[Singles, Floats, float]:
    """Increments without their mean, or their course, over the largest of them.

    Some intervals at a time: the increments of a long window are most of the memory.

    Returns
    -------
    (component, interval); (interval,), those along the net displacement; and its length
    """
    n, n_components = increments.shape
    mean = increments.mean(axis=0)
    net = n * mean
    weights = None if course is None else course.T @ increments
    if course is not None:
        net = net - course.sum(axis=0) @ weights
    rows, progress = np.empty((n_components, n), np.float32), np.empty(n)
    some = max(1, _CACHED // n_components)
    parts = [slice(start, start + some) for start in range(0, n, some)]

    def centred(part: slice) -> Floats:
        if course is None:
            return increments[part] - mean
        return np.asarray(increments[part] - course[part] @ weights)

    scale = max(float(np.abs(centred(part)).max()) for part in parts) or 1.0
    length = float(np.linalg.norm(net)) / scale
    direction = net / scale / (length or 1)
    for part in parts:
        scaled = centred(part) / scale
        rows[:, part], progress[part] = scaled.T, scaled @ direction
    return rows, progress, length


def diagonal_sums(matrices: Iterable[Singles], shape: tuple[int, ...]) -> Floats:
    """``c[h] = sum_t G[t, t+h]``, h = 0..n-1, of Gram matrices of this shape, (draw, lag)."""
    n = shape[0]
    padded = np.zeros((n, 2 * n), np.float32)
    step = padded.strides[1]
    # Row t of this view begins on the diagonal, and ends in zeros.
    skewed = as_strided(padded, (n, n), ((2 * n + 1) * step, step))
    sums = []
    for matrix in matrices:
        padded[:, :n] = matrix
        sums.append(skewed.sum(axis=0, dtype=np.float64))
    return np.array(sums)


def _in_fewer_directions(rows: Singles, most: int, seed: int) -> Singles:
    """Increments in random directions where there are too many numbers, (direction, interval)."""
    n_components, n = rows.shape
    kept = max(_FEWEST, most // n)
    if kept >= n_components or n <= _LONGEST_GRAM:
        return rows
    rng = np.random.default_rng([seed, _DIRECTIONS])
    turned = rng.standard_normal((kept, n_components), dtype=np.float32) / np.float32(kept) ** 0.5
    return np.asarray(turned @ rows, np.float32)


def _redrawable(rows: Singles, progress: Floats, course: Floats | None) -> _Components | _Gram:
    news = innovations(rows)
    n_components, n = rows.shape
    single = None if course is None else course.astype(np.float32)
    if n <= min(_WORTH_A_GRAM * n_components, _LONGEST_GRAM):
        return _Gram(rows.T @ rows, news.T @ news, progress, single)
    return _Components(rows, news, progress, single)


def _without(course: Singles, gram: Singles) -> Singles:
    """Inner products once functions of time are taken off."""
    left = gram - course @ (course.T @ gram)
    return np.asarray(left - (left @ course) @ course.T)


def _fewer(orders: NDArray[np.int32], n: int) -> NDArray[np.int32]:
    """What is left of a random order without some numbers: a random order of the others."""
    return orders[orders < n].reshape(len(orders), -1)


def _reordered(rows: Singles, orders: NDArray[np.int32]) -> Singles:
    drawn: Singles = np.take(rows, orders, axis=1)
    return np.moveaxis(drawn, 1, 0)


def _centred(gram: Singles) -> Singles:
    """Inner products once the mean increment is taken off."""
    mean = gram.mean(axis=0, keepdims=True)
    return np.asarray(gram - mean - mean.T + mean.mean())


def _statistics(
    products: Floats, progress: Floats, differences: Floats, net: float
) -> tuple[Floats, ...]:
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
        mean_reversion(products, progress, net),
        progress @ decays(n),
        progress @ asymmetries(n),
        noise_scale_statistic(differences),
    )
