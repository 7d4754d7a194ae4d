"""Two runs, told apart: statistics of exchanged blocks, effects and their intervals."""

import math
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.inference.comparison.blocks import (
    N_BLOCKS,
    Blocks,
    Shape,
    drift_pseudo_values,
    pseudo_values,
)
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.nulls.draws import over_batches, permutations
from trajscope.kernels.gram import Floats

FEWEST: Final = 64
"""Checkpoints of a run that is compared."""
_LARGEST_ERROR: Final = math.log(10)
"""Standard error of a logarithm; larger ones occur where nearly nothing is left beside a drift."""
_MOST_PAIRED: Final = 8
"""Runs; of more, pairs are so many that eight blocks cannot tell one of them at 1%."""
LONGEST_MEMORY: Final = 1 / 3
"""Of the increments, as a share of a block: blocks that are alike for long look like fewer."""


@dataclass(frozen=True)
class Quantity:
    """What two runs may differ in: a name, what it is called, and what its effect is.

    Attributes
    ----------
    null :
        The null hypothesis.
    effect :
        What the effect is, of the second run and the first.
    is_ratio :
        Whether the effect is a ratio, 1 where nothing differs; else a difference, 0.
    reads_last :
        Which of several numbers the effect is: the last (longest scale), or the first (lowest
        band). The test takes all.
    """

    name: str
    label: str
    null: str
    effect: str
    is_ratio: bool = True
    reads_last: bool = False


QUANTITIES: Final = (
    Quantity(
        "increment_variance",
        "increment variance",
        "the variance of an increment is the same",
        "ratio of the variances, second over first",
    ),
    Quantity(
        "variance_ratio",
        "variance ratio",
        "displacements over any time have the same variance, relative to single increments",
        "ratio of the variance ratios over the longest time compared, second over first",
        reads_last=True,
    ),
    Quantity(
        "spectrum_shape",
        "spectrum shape",
        "the increments have the same power spectrum, up to a factor",
        "ratio of the relative powers at the lowest frequencies, second over first",
    ),
    Quantity(
        "drift",
        "drift",
        "the squared mean increment, over the increment variance, is the same",
        "squared mean increment over increment variance, second less first",
        is_ratio=False,
    ),
)
"""In the order of the report."""


@dataclass(frozen=True)
class Compared:
    """One quantity of two runs.

    Attributes
    ----------
    statistic : (draw,)
        Of the data first; large values are evidence against the null.
    estimate, error :
        Of the effect, before its logarithm is undone: second less first, and its standard error.
    students : (draw,)
        Sizes of the effect's own t; of the data first.
    """

    statistic: Floats
    estimate: float
    error: float
    students: Floats

    def is_known(self, quantity: Quantity) -> bool:
        """Whether its standard error is below a factor of ten."""
        return not quantity.is_ratio or self.error < _LARGEST_ERROR

    def interval(self, quantity: Quantity, alpha: float) -> tuple[float, float, float]:
        """The effect, and the ends of its interval at level 1 - alpha.

        ``estimate -+ c error``, c the quantile of t over exchanged blocks.
        """
        reach = float(np.quantile(self.students[1:], 1 - alpha)) * self.error
        found = (self.estimate, self.estimate - reach, self.estimate + reach)
        return tuple(map(math.exp, found)) if quantity.is_ratio else found  # type: ignore[return-value]


def pairs_of(n_runs: int) -> list[tuple[int, int]]:
    """Which of several runs are compared: every two of up to eight, else each with the first."""
    if n_runs <= _MOST_PAIRED:
        return list(combinations(range(n_runs), 2))
    return [(0, other) for other in range(1, n_runs)]


def n_draws(n_pairs: int, settings: DecisionSettings) -> int:
    """Exchanges drawn for each pair: enough for the level once it is shared among the pairs.

    Four times as many as the smallest p-value needs: one of 6,435 exchanges of eight blocks by
    eight only swaps the runs, and leaves the statistic as it is.
    """
    if n_pairs == 1:
        return settings.n_surrogates
    return max(settings.n_surrogates, math.ceil(4 * n_pairs / settings.alpha - 1e-9) - 1)


def shape_of(lengths: tuple[int, int]) -> Shape:
    """What is summed of two runs of so many intervals."""
    return Shape(min(lengths) // (N_BLOCKS + 1))


def compare_pair(
    first: Blocks, second: Blocks, shape: Shape, n_draws: int, seed: int
) -> dict[str, Compared]:
    """Every quantity of one group of two runs, by its name.

    Blocks of the two runs are exchanged at random; in each draw the sums of either side are formed
    anew, and the difference is studentised by the scatter of pseudo-values over blocks, which keeps
    the level where only the quantity is the same and the laws are not (Janssen 1997,
    doi:10.1016/S0167-7152(97)00043-6). Of several numbers the largest t counts.
    """
    sums = np.concatenate([each.products @ shape.weights for each in (first, second)])
    lengths = np.concatenate([first.lengths, second.lengths])
    drifts = np.concatenate([drift_pseudo_values(each) for each in (first, second)])
    m, n = len(first.lengths), len(lengths)

    def differences(orders: NDArray[np.int32]) -> tuple[Floats, Floats]:
        one, other = (
            np.concatenate([pseudo_values(sums[side], lengths[side], shape), drifts[side]], axis=-1)
            for side in (orders[:, :m], orders[:, m:])
        )
        return other.mean(axis=-2) - one.mean(axis=-2), _error(one, other)

    def drawn(batch: int, count: int) -> Floats:
        difference, error = differences(permutations(seed, batch, n)[:count])
        return np.asarray(np.abs(difference) / error)

    difference, error = differences(np.arange(n, dtype=np.int32)[np.newaxis])
    draws = np.concatenate([np.abs(difference) / error, *over_batches(drawn, n_draws, sums.size)])
    columns = shape.columns | {"drift": slice(sums.shape[1], None)}
    found = {}
    for each in QUANTITIES:
        own = columns[each.name]
        read = np.arange(draws.shape[1])[own][-1 if each.reads_last else 0]
        found[each.name] = Compared(
            draws[:, own].max(axis=-1),
            float(difference[0, read]),
            float(error[0, read]),
            draws[:, read],
        )
    return found


def _error(one: Floats, other: Floats) -> Floats:
    """Standard error of the difference of means (Welch), (..., feature)."""
    squares = sum(values.var(axis=-2, ddof=1) / values.shape[-2] for values in (one, other))
    return np.asarray(np.sqrt(np.maximum(squares, 1e-300)))
