"""What is compared of a run: sums over blocks of its increments, and what follows from them."""

import math
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Final

import numpy as np
import scipy.fft
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats

N_BLOCKS: Final = 8
"""Of the shorter of two runs: as few as still give thousands of ways to exchange blocks."""
MOST_BLOCKS: Final = 64
MOST_BANDS: Final = 6
_LEAST: Final = 1e-3
"""Of a ratio or a relative power, before its logarithm is taken."""


@dataclass(frozen=True)
class Shape:
    """What is summed of the blocks of two runs, the same for both.

    Attributes
    ----------
    length :
        Intervals of a block; also the number of lags.
    """

    length: int

    @property
    def scales(self) -> NDArray[np.int64]:
        """Scales q of the variance ratio, (scale,): 2, 4, 8, ... and the length of a block."""
        powers = 2 ** np.arange(1, int(np.log2(self.length)) + 1)
        return np.union1d(powers, [self.length])

    @property
    def n_bands(self) -> int:
        """Bands of the spectrum."""
        return min(MOST_BANDS, self.length)

    @cached_property
    def weights(self) -> Floats:
        """Of the products at each lag in the sums of a block, (lag, sum).

        First lag 0. Then ``1, 2 (1 - h/q)``, of which the variance ratio is made
        (`increments.variance_ratio`). Then ``1, 2 (1 - h/L) cos(pi h (k + 1/2) / K)``, of which
        the power in K bands of equal width from 0 to half a cycle per interval is made: a Bartlett
        window of L lags, at the middle of each band.
        """
        lags = np.arange(self.length)[:, np.newaxis]
        ratios = 2.0 * np.maximum(1 - lags / self.scales, 0)
        middles = np.pi * (np.arange(self.n_bands) + 0.5) / self.n_bands
        powers = 2 * (1 - lags / self.length) * np.cos(lags * middles)
        ratios[0], powers[0] = 1, 1
        return np.concatenate([(lags == 0).astype(np.float64), ratios, powers], axis=1)

    @property
    def columns(self) -> dict[str, slice]:
        """Which of the sums are of which quantity."""
        n = 1 + len(self.scales)
        return {
            "increment_variance": slice(0, 1),
            "variance_ratio": slice(1, n),
            "spectrum_shape": slice(n, n + self.n_bands),
        }

    def logarithms(self, sums: Floats) -> Floats:
        """Of the increment variance, the variance ratios and the relative powers.

        Parameters
        ----------
        sums : (..., sum)
            Over blocks, per interval.
        """
        variance = np.maximum(sums[..., :1], 1e-300)
        shares = np.log(np.maximum(sums[..., 1:] / variance, _LEAST))
        return np.concatenate([np.log(variance), shares], axis=-1)


@dataclass(frozen=True)
class Blocks:
    """The increments of one group of a run, cut into blocks of about one length.

    Attributes
    ----------
    lengths : (block,)
        Intervals.
    lagged : (block, lag)
        Sums of ``<y[t], y[t+h]>`` over the t of each block.
    crossed : (block, block)
        Inner products of the displacements during the blocks.
    """

    lengths: Floats
    lagged: Floats
    crossed: Floats

    @cached_property
    def products(self) -> Floats:
        """`lagged` without the drift's share: of each block, by its products with others.

        Their mean over blocks is that of `drifts`. A block's own part of it is spread by the root
        of two, for products are shared by two blocks: without a drift their mean scatters twice as
        much as independent numbers would.
        """
        products, weights = self._apart
        own = products.sum(axis=1) / weights.sum(axis=1)
        drift = self.drifts[-1]
        return np.asarray(
            self.lagged - (self.lengths * (drift + math.sqrt(2) * (own - drift)))[:, np.newaxis]
        )

    @cached_property
    def drifts(self) -> Floats:
        """Squared mean increment without each block in turn, and at last with all, (block + 1,).

        ``mean of <s[j], s[k]> / (n[j] n[k])`` over blocks j, k that are no neighbours, s their
        displacements and n their lengths: unbiased, since noise of different blocks averages out.
        """
        products, weights = self._apart
        without = products.sum() - 2 * products.sum(axis=0)
        norms = weights.sum() - 2 * weights.sum(axis=0)
        return np.append(without / norms, products.sum() / weights.sum())

    @cached_property
    def _apart(self) -> tuple[Floats, Floats]:
        """`crossed` of blocks that are no neighbours, else 0, and products of their lengths."""
        number = np.arange(len(self.lengths))
        apart = np.abs(np.subtract.outer(number, number)) > 1
        lengths = np.multiply.outer(self.lengths, self.lengths)
        return np.where(apart, self.crossed, 0.0), np.where(apart, lengths, 0.0)

    @property
    def memory(self) -> float:
        """Intervals over which squares of increments are alike: ``1 + 2 sum_h rho[h]^2``.

        Summed to the first lag that is five times the sum so far (Sokal 1997,
        doi:10.1007/978-1-4899-0319-8_6).
        """
        covariance = self.products.sum(axis=0)
        if covariance[0] <= 0:
            return 1.0
        times = 2 * np.cumsum((covariance / covariance[0]) ** 2) - 1
        ends = np.flatnonzero(np.arange(len(times)) >= 5 * times)
        return float(times[ends[0]] if ends.size else times[-1])


def blocks_of_gram(gram: Floats, length: int) -> Blocks:
    """Blocks of about `length` intervals, from the inner products of the increments.

    What lies at most as far behind the last block is only looked ahead to, so that every lag has
    as many products.

    Parameters
    ----------
    gram : (interval, interval)
    """
    edges = _edges(len(gram), length)
    lagged = np.empty((len(edges) - 1, length))
    for block, (start, stop) in enumerate(pairwise(edges)):
        rows = np.ascontiguousarray(gram[start:stop, start : stop + length], dtype=np.float64)
        down, across = rows.strides
        # Row t of this view begins on the diagonal.
        lagged[block] = as_strided(rows, (stop - start, length), (down + across, across)).sum(
            axis=0
        )
    used = np.asarray(gram[: edges[-1], : edges[-1]], dtype=np.float64)
    crossed = np.add.reduceat(np.add.reduceat(used, edges[:-1], axis=0), edges[:-1], axis=1)
    return Blocks(np.diff(edges).astype(np.float64), lagged, crossed)


def blocks_of_factor(increments: NDArray[np.floating], length: int) -> Blocks:
    """The same from the increments in any basis of weight space, (interval, component)."""
    edges = _edges(len(increments), length)
    largest = float(np.abs(increments).max(initial=0.0)) or 1.0
    scaled = np.asarray(increments, dtype=np.float64) / largest
    lagged = np.empty((len(edges) - 1, length))
    for block, (start, stop) in enumerate(pairwise(edges)):
        ahead = scaled[start : stop + length]
        size = scipy.fft.next_fast_len(len(ahead) + stop - start, real=True)
        here = scipy.fft.rfft(scaled[start:stop], size, axis=0)
        both = scipy.fft.rfft(ahead, size, axis=0)
        lagged[block] = scipy.fft.irfft((here.conj() * both).sum(axis=1), size)[:length]
    sums = np.add.reduceat(scaled[: edges[-1]], edges[:-1], axis=0)
    square = largest**2
    return Blocks(np.diff(edges).astype(np.float64), lagged * square, sums @ sums.T * square)


def _edges(n: int, length: int) -> NDArray[np.int64]:
    """First interval of every block, and the end of the last."""
    n_blocks = min(max(round((n - length) / length), 1), MOST_BLOCKS)
    return np.linspace(0, n - length, n_blocks + 1).round().astype(np.int64)


def pseudo_values(sums: Floats, lengths: Floats, shape: Shape) -> Floats:
    """``P[j] = m s - (m - 1) s[-j]``, s of all m blocks, s[-j] of all but j (jackknife).

    Their mean estimates s with less bias, and they scatter about it nearly as independent numbers
    do. Quenouille 1956, doi:10.1093/biomet/43.3-4.353.

    Parameters
    ----------
    sums : (..., block, sum)
    lengths : (..., block)

    Returns
    -------
    (..., block, sum)
    """
    m = sums.shape[-2]
    total, length = sums.sum(axis=-2, keepdims=True), lengths.sum(axis=-1)[..., None, None]
    whole = shape.logarithms(total / length)
    without = shape.logarithms((total - sums) / (length - lengths[..., None]))
    return np.asarray(m * whole - (m - 1) * without)


def drift_pseudo_values(blocks: Blocks) -> Floats:
    """The same of the squared drift over the increment variance, (block, 1)."""
    squares, lengths = blocks.products[:, 0], blocks.lengths
    total, length, m = squares.sum(), lengths.sum(), len(squares)
    variances = np.append((total - squares) / (length - lengths), total / length)
    shares = blocks.drifts / np.maximum(variances, 1e-300)
    return np.asarray((m * shares[-1] - (m - 1) * shares[:-1])[:, np.newaxis])
