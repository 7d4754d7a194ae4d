"""Norms, angles and distances of the positions of one group, one record each."""

from typing import Final

import numpy as np

from trajscope.kernels.directions import (
    angles,
    cosine_matrix,
    cosines,
    distances,
    norm_balance,
)
from trajscope.kernels.gram import Floats
from trajscope.measure.observables import Measured, Observable
from trajscope.schema import INTERVAL, LANDMARK, LANDMARK_OTHER, STEP


def _relative_increment(measured: Measured) -> Floats:
    positions = measured.pooled.directions.squared_positions[:-1]
    ratio = measured.pooled.squared_increments / np.where(positions > 0, positions, 1)
    return np.where(positions > 0, np.sqrt(ratio), np.nan)


def _angle(measured: Measured) -> Floats:
    found = measured.pooled.directions
    return angles(found.squared_positions, found.forward, measured.pooled.squared_increments)


def _cosine_to_first(measured: Measured) -> Floats:
    found = measured.pooled.directions
    squared = found.squared_positions
    return cosines(squared[0] + found.first, squared, squared[0])


def _cosine_to_last(measured: Measured) -> Floats:
    found = measured.pooled.directions
    squared = found.squared_positions
    return cosines(found.last, squared, squared[-1])


NORMS: Final = (
    Observable(
        "norm", (STEP,), "weight",
        "length of the weights",
        "|x[t]|",
        lambda m: np.sqrt(m.pooled.directions.squared_positions),
    ),
    Observable(
        "relative_increment", (INTERVAL,), "1",
        "length of each increment over that of the weights it starts from",
        "|y[t]| / |x[t]|; NaN where x[t] is zero",
        _relative_increment,
    ),
    Observable(
        "rotation_angle", (INTERVAL,), "rad",
        "angle between the weights of a checkpoint and of the next",
        "angle between x[t] and x[t+1], 0 to π; NaN where one of them is zero",
        _angle,
    ),
    Observable(
        "cosine_to_first", (STEP,), "1",
        "cosine between the weights and those of the first checkpoint",
        "⟨x[0], x[t]⟩ / (|x[0]| |x[t]|); NaN where one of them is zero",
        _cosine_to_first,
    ),
    Observable(
        "cosine_to_last", (STEP,), "1",
        "cosine between the weights and those of the last checkpoint",
        "⟨x[t], x[T−1]⟩ / (|x[t]| |x[T−1]|); NaN where one of them is zero",
        _cosine_to_last,
    ),
    Observable(
        "distance", (LANDMARK, LANDMARK_OTHER), "weight",
        "distance between every two of at most 64 checkpoints",
        "|x[s] − x[t]|",
        lambda m: distances(m.pooled.directions.landmarks),
    ),
    Observable(
        "cosine", (LANDMARK, LANDMARK_OTHER), "1",
        "cosine between the weights of every two of at most 64 checkpoints",
        "⟨x[s], x[t]⟩ / (|x[s]| |x[t]|); NaN where one of them is zero",
        lambda m: cosine_matrix(m.pooled.directions),
    ),
    Observable(
        "norm_balance", (), "1",
        "1 where the norm is kept, 0 where it grows as that of a random walk in many directions",
        "1 − (|x[T−1]|² − |x[0]|²) / Σ_t |y[t]|²; for SGD at stationarity 1, since on average "
        "2⟨x, g⟩ = η|g|² ([arXiv:1810.00004](https://arxiv.org/abs/1810.00004)); NaN where nothing "
        "moves",
        lambda m: np.float64(norm_balance(m.pooled.directions, m.pooled.squared_increments)),
    ),
)  # fmt: skip
"""In the order of the result."""
