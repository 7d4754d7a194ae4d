"""The null of increments that are exchangeable in time: their statistics in random orders."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.inference.nulls.draws import over_batches, permutations, signs
from trajscope.inference.statistics.increments import (
    asymmetries,
    decays,
    mean_reversion,
    relative_periodogram,
    variance_ratio,
)
from trajscope.inference.statistics.noise import noise_scale_statistic
from trajscope.inference.statistics.redrawn import CACHED, redrawable
from trajscope.kernels.gram import Floats

MOST_NUMBERS: Final = 1 << 22
"""That are drawn anew; larger windows are drawn in fewer directions."""


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
    drawn, length = redrawable(increments, course, most, seed)
    size = drawn.rows.size
    # A few at a time, so that what is transformed stays in the cache.
    at_once = max(1, CACHED // size)

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
