"""What a reduction is given: some weights of one group at every step."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats
from trajscope.kernels.stepwise import squared_positions


@dataclass(frozen=True)
class Piece:
    """All steps of some weights of one group.

    Attributes
    ----------
    values : (step, weight) or (interval, weight)
        Positions, or their increments.
    resolution :
        Spacing at 1 of the dtype these weights were stored in.
    seed :
        Of the sketch's test matrix and of random projections.
    origin : (weight,)
        The first position.
    first :
        Number of the first weight.
    share :
        Of the weights of its group, how many are in the random sample.
    chosen :
        Places of these weights among their neighbours from `first` on, where some are left out.
    at_rest : (weight,)
        Positions of those that are left out, which never move.
    is_compiled :
        Whether transforms are compiled for this processor.
    """

    values: NDArray[np.floating]
    resolution: float
    seed: int
    origin: NDArray[np.floating]
    first: int = 0
    share: float = 1.0
    chosen: NDArray[np.intp] | slice = field(default_factory=lambda: slice(None))
    at_rest: NDArray[np.floating] = field(default_factory=lambda: np.empty(0))
    is_compiled: bool = False

    @property
    def n_weights(self) -> int:
        """With those that are left out."""
        return len(self.origin) + len(self.at_rest)

    @property
    def squares_at_rest(self) -> Floats:
        """Their squared norm, (1,)."""
        return squared_positions(self.at_rest[np.newaxis])
