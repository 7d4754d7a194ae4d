"""What the audit of a run has to go by: the traces of its checkpoints, and how far each moved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.measure.trace import RunTrace


@dataclass(frozen=True)
class Moves:
    """How far one group moved; squared weight units.

    Attributes
    ----------
    squared_increments : (interval,)
        ``|x[t+1] - x[t]|^2``
    neighbour_products : (turn,)
        ``<x[t+1] - x[t], x[t+2] - x[t+1]>``
    squared_displacements : (step,)
        ``|x[t] - x[0]|^2``
    squared_positions : (step,)
        ``|x[t]|^2``
    """

    squared_increments: Floats
    neighbour_products: Floats
    squared_displacements: Floats
    squared_positions: Floats


@dataclass(frozen=True)
class Evidence:
    """What the pass saw of one run.

    Attributes
    ----------
    moves :
        Of all weights, then of every group that was measured beside them, by number.
    """

    trace: RunTrace
    moves: Mapping[int, Moves]


def moves_of(sums: Mapping[str, Floats]) -> Moves:
    """The moves in the sums of one group."""
    return Moves(
        sums["squared_increments"],
        sums["neighbour_products"],
        sums["squared_displacements"],
        sums["squared_positions"],
    )


def added(parts: Sequence[Moves]) -> Moves:
    """The moves of several groups together."""
    return Moves(
        *(np.sum([getattr(each, name.name) for each in parts], axis=0) for name in fields(Moves))
    )
