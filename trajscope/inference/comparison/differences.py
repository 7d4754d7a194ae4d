"""Tests of difference between every two of several runs, in all weights and in every layer."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.inference.comparison.blocks import Blocks, Shape, blocks_of_factor, blocks_of_gram
from trajscope.inference.comparison.pair import (
    FEWEST,
    LONGEST_MEMORY,
    QUANTITIES,
    Compared,
    compare_pair,
    n_draws,
    pairs_of,
    shape_of,
)
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.verdict import together
from trajscope.kernels.gram import Floats
from trajscope.measure.labels import even_spacing
from trajscope.schema import ALL_WEIGHTS, GROUP, PAIR, QUANTITY


@dataclass(frozen=True)
class Moves:
    """Increments of one group of a run, by whichever small matrix a result holds.

    Attributes
    ----------
    squares : (interval,)
        Squared lengths of the increments, exact.
    n_weights :
        How many weights the group has.
    gram : (interval, interval)
        Their inner products; else `factor`.
    factor : (interval, component)
        Their coordinates in a basis that does not hold all of them.
    """

    squares: Floats
    n_weights: int
    gram: Floats | None = None
    factor: NDArray[np.floating] | None = None

    def blocks(self, stride: int, length: int) -> Blocks:
        """Blocks of `length` displacements over `stride` intervals each."""
        n = len(self.squares) // stride
        if self.gram is not None:
            used = self.gram[: n * stride, : n * stride]
            return blocks_of_gram(used.reshape(n, stride, n, stride).sum(axis=(1, 3)), length)
        assert self.factor is not None
        factor = np.asarray(self.factor, dtype=np.float64)
        held = float(np.square(factor).sum())
        # What the basis leaves out moves as the rest does, as far as anything here can tell.
        factor = factor * math.sqrt(float(self.squares.sum()) / held if held > 0 else 1.0)
        return blocks_of_factor(factor[: n * stride].reshape(n, stride, -1).sum(axis=1), length)


@dataclass(frozen=True)
class Run:
    """What is compared of a run.

    Attributes
    ----------
    steps : (step,)
    moves :
        By the name of the group.
    """

    label: str
    steps: NDArray[Any]
    moves: Mapping[str, Moves]

    @property
    def groups(self) -> dict[str, int]:
        """Names of the groups, and how many weights each has."""
        return {name: moves.n_weights for name, moves in self.moves.items()}


@dataclass
class Found:
    """What the tests of one pair of runs found, by (group, quantity), and what they refused."""

    compared: dict[tuple[str, str], Compared] = field(default_factory=dict)
    guards: list[dict[str, object]] = field(default_factory=list)


def differences(runs: Sequence[Run], settings: DecisionSettings) -> xr.Dataset:
    """p-values, effects and intervals, (pair, group, quantity).

    All weights are tested on their own; of layers a p-value is that of the largest statistic among
    them, from the same exchanges of blocks (maxT, Westfall & Young 1993). Where there are more
    than two runs, p-values are those of Holm (1979) over the pairs, and as many draws are made as
    the level then needs. Of more than eight runs each is compared with the first.

    Returns
    -------
    Dataset
        ``p_value``, ``effect``, ``effect_low``, ``effect_high``; NaN where nothing was tested,
        and the reason in the attribute ``guards``.
    """
    pairs = pairs_of(len(runs))
    settings = replace(settings, n_surrogates=n_draws(len(pairs), settings))
    found = [_of_pair(runs[a], runs[b], settings) for a, b in pairs]
    groups = list(dict.fromkeys(name for run in runs for name in run.moves))
    shape = len(pairs), len(groups), len(QUANTITIES)
    p_value, effect, low, high = (np.full(shape, np.nan) for _ in range(4))
    for pair, each in enumerate(found):
        for column, quantity in enumerate(QUANTITIES):
            own = {g: c for (g, name), c in each.compared.items() if name == quantity.name}
            for group, p in _p_values(own).items():
                place = pair, groups.index(group), column
                p_value[place] = p
                effect[place], low[place], high[place] = own[group].interval(
                    quantity, settings.alpha
                )
    dims = (PAIR, GROUP, QUANTITY)
    texts = {"units": "1", "long_name": f"interval of the effect, level {1 - settings.alpha:g}"}
    return xr.Dataset(
        {
            "p_value": (dims, holm(p_value), {"units": "1", "long_name": _P_VALUE}),
            "effect": (dims, effect, {"units": "1", "long_name": "effect, see `effect_is`"}),
            "effect_low": (dims, low, texts),
            "effect_high": (dims, high, texts),
        },
        {
            PAIR: [f"{runs[a].label} | {runs[b].label}" for a, b in pairs],
            "first": (PAIR, [runs[a].label for a, _ in pairs]),
            "second": (PAIR, [runs[b].label for _, b in pairs]),
            GROUP: groups,
            QUANTITY: [each.name for each in QUANTITIES],
            "quantity_label": (QUANTITY, [each.label for each in QUANTITIES]),
            "null_hypothesis": (QUANTITY, [each.null for each in QUANTITIES]),
            "effect_is": (QUANTITY, [each.effect for each in QUANTITIES]),
            "no_effect": (QUANTITY, [float(each.is_ratio) for each in QUANTITIES]),
        },
        {
            "alpha": settings.alpha,
            "n_surrogates": settings.n_surrogates,
            "seed": settings.seed,
            "guards": [guard for each in found for guard in each.guards],
        },
    )


_P_VALUE: Final = "p-value of no difference, among all layers and pairs"


def _of_pair(first: Run, second: Run, settings: DecisionSettings) -> Found:
    found = Found()

    def refuse(code: str, reason: str, group: str = "") -> None:
        names = {"runs": [first.label, second.label], "group": group}
        found.guards.append({"code": code, **names, "reason": reason})

    strides = _strides(first, second)
    if strides is None:
        refuse("uneven_spacing", _UNEVEN)
        return found
    lengths = tuple(
        (len(run.steps) - 1) // stride for run, stride in zip((first, second), strides, strict=True)
    )
    if min(lengths) + 1 < FEWEST:
        refuse("too_short", f"{min(lengths) + 1} checkpoints of one spacing; {FEWEST} are needed.")
        return found
    shape = shape_of((lengths[0], lengths[1]))
    for group, n_weights in first.groups.items():
        if second.groups.get(group) != n_weights:
            refuse("other_tensors", "The two runs hold other tensors in this group.", group)
            continue
        one, other = (
            run.moves[group].blocks(stride, shape.length)
            for run, stride in zip((first, second), strides, strict=True)
        )
        obstacle = _obstacle(one, other, shape)
        if obstacle is not None:
            refuse(*obstacle, group)
            continue
        compared = compare_pair(one, other, shape, settings.n_surrogates, settings.seed)
        known = [each for each in QUANTITIES if compared[each.name].is_known(each)]
        found.compared |= {(group, each.name): compared[each.name] for each in known}
        for each in (each for each in QUANTITIES if each not in known):
            refuse("unknown", f"The {each.label} {_UNKNOWN}", group)
    for group in second.groups.keys() - first.groups.keys():
        refuse("other_tensors", "The first run has no such group.", group)
    return found


def _obstacle(first: Blocks, second: Blocks, shape: Shape) -> tuple[str, str] | None:
    """What keeps the tests from being made, as code and reason."""
    if any(each.lagged[:, 0].sum() <= 0 for each in (first, second)):
        return "still", "No weight moves in one of the runs."
    if max(first.memory, second.memory) > LONGEST_MEMORY * shape.length:
        return "memory", _MEMORY
    return None


_UNEVEN: Final = (
    "Checkpoints of one run are unevenly spaced, or no spacing is common to both. Select an even "
    "part with --steps."
)
_UNKNOWN: Final = (
    "of one run is close to zero after subtraction of the drift; its standard error exceeds a "
    "factor of ten."
)
_MEMORY: Final = (
    "Increments stay autocorrelated over more than a third of a block (an eighth of the shorter "
    "run), so blocks are not independent. Longer runs are needed."
)


def _strides(first: Run, second: Run) -> tuple[int, int] | None:
    """Every how many intervals of each run lie as far apart in both; `None` if nothing does."""
    spacings = [each for run in (first, second) if (each := even_spacing(run.steps)) is not None]
    if len(spacings) < 2:
        return None
    one, other = (Fraction(float(spacing)).limit_denominator(10**6) for spacing in spacings)
    ratio = one / other
    return ratio.denominator, ratio.numerator


def _p_values(compared: Mapping[str, Compared]) -> dict[str, float]:
    """Of all weights on their own, and of every layer among the layers."""
    found: dict[str, float] = {}
    for family in (
        [name for name in compared if name == ALL_WEIGHTS],
        [name for name in compared if name != ALL_WEIGHTS],
    ):
        if family:
            values = together([compared[name].statistic for name in family])
            found |= dict(zip(family, values, strict=True))
    return found


def holm(p_values: Floats) -> Floats:
    """Adjusted for the number of pairs, along the first axis; NaN stays. Holm 1979."""
    order = np.argsort(p_values, axis=0)  # NaN last
    sorted_ = np.take_along_axis(p_values, order, axis=0)
    tested = np.isfinite(sorted_).sum(axis=0)
    factor = np.maximum(
        tested - np.arange(len(p_values)).reshape(-1, *[1] * (p_values.ndim - 1)), 1
    )
    adjusted = np.minimum(np.maximum.accumulate(sorted_ * factor, axis=0), 1.0)
    result = np.empty_like(p_values)
    np.put_along_axis(result, order, adjusted, axis=0)
    return result
