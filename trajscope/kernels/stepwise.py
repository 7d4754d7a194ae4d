"""Quantities of single steps and of neighbouring ones: norms, cosines, rounding."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import SAFE_SQUARES, Floats

_LARGEST: Final = 1e290
_COLUMNS: Final = 1 << 14
"""Weights whose squares are added in float32."""


def stepwise_products(increments: NDArray[np.floating]) -> dict[str, Floats]:
    """Sums over weights that tell how far and in which direction each step went.

    Parameters
    ----------
    increments : (interval, weight)

    Returns
    -------
    dict
        ``squared_increments`` (interval,): ``|y_t|^2``; ``neighbour_products`` (turn,):
        ``<y_t, y_{t+1}>``; ``squared_displacements`` (step,): ``|x_t - x_0|^2``. Squared weight
        units, accumulated in float64.
    """
    n = len(increments)
    squared = np.zeros(n)
    neighbours = np.zeros(n - 1)
    displaced = np.zeros(n + 1)
    displacement = np.zeros(increments.shape[1])
    previous = displacement
    for t, row in enumerate(increments):
        current = row.astype(np.float64)
        squared[t] = current @ current
        if t:
            neighbours[t - 1] = previous @ current
        displacement = displacement + current
        displaced[t + 1] = displacement @ displacement
        previous = current
    return {
        "squared_increments": squared,
        "neighbour_products": neighbours,
        "squared_displacements": displaced,
    }


def squared_positions(weights: NDArray[np.floating]) -> Floats:
    """Squared norm of the weights, (step,); no more than 1e290, so that sums stay finite.

    Parameters
    ----------
    weights : (step, weight)
    """
    total = np.zeros(len(weights))
    for start in range(0, weights.shape[1], _COLUMNS):
        piece = weights[:, start : start + _COLUMNS]
        squares = np.einsum("tw,tw->t", piece, piece).astype(np.float64)
        unsafe = ~((SAFE_SQUARES[0] < squares) & (squares < SAFE_SQUARES[1]))
        if unsafe.any():  # of some checkpoints only, as where training began at zero
            rows = piece[unsafe]
            squares[unsafe] = np.einsum("tw,tw->t", rows, rows, dtype=np.float64)
        total += squares
    return np.minimum(total, _LARGEST)


def rounding_variance(weights: NDArray[np.floating], resolution: float) -> float:
    """Variance that rounding to the stored dtype adds to an increment, summed over weights.

    ``sum_i ulp(x_i)^2 / 6``: each end of an increment is rounded to the nearest multiple of its
    spacing ``ulp(x) = 2^floor(log2 |x|) * resolution``, an error of variance ``ulp^2 / 12``.

    Parameters
    ----------
    weights : (weight,)
        At one step.
    resolution :
        Spacing of the stored dtype at 1: 2^-23 for float32, 2^-7 for bfloat16.
    """
    _, exponent = np.frexp(weights.astype(np.float64))
    spacing = np.where(weights == 0, 0.0, np.ldexp(resolution, exponent - 1))
    return float(spacing @ spacing) / 6
