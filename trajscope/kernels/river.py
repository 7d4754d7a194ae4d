"""Averages over windows of checkpoints, the river, and what is left about them, the hills."""

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats

FEWEST: Final = 8
"""Averages of a path, for a leading component to say something."""
MOST: Final = 64
"""Averages: of more, windows are too short to average anything out."""
_AT_ONCE: Final = 1 << 17
"""Numbers of paths that are merged at once, so that they stay in the cache."""
_BY_PRODUCT: Final = 16
"""Checkpoints that are merged by a product: more make it longer than merging in pairs."""


class River(NamedTuple):
    """Numbers of the averages over windows of one length, or of several, (..., window).

    Attributes
    ----------
    share :
        Of the variance of the averages, along their first principal component.
    cosine :
        Mean cosine between successive steps from average to average.
    energy :
        Of the hills: mean squared distance of a checkpoint from its average, squared weight units.
    speed :
        Mean distance from average to average, over the length of a window, weight units.
    """

    share: Floats
    cosine: Floats
    energy: Floats
    speed: Floats


def window_lengths(n_steps: int) -> list[int]:
    """Powers of two, so many checkpoints each, that leave from 8 to 64 averages of a run."""
    powers = [2**k for k in range(1, n_steps.bit_length())]
    return [w for w in powers if FEWEST <= n_steps // w <= MOST]


def river_of_gram(displacements: Floats, length: int) -> River:
    """River and hills from the inner products of positions about any origin.

    ``a_j = mean of x_t over window j``; ``energy = mean |x_t - a_j(t)|^2``. Checkpoints behind the
    last whole window are left out.

    Parameters
    ----------
    displacements : (step, step)
    length :
        w, checkpoints of a window; windows do not overlap.
    """
    n = len(displacements) // length
    kept = displacements[: n * length, : n * length]
    averages = kept.reshape(n, length, n, length).mean(axis=(1, 3))
    return river_of_averages(averages, float(np.trace(kept)) / (n * length), length)


def rivers_of_increments(
    increments: NDArray[np.floating], orders: NDArray[np.integer]
) -> list[River]:
    """The same of all lengths in `window_lengths`, of paths with these increments in any order.

    Windows are merged in pairs, from single checkpoints on: of two halves with averages a and b,
    the squared distances about the average of both are those about a and b, and ``w/4 |a - b|^2``.
    So no position is computed for each checkpoint, and a drift takes no digits.

    Parameters
    ----------
    increments : (interval, component)
        In the dtype in which windows are merged.
    orders : (path, interval)

    Returns
    -------
    list of River
        Fields are (path,).
    """
    n_steps = len(increments) + 1
    lengths = window_lengths(n_steps)
    if not lengths:
        return []
    rows = np.concatenate([increments, np.zeros_like(increments[:1])])
    orders = np.pad(orders, ((0, 0), (0, 1)), constant_values=n_steps - 1)
    span = lengths[0] * max(_AT_ONCE // (lengths[0] * len(orders) * rows.shape[1]), 1)
    stop = n_steps // lengths[0] * lengths[0]
    parts = [
        _windows(rows, orders[:, start : min(start + span, stop)], lengths[0])
        for start in range(0, stop, span)
    ]
    windows = _Windows(*(np.concatenate(each, axis=1) for each in zip(*parts, strict=True)))
    found = [windows.river(lengths[0])]
    for length in lengths[1:]:
        windows = windows.pairs(length)
        found.append(windows.river(length))
    return found


class _Windows(NamedTuple):
    """Windows of paths: increments, averages from where each starts, squared distances from those.

    ``(path, window, component)`` twice, ``(path, window)``.
    """

    moved: Floats
    means: Floats
    squares: Floats

    def pairs(self, length: int) -> "_Windows":
        """Windows of two of these, so many checkpoints each."""
        n = self.moved.shape[1] // 2 * 2
        one, other = (_Windows(*(each[:, k:n:2] for each in self)) for k in (0, 1))
        apart = one.moved + other.means
        apart -= one.means
        squares = one.squares + other.squares
        squares += length / 4 * np.einsum("pwc,pwc->pw", apart, apart)
        apart *= 0.5
        apart += one.means
        return _Windows(one.moved + other.moved, apart, squares)

    def river(self, length: int) -> River:
        """What follows from their averages."""
        averages = np.cumsum(self.moved, axis=1, dtype=np.float64)
        averages += self.means - self.moved
        averages -= averages.mean(axis=1, keepdims=True)
        products = averages @ averages.swapaxes(-1, -2)
        return _river(products, self.squares.mean(axis=1, dtype=np.float64) / length, length)


def _windows(rows: NDArray[np.floating], orders: NDArray[np.integer], length: int) -> _Windows:
    """Windows of a power of two checkpoints, of the increments in `orders`, (path, interval).

    The first few checkpoints are merged by one product with a matrix, the others in pairs.
    """
    first = min(length, _BY_PRODUCT)
    blocks = orders.reshape(len(orders), -1, first)
    increments = rows.take(np.moveaxis(blocks, -1, 0), axis=0)  # (within a window, path, window, .)
    weights = _within(first).astype(rows.dtype)
    products = weights @ increments.reshape(first, -1)
    apart, (moved, means) = np.split(products.reshape(-1, *increments.shape[1:]), [first])
    windows = _Windows(moved, means, np.einsum("tpwc,tpwc->pw", apart, apart))
    while (first := 2 * first) <= length:
        windows = windows.pairs(first)
    return windows


def _within(length: int) -> Floats:
    """What the increments of a window give, (number, interval).

    Its positions about their average, one after another, where it ends, and its average from where
    it starts. The last increment leads to the next window.
    """
    positions = np.tri(length, length, -1)
    average = positions.mean(axis=0)
    return np.vstack([positions - average, np.ones(length), average])


def river_of_averages(averages: Floats, squared: Floats | float, length: int) -> River:
    """The same from the inner products of averages, about any origin.

    Parameters
    ----------
    averages : (..., average, average)
    squared : (...)
        Mean squared length of the positions that were averaged, about the same origin.
    """
    own = np.einsum("...jj->...j", averages)
    return _river(averages, np.maximum(squared - own.mean(axis=-1), 0.0), length)


def _river(averages: Floats, energy: Floats, length: int) -> River:
    """The same from the inner products of averages and the energy of the hills."""
    rows = averages.mean(axis=-1, keepdims=True)
    centred = averages - rows - rows.swapaxes(-1, -2) + rows.mean(axis=-2, keepdims=True)
    total = np.einsum("...jj->...", centred)
    largest = np.linalg.eigvalsh(centred)[..., -1]
    share = np.where(total > 0, largest / np.where(total > 0, total, 1), np.nan)
    steps = np.diff(np.diff(averages, axis=-1), axis=-2)
    lengths = np.sqrt(np.maximum(np.einsum("...jj->...j", steps), 0.0))
    products = np.diagonal(steps, offset=1, axis1=-2, axis2=-1)
    both = lengths[..., :-1] * lengths[..., 1:]
    cosines = np.where(both > 0, products / np.where(both > 0, both, 1), 0.0)
    return River(
        share, np.clip(cosines, -1, 1).mean(axis=-1), energy, lengths.mean(axis=-1) / length
    )


def average_gram(displacements: Floats) -> Floats:
    """Inner products of averages over windows of every length, additive over weights.

    Parameters
    ----------
    displacements : (step, weight)
        From the first step.

    Returns
    -------
    (window length, average, average)
        Of each length in the order of `window_lengths`; zero behind its last average.
    """
    lengths = window_lengths(len(displacements))
    found = np.zeros((len(lengths), MOST, MOST))
    before, means = 1, displacements
    for place, length in enumerate(lengths):
        n = len(displacements) // length
        several = length // before  # averages of averages over shorter windows
        means = means[: n * several].reshape(n, several, -1).mean(axis=1)
        found[place, :n, :n] = means @ means.T
        before = length
    return found


def brownian_river(n_steps: int, length: int) -> River:
    """The same of Brownian motion in many directions, whose increments have unit length.

    From the expected inner products of its averages, ``w i + (w - 1) / 2`` of window i and a later
    one, ``w i + (w - 1) (2 w - 1) / 6 w`` of window i and itself; in so many directions that
    squared lengths and products are their expectations. Energy: ``(w - 1/w) / 6``. For long
    windows, cosine: 1/4.
    """
    n = n_steps // length
    first = length * np.arange(n, dtype=np.float64)
    averages = np.minimum(first, first[:, np.newaxis]) + (length - 1) / 2
    np.fill_diagonal(averages, first + (length - 1) * (2 * length - 1) / (6 * length))
    return river_of_averages(averages, (n * length - 1) / 2, length)
