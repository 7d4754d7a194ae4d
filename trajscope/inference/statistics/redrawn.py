"""Increments put in another order, or with other signs: by component, or by inner products."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from trajscope.inference.statistics.increments import autocovariance_of, pooled_power
from trajscope.inference.statistics.noise import innovations, squared_differences
from trajscope.kernels.gram import Floats

Singles = NDArray[np.float32]
Redrawn = tuple[Floats, Floats, Floats]
"""Products (draw, lag), progress (draw, interval), squared differences (draw, turn)."""
CACHED: Final = 1 << 18
"""Numbers of single precision that are transformed at a time."""
_TOGETHER: Final = 8
"""Components that are transformed together at least: what one instruction takes."""
_LONGEST_GRAM: Final = 512
"""Intervals beyond which a Gram matrix leaves the cache."""
_FEWEST: Final = 64
"""Directions."""
_DIRECTIONS: Final = 11
"""Of the generator, beside the seed."""
_WORTH_A_GRAM: Final = 6
"""Intervals for every component, up to which a Gram matrix is faster than transforms."""


@dataclass(frozen=True)
class Components:
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
        return self._summed(power), self.progress[orders], np.sum(differences, axis=0)

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
        return self._summed(power), progress, np.sum(differences, axis=0)

    def _summed(self, power: list[Floats]) -> Floats:
        """Products (draw, lag) of all components, from the power of some at a time."""
        return autocovariance_of(np.sum(power, axis=0), self.rows.shape[1])

    def _cached(self, n_draws: int) -> list[slice]:
        """Some components at a time, so that what is made of them stays in the cache."""
        count, n = self.rows.shape
        some = max(_TOGETHER, CACHED // (n_draws * n))
        return [slice(start, start + some) for start in range(0, count, some)]


@dataclass(frozen=True)
class Gram:
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


def redrawable(
    increments: Floats, course: Floats | None, most: int, seed: int
) -> tuple[Components | Gram, float]:
    """Increments without their mean, or course, to be put in other orders; net displacement.

    Over the largest of them; see `permutations.draw_increments`.
    """
    rows, progress, length = _rows(increments, course)
    rows = in_fewer_directions(rows, most, seed)
    news = innovations(rows)
    n_components, n = rows.shape
    single = None if course is None else course.astype(np.float32)
    if n <= min(_WORTH_A_GRAM * n_components, _LONGEST_GRAM):
        return Gram(rows.T @ rows, news.T @ news, progress, single), length
    return Components(rows, news, progress, single), length


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
    functions = np.zeros((n, 0)) if course is None else course
    weights = functions.T @ increments
    if course is not None:
        net = net - functions.sum(axis=0) @ weights
    rows, progress = np.empty((n_components, n), np.float32), np.empty(n)
    some = max(1, CACHED // n_components)
    parts = [slice(start, start + some) for start in range(0, n, some)]

    def centred(part: slice) -> Floats:
        if course is None:
            return np.asarray(increments[part] - mean)
        return np.asarray(increments[part] - functions[part] @ weights)

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


def in_fewer_directions(rows: Singles, most: int, seed: int) -> Singles:
    """Increments in random directions where there are too many numbers, (direction, interval)."""
    n_components, n = rows.shape
    kept = max(_FEWEST, most // n)
    if kept >= n_components or n <= _LONGEST_GRAM:
        return rows
    rng = np.random.default_rng([seed, _DIRECTIONS])
    turned = rng.standard_normal((kept, n_components), dtype=np.float32) / np.float32(kept) ** 0.5
    return np.asarray(turned @ rows, np.float32)


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
