"""Inner products of positions, from which norms, angles and distances follow."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import SAFE_SQUARES, Floats
from trajscope.kernels.river import MOST, average_gram, window_lengths
from trajscope.kernels.spectra import column_pieces

MOST_LANDMARKS: Final = 64
"""Checkpoints between which distances are kept; of longer runs evenly chosen ones."""

_LARGEST: Final = 1e290
"""Of a product that is kept, so that sums of them stay finite."""
_HALVED: Final = 480
"""Exponent of the largest number whose products are summed as they are."""
_COLUMNS: Final = 1 << 14
"""Weights whose products are added in float32."""


@dataclass(frozen=True)
class Directions:
    """Inner products of the positions of one group; squared weight units.

    Attributes
    ----------
    squared_positions : (step,)
        ``|x_t|^2``.
    first : (step,)
        ``<x_0, x_t - x_0>``.
    last : (step,)
        ``<x_L, x_t>``, L the last step.
    forward : (interval,)
        ``<x_t, y_t>``, ``y_t = x_{t+1} - x_t``.
    landmarks : (landmark, landmark)
        ``<d_s, d_t>`` with ``d_t = x_t - x_0``, at the steps that `landmarks` chooses.
    """

    squared_positions: Floats
    first: Floats
    last: Floats
    forward: Floats
    landmarks: Floats


def landmarks(n_steps: int) -> NDArray[np.intp]:
    """Rows of at most `MOST_LANDMARKS` checkpoints, evenly chosen, the first and last among them.

    Returns
    -------
    (landmark,)
    """
    few = np.linspace(0, n_steps - 1, min(n_steps, MOST_LANDMARKS))
    rows: NDArray[np.intp] = np.rint(few).astype(np.intp)
    return rows


def first_products(increments: NDArray[np.floating], origin: NDArray[np.floating]) -> Floats:
    """Inner products of the first position with the increments, ``<x_0, y_t>``.

    With the products of increments among each other these give every inner product of positions:
    ``<x_s, x_t> = |x_0|^2 + <x_0, d_s> + <x_0, d_t> + <d_s, d_t>``, d the sums of increments.

    Parameters
    ----------
    increments : (interval, weight)
    origin : (weight,)
        The first position.

    Returns
    -------
    (interval,)
        Squared weight units; products in the dtype of the increments where their squares fit, sums
        in float64.
    """
    total = np.zeros(len(increments))
    for start in range(0, increments.shape[1], _COLUMNS):
        piece, own = increments[:, start : start + _COLUMNS], origin[start : start + _COLUMNS]
        products = (piece @ own).astype(np.float64)
        size = np.abs(products)
        # Of what vanishes or overflows in float32 the product is taken again.
        unsafe = ~((SAFE_SQUARES[0] < size) & (size < SAFE_SQUARES[1]))
        if unsafe.any():
            scaled, exponent = _halved(own.astype(np.float64))
            products[unsafe] = np.ldexp(piece[unsafe].astype(np.float64) @ scaled, exponent)
        total += products
    return bounded(total)


def directions_of_weights(weights: NDArray[np.floating]) -> dict[str, Floats]:
    """The inner products of `Directions`, summed over weights in float64.

    Parameters
    ----------
    weights : (step, weight)

    Returns
    -------
    dict
        ``first_products`` (interval,): ``<x_0, y_t>``; ``last_products`` (step,): ``<x_L, x_t>``;
        ``forward_products`` (interval,): ``<x_t, y_t>``; ``landmark_gram`` (landmark, landmark);
        ``average_gram`` (window length, average, average). Squared weight units.
    """
    n_steps = len(weights)
    rows = landmarks(n_steps)
    first, forward = np.zeros(n_steps - 1), np.zeros(n_steps - 1)
    last, gram = np.zeros(n_steps), np.zeros((len(rows), len(rows)))
    averages = np.zeros((len(window_lengths(n_steps)), MOST, MOST))
    for columns in column_pieces(weights):
        x = weights[:, columns].astype(np.float64)
        y = np.diff(x, axis=0)
        displacements = x - x[0]
        marks = displacements[rows]
        averages += average_gram(displacements)
        x, exponent = _halved(x)
        first += np.ldexp(y @ x[0], exponent)
        last += np.ldexp(x @ x[-1], 2 * exponent)
        forward += np.ldexp(np.einsum("tw,tw->t", x[:-1], y), exponent)
        gram += marks @ marks.T
    return {
        "first_products": bounded(first),
        "last_products": bounded(last),
        "forward_products": bounded(forward),
        "landmark_gram": gram,
        "average_gram": averages,
    }


def directions_of_gram(
    displacements: Floats, squared_positions: Floats, first_products: Floats
) -> Directions:
    """The same from the inner products of displacements.

    Parameters
    ----------
    displacements : (step, step)
        As `trajscope.kernels.gram.displacement_gram` gives them.
    squared_positions : (step,)
    first_products : (interval,)
    """
    first = np.append(0.0, first_products.cumsum())
    rows = landmarks(len(displacements))
    neighbours = displacements[:-1, 1:].diagonal() - displacements[:-1, :-1].diagonal()
    return Directions(
        squared_positions,
        first,
        squared_positions[0] + first + first[-1] + displacements[-1],
        first_products + neighbours,
        displacements[np.ix_(rows, rows)],
    )


def bounded(products: Floats) -> Floats:
    """Products no larger than 1e290, so that sums of them stay finite; NaN stays NaN."""
    return np.clip(products, -_LARGEST, _LARGEST)


def angles(squared: Floats, forward: Floats, moved: Floats) -> Floats:
    """Angle between a position x and the next, x + y, in radians, from 0 to pi.

    ``atan2(sqrt(|x|^2 |y|^2 - <x, y>^2), |x|^2 + <x, y>)``: right for small angles too, whose
    cosines are all 1.

    Parameters
    ----------
    squared : (step,)
        ``|x_t|^2``.
    forward, moved : (interval,)
        ``<x_t, y_t>``, ``|y_t|^2``.

    Returns
    -------
    (interval,)
        NaN where one of the two positions is zero.
    """
    norms = np.sqrt(squared[:-1])
    along = forward / np.where(norms > 0, norms, 1)
    across = np.sqrt(np.maximum(moved - along**2, 0.0))
    are_known = (squared[:-1] > 0) & (squared[1:] > 0)
    return np.where(are_known, np.arctan2(across, norms + along), np.nan)


def cosines(products: Floats, squared: Floats, other: Floats) -> Floats:
    """``<a, b> / (|a| |b|)``, at most 1 in size; NaN where one of the two is zero.

    Parameters
    ----------
    products, squared, other :
        ``<a, b>``, ``|a|^2``, ``|b|^2``, of shapes that broadcast.
    """
    norms = np.sqrt(squared) * np.sqrt(other)
    found = np.clip(products / np.where(norms > 0, norms, 1), -1.0, 1.0)
    return np.where(norms > 0, found, np.nan)


def distances(gram: Floats) -> Floats:
    """``|x_s - x_t|`` of every pair, (landmark, landmark), from the products of displacements."""
    squares = gram.diagonal()
    return np.sqrt(np.maximum(squares + squares[:, np.newaxis] - 2 * gram, 0.0))


def cosine_matrix(found: Directions) -> Floats:
    """Cosine of the angle between the positions of every two landmarks, (landmark, landmark)."""
    rows = landmarks(len(found.first))
    first, squared = found.first[rows], found.squared_positions[rows]
    products = found.squared_positions[0] + first + first[:, np.newaxis] + found.landmarks
    matrix = cosines(products, squared, squared[:, np.newaxis])
    np.fill_diagonal(matrix, np.where(squared > 0, 1.0, np.nan))
    return matrix


def norm_balance(found: Directions, squared_increments: Floats) -> float:
    """How far the norm keeps its balance: ``1 - (|x_L|^2 - |x_0|^2) / sum_t |y_t|^2``.

    0 for a random walk in many directions, whose increments are at right angles to the position; 1
    where the norm ends as it began: what steps add to it, decay takes. At such a stationary state
    of SGD ``2 <w . u> = eta <|u|^2>`` (Yaida 2019, arXiv:1810.00004).

    Returns
    -------
    float
        NaN where nothing moves.
    """
    total = float(squared_increments.sum())
    gained = 2 * found.first[-1] + found.landmarks[-1, -1]
    return float(1 - gained / total) if total > 0 else float("nan")


def _halved(values: Floats) -> tuple[Floats, int]:
    """`values` over a power of two, and its exponent, where squares of them would overflow."""
    exponent = int(np.frexp(np.abs(values).max(initial=0))[1])
    if exponent < _HALVED:
        return values, 0
    return np.ldexp(values, -exponent), exponent
