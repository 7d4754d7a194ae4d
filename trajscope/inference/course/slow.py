"""The course of a path: the slow functions of time that its increments or its positions follow."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import scipy.fft
import scipy.linalg

from trajscope.inference.course.clock import time_bases
from trajscope.inference.nulls.autoregression import fit, simulate
from trajscope.inference.nulls.draws import n_batches, normals, permutations, signs
from trajscope.inference.statistics.brownian import p_value
from trajscope.inference.statistics.components import MOST_MODES, leading
from trajscope.kernels.gram import Floats

MOST_FUNCTIONS: Final = 16
_LEVEL: Final = 0.01
_DRAWS: Final = 399
_MOST_SEARCHED: Final = 1000
_MANY: Final = 100
"""Modes among which a course of positions is looked for."""


@dataclass(frozen=True)
class Slow:
    """Slow functions that increments follow.

    Attributes
    ----------
    functions : (interval, function)
        Orthonormal; none where nothing slow was found.
    basis : (interval, function)
        The family they are the first of, to go on with.
    time_constant : int
        Constant c of the family's time ``log(1 + c t/n)``; 0 where it is linear, negative where
        the family is one of relaxations, ``exp(c t/n)``.
    p_value :
        Of the first functions, among random orders.
    is_whole :
        Whether further functions would explain no more than in random orders, and the search did
        not end at the most there may be.
    """

    functions: Floats
    basis: Floats
    time_constant: int
    p_value: float
    is_whole: bool = True

    @property
    def count(self) -> int:
        """Functions."""
        return int(self.functions.shape[1])


def find_course(rows: Floats, times: tuple[Floats, ...], seed: int) -> Slow:
    """Slow functions that increments follow more than in random orders of what is left.

    The families are of linear, logarithmic and exponential time; the family is the one whose first
    four functions explain most beside the mean. Pairs are added while they explain more than in 99%
    of the permutations of what the last ones left, projected again (Freedman & Lane 1983,
    doi:10.1080/07350015.1983.10509354), at most sixteen functions and a sixth of the intervals.
    The mean alone, which no permutation changes, is a course by random signs. More than a thousand
    intervals are summed to fewer for the search.

    Parameters
    ----------
    rows : (interval, component)
        Increments of equal variance, not centred.
    times : tuple of (interval,)
        Times from 0 to 1 that the functions may be of.
    """
    whole = [family for time in times for family in time_bases(time)]
    size = -(-len(rows) // _MOST_SEARCHED)
    rows = _summed(rows, size)
    coarse = [_summed(time[:, np.newaxis], size)[:, 0] / size for time in times]
    families = [family for time in coarse for family in time_bases(time)]
    constant = np.full((len(rows), 1), len(rows) ** -0.5)
    first = _explained(rows, constant, [basis[:, 1:3] for _, basis in families], seed)
    own = [float(((basis[:, 1:5].T @ rows) ** 2).sum()) for _, basis in families]
    chosen = int(np.argmax(own))
    c, basis = families[chosen]
    p, count = p_value(first), 1
    is_followed = p <= _LEVEL
    while is_followed and count + 2 <= most_functions(len(rows)):
        count += 2
        more = [basis[:, count : count + 2]]
        is_followed = p_value(_explained(rows, basis[:, :count], more, seed + count)) <= _LEVEL
    if count == 1 and p_value(_one_way(rows, seed)) > _LEVEL:
        count = 0
    is_whole = not is_followed and count + 2 <= max(most_functions(len(rows)), 3)
    fine = whole[chosen][1]
    return Slow(fine[:, :count], fine, c, p, is_whole)


def _summed(rows: Floats, size: int) -> Floats:
    """Sums of so many rows."""
    n = len(rows) // size * size
    return np.asarray(rows[:n].reshape(n // size, size, -1).sum(axis=1))


def most_functions(n: int) -> int:
    """Functions that a course of n intervals may have."""
    return min(MOST_FUNCTIONS, n // 6)


def integrals(functions: Floats, lengths: Floats, scale: Floats) -> Floats:
    """What a course of increments is in positions over the root of the noise, orthonormal.

    Parameters
    ----------
    functions : (interval, function)
    lengths : (interval,)
        Standard deviation of an increment of every block.
    scale : (step,)
        Root of the noise's standard deviation at every position.

    Returns
    -------
    (step, function)
        One more than there are functions: the origin.
    """
    summed = np.cumsum(functions * lengths[:, np.newaxis], axis=0)
    summed = np.concatenate([np.zeros((1, functions.shape[1])), summed])
    columns = np.column_stack([np.ones(len(scale)), summed]) / scale[:, np.newaxis]
    return np.asarray(scipy.linalg.orth(columns))


def p_of_further(positions: Floats, taken: Floats, more: Floats, seed: int) -> float:
    """p-value of further functions of the positions, among independent autoregressive modes.

    The share that the further functions explain of up to a hundred modes, against the same of paths
    of autoregressive modes (Burg) fitted to what even those leave.

    Parameters
    ----------
    positions : (step, component)
    taken, more : (step, function)
        Functions that were taken off, and those with the further ones; orthonormal.
    """
    n_steps = len(positions)
    most = max(MOST_MODES, min(_MANY, _MANY * 400 // n_steps))
    modes = leading(positions - taken @ (taken.T @ positions), most)
    count = modes.shape[1]
    fitted = modes - more @ (more.T @ modes)
    models = [fit(series, min(20, n_steps // 10)) for series in fitted.T]
    period = 2 * scipy.fft.next_fast_len(n_steps, real=True)
    statistic = [_share(modes, taken, more)]
    for batch in range(n_batches(_DRAWS)):
        noise = normals(seed, batch, (count, period))
        series = [simulate(model, noise[:, i])[:, :n_steps] for i, model in enumerate(models)]
        drawn = np.stack(series, axis=-1)
        statistic += [_share(each, taken, more) for each in drawn]
    return p_value(np.array(statistic[: _DRAWS + 1]))


def _share(path: Floats, taken: Floats, more: Floats) -> float:
    rest = path - taken @ (taken.T @ path)
    before = float((rest**2).sum())
    after = before - float(((more.T @ rest) ** 2).sum())
    return (before - after) / max(before, 1e-300)


def _one_way(rows: Floats, seed: int) -> Floats:
    """Squared displacement, (draw,), of the data and of random signs."""
    coins = np.concatenate([signs(seed, b, len(rows)) for b in range(n_batches(_DRAWS))])[:_DRAWS]
    coins = np.concatenate([np.ones((1, len(rows))), coins])
    return np.asarray(((coins @ rows) ** 2).sum(axis=1))


def _explained(rows: Floats, taken: Floats, choices: list[Floats], seed: int) -> Floats:
    """Largest share that one of the choices explains of what is left, (draw,), the data first."""
    n = len(rows)
    left = rows - taken @ (taken.T @ rows)
    total = float((left**2).sum())
    orders = np.concatenate(
        [np.arange(n)[np.newaxis], *(permutations(seed, b, n) for b in range(n_batches(_DRAWS)))]
    )[: _DRAWS + 1]

    def squares(functions: Floats) -> Floats:
        drawn = functions.T[:, orders].reshape(-1, n) @ left
        return np.asarray((drawn**2).sum(axis=1).reshape(functions.shape[1], -1).sum(axis=0))

    projected = total - (squares(taken) if taken.shape[1] else 0.0)
    shares = [squares(each) / np.maximum(projected, 1e-300) for each in choices]
    return np.asarray(np.max(shares, axis=0))
