"""What one pass sums over weights: one record per reduction, and the two sets of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.autocorrelation import pooled_products
from trajscope.kernels.compiled.transform import is_possible
from trajscope.kernels.components import components_from_weights, sketch_of_gram
from trajscope.kernels.curves import curve_moments
from trajscope.kernels.directions import (
    MOST_LANDMARKS,
    directions_of_weights,
    first_products,
)
from trajscope.kernels.factors import (
    N_PROJECTIONS,
    factor_of_increments,
    factor_width,
    project,
    random_signs,
)
from trajscope.kernels.gram import Floats, increment_gram
from trajscope.kernels.river import MOST as MOST_AVERAGES
from trajscope.kernels.spectra import pooled_power
from trajscope.kernels.spread import DEFICITS, sampled
from trajscope.kernels.stepwise import rounding_variance, squared_positions, stepwise_products
from trajscope.measure.piece import Piece
from trajscope.schema import (
    FREQUENCY,
    INTERVAL,
    INTERVAL_OTHER,
    LAG,
    LANDMARK,
    LANDMARK_OTHER,
    STEP,
    TURN,
)

N_COMPONENTS: Final = 20
"""Principal components that a result keeps."""
N_SKETCH_COLUMNS: Final = 256
"""Of the sketch: a random walk's leading eigenvalue is right to 5e-5, the 20th to 2e-2."""

Sums = Mapping[str, NDArray[np.floating] | np.float64]


@dataclass(frozen=True)
class Reduction:
    """One family of sums over weights.

    Attributes
    ----------
    name :
        Unique.
    of_increments :
        Whether it takes increments; else it takes positions.
    sums :
        ``Piece -> {name: array}``: its share of the sums.
    kept :
        Dimensions of those sums that a result keeps, by name; the rest only serve the principal
        components, which are kept themselves.
    n_bytes :
        ``T -> bytes`` that one group's share takes while it is made and added.
    is_additive :
        Whether shares of disjoint weights add up. If not, a piece is a whole group, and the
        result for all weights is made from all of them at once.
    """

    name: str
    of_increments: bool
    sums: Callable[[Piece], Sums]
    kept: Mapping[str, tuple[str, ...]]
    n_bytes: Callable[[int], int]
    is_additive: bool = True


def _counts(piece: Piece) -> Sums:
    increments = piece.values
    n_kept = increments.shape[1]
    moved = np.zeros(n_kept, dtype=bool)
    n_nonzero, all_moved = 0, False
    for row in increments:
        nonzero = row != 0
        n_moving = int(np.count_nonzero(nonzero))
        n_nonzero += n_moving
        all_moved = all_moved or n_moving == n_kept
        if not all_moved:
            moved |= nonzero
    return {
        "n_weights": np.float64(piece.n_weights),
        "n_moving": np.float64(n_kept if all_moved else moved.sum()),
        "n_zero_increments": np.float64(len(increments) * piece.n_weights - n_nonzero),
    }


def _rounding(piece: Piece) -> Sums:
    first, last = piece.values[0], piece.values[-1]
    ends = [rounding_variance(each, piece.resolution) for each in (first, last, piece.at_rest)]
    return {"rounding_variance": np.float64((ends[0] + ends[1]) / 2 + ends[2])}


def _curves(piece: Piece) -> Sums:
    """A weight of the sample counts for as many as it stands for."""
    chosen = None
    if piece.share < 1:
        of_all = sampled(piece.first, piece.n_weights, share=piece.share, seed=piece.seed)
        chosen = of_all[piece.chosen]
    sums = curve_moments(piece.values, chosen, compiled=piece.is_compiled and is_possible())
    n_deficits = sums.pop("n_deficits")
    return {
        **sums,
        **{name: sums[name] / piece.share for name in DEFICITS},
        "n_sampled": n_deficits / piece.share,
        "n_sampled_square": n_deficits / piece.share**2,
    }


def _positions(piece: Piece) -> Sums:
    return {"squared_positions": squared_positions(piece.values) + piece.squares_at_rest}


def _directions(piece: Piece) -> Sums:
    sums = directions_of_weights(piece.values)
    return {**sums, "last_products": sums["last_products"] + piece.squares_at_rest}


def _projection(piece: Piece) -> Sums:
    signs = random_signs(piece.first, piece.n_weights, piece.seed)
    return {"projection": project(piece.values, signs[piece.chosen])}


def _sketch(piece: Piece) -> Sums:
    matrix = test_matrix(len(piece.values), piece.seed)
    return {"sketch": sketch_of_gram(piece.values, matrix)}


def _dual(piece: Piece) -> Sums:
    components = components_from_weights(piece.values, N_COMPONENTS)
    return {
        "dual_eigenvalues": components.eigenvalues,
        "dual_total": np.float64(components.total),
        "dual_scores": components.scores,
    }


@lru_cache(maxsize=4)
def test_matrix(n_steps: int, seed: int) -> Floats:
    """Orthonormal columns in random directions, (step, column), the same for every block."""
    columns = min(N_SKETCH_COLUMNS, n_steps)
    normal = np.random.default_rng(seed).standard_normal((n_steps, columns))
    return np.linalg.qr(normal).Q


COUNTS: Final = Reduction(
    "counts",
    True,
    _counts,
    {"n_weights": (), "n_moving": (), "n_zero_increments": ()},
    lambda _: 64,
)
ROUNDING: Final = Reduction("rounding", False, _rounding, {"rounding_variance": ()}, lambda _: 64)
GRAM: Final = Reduction(
    "gram",
    True,
    lambda piece: {"increment_gram": increment_gram(piece.values)},
    {"increment_gram": (INTERVAL, INTERVAL_OTHER)},
    lambda n_steps: 20 * n_steps**2,
)
CURVES: Final = Reduction(
    "curves",
    False,
    _curves,
    {
        "amplitude": (FREQUENCY,),
        "amplitude_square": (FREQUENCY,),
        "power": (FREQUENCY,),
        "n_amplitudes": (),
        "autocorrelation": (LAG,),
        "n_autocorrelations": (),
        **dict.fromkeys(DEFICITS, (LAG,)),
        "n_sampled": (),
        "n_sampled_square": (),
    },
    lambda n_steps: 104 * n_steps,
)
POSITIONS: Final = Reduction(
    "positions",
    False,
    _positions,
    {"squared_positions": (STEP,)},
    lambda n_steps: 16 * n_steps,
)
PERIODOGRAM: Final = Reduction(
    "periodogram",
    True,
    lambda piece: pooled_power(piece.values),
    {"power": (FREQUENCY,)},
    lambda n_steps: 8 * n_steps,
)
POOLED: Final = Reduction(
    "pooled",
    False,
    lambda piece: pooled_products(piece.values),
    {"squared_norms": (STEP,), "product_power": ("padded_frequency",)},
    lambda n_steps: 32 * n_steps,
)
FIRST: Final = Reduction(
    "first",
    True,
    lambda piece: {"first_products": first_products(piece.values, piece.origin)},
    {"first_products": (INTERVAL,)},
    lambda n_steps: 16 * n_steps,
)
DIRECTIONS: Final = Reduction(
    "directions",
    False,
    _directions,
    {
        "first_products": (INTERVAL,),
        "last_products": (STEP,),
        "forward_products": (INTERVAL,),
        "landmark_gram": (LANDMARK, LANDMARK_OTHER),
    },
    lambda n_steps: 48 * n_steps + 16 * MOST_LANDMARKS**2 + 4 * 16 * MOST_AVERAGES**2,
)
STEPWISE: Final = Reduction(
    "stepwise",
    True,
    lambda piece: stepwise_products(piece.values),
    {
        "squared_increments": (INTERVAL,),
        "neighbour_products": (TURN,),
        "squared_displacements": (STEP,),
    },
    lambda n_steps: 48 * n_steps,
)
SKETCH: Final = Reduction(
    "sketch",
    False,
    _sketch,
    {},
    lambda n_steps: 3 * 8 * N_SKETCH_COLUMNS * n_steps,
)
DUAL: Final = Reduction(
    "dual",
    False,
    _dual,
    {},
    lambda n_steps: 24 * (N_COMPONENTS + 1) * n_steps,
    is_additive=False,
)
PROJECTION: Final = Reduction(
    "projection",
    True,
    _projection,
    {},
    lambda n_steps: 3 * 8 * N_PROJECTIONS * n_steps,
)
FACTOR: Final = Reduction(
    "factor",
    True,
    lambda piece: {"factor": factor_of_increments(piece.values)},
    {},
    lambda n_steps: 24 * factor_width(n_steps - 1) * n_steps,
    is_additive=False,
)

REDUCTIONS: Final = (
    COUNTS,
    ROUNDING,
    POSITIONS,
    GRAM,
    CURVES,
    PERIODOGRAM,
    POOLED,
    FIRST,
    DIRECTIONS,
    STEPWISE,
    SKETCH,
    DUAL,
    PROJECTION,
    FACTOR,
)
"""Every reduction; a path (`measure.paths.PATHS`) is a choice among them."""


@cache
def reductions_named(names: tuple[str, ...]) -> tuple[Reduction, ...]:
    """Those of `REDUCTIONS` that are called so."""
    return tuple(reduction for reduction in REDUCTIONS if reduction.name in names)
