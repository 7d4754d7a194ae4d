"""Whether averages over windows look like a river more, or less, than reordered increments do."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.nulls.draws import over_batches, permutations
from trajscope.inference.statistics.brownian import p_value
from trajscope.kernels.gram import Floats
from trajscope.kernels.river import River, rivers_of_increments, window_lengths

NUMBERS: Final = ("river_share", "river_cosine", "hill_energy", "river_speed")
"""The fields of `River`, as the observables call them."""
_AT_ONCE: Final = 1 << 18
"""Numbers of permuted paths that are in memory at once."""


def draw_river(increments: Floats, n_draws: int, seed: int) -> Floats:
    """The numbers of `River` of the data (draw 0), and of the path of permuted increments.

    Under the null the increments are exchangeable in time: Brownian motion of any covariance and
    any drift. Averages of such a path have a leading component and positive cosines too.

    Parameters
    ----------
    increments : (interval, component)

    Returns
    -------
    (draw, number, window length)
        In the order of `NUMBERS` and of `window_lengths`; the latter may be empty.
    """
    scale = float(np.abs(increments).max()) or 1
    rows = (increments / scale).astype(np.float32)  # a draw is a rank, and takes half the time
    lengths = window_lengths(len(rows) + 1)

    def numbers(some: NDArray[np.integer]) -> Floats:
        found = rivers_of_increments(rows, some)
        parts = [[getattr(each, name) for each in found] for name in River._fields]
        shape = (len(NUMBERS), len(lengths), len(some))
        return np.moveaxis(np.array(parts, float).reshape(shape), -1, 0)

    def draw(batch: int, count: int) -> Floats:
        orders = permutations(seed, batch, len(rows))[:count]
        width = max(_AT_ONCE // max(rows.size, 1), 1)
        return np.concatenate([numbers(orders[at : at + width]) for at in range(0, count, width)])

    as_it_is = numbers(np.arange(len(rows))[np.newaxis])
    return np.concatenate([as_it_is, *over_batches(draw, n_draws, rows.size)])


def river_p_values(draws: Floats) -> tuple[Floats, Floats]:
    """Two-sided p of every number and window length, and of every number over all lengths.

    ``p = (1 + draws at least as far from the mean) / (1 + draws)``, in standard deviations of the
    draws; over all lengths by the farthest (maxT), and of layers over all layers too.

    Parameters
    ----------
    draws : (group, draw, number, window length)
        All weights first, then the layers, with the same permutations.

    Returns
    -------
    (group, number, window length), (group, number)
        NaN where the draws do not vary, and without window lengths.
    """
    n_groups, _, n_numbers, n_lengths = draws.shape
    each = np.full((n_groups, n_numbers, n_lengths), np.nan)
    of_all = np.full((n_groups, n_numbers), np.nan)
    if not n_lengths:
        return each, of_all
    middle, spread = draws.mean(axis=1, keepdims=True), draws.std(axis=1, keepdims=True)
    varies = np.isfinite(spread) & (spread > 1e-9 * np.abs(middle))
    far = np.where(varies, np.abs(draws - middle) / np.where(varies, spread, 1), -np.inf)
    farthest = far.max(axis=-1)
    for group, number in np.argwhere(varies[:, 0].any(axis=-1)):
        known = np.flatnonzero(varies[group, 0, number])
        each[group, number, known] = [p_value(far[group, :, number, place]) for place in known]
        beside = farthest[1:] if group else farthest[:1]
        own = farthest[group, :1, number]
        of_all[group, number] = p_value(np.append(own, beside[:, 1:, number].max(axis=0)))
    return each, of_all
