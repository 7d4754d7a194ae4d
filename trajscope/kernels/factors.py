"""Increments in few coordinates that treat every order of them alike: what the tests permute.

A basis found from the increments alone, as a set, turns with them when they are reordered or their
signs are flipped. One found from the path does not: its leading components were chosen for being
slow. Where not all coordinates are kept, half are the leading principal axes of the increments, and
half are random directions of what these leave out: a course that moves little in a step, but always
the same way, lies along none of the leading axes of the noise.
"""

from functools import lru_cache
from typing import Final

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from scipy.linalg.lapack import dpstrf

from trajscope.kernels.gram import SAFE_SQUARES, Floats

N_PROJECTIONS: Final = 64
"""Random directions that increments are projected on where there is no small matrix of them."""
_HELD: Final = 1e-9
"""Share of the squares that may be missing from coordinates that hold all of them."""
_SURELY_NOT_HELD: Final = 1e-3
"""Share that columns of a root leave out, from which as many axes leave out more than that."""
_MIXTURE: Final = 12
"""Seed of the random directions: the same for every group and analysis."""


def factor_width(n: int) -> int:
    """Coordinates that are kept of n increments: all of them up to 362, 64 up to 65,536."""
    return min(n, max((1 << 17) // n, min(N_PROJECTIONS, (1 << 22) // n), 2))


def root_of_gram(gram: Floats, n_weights: int) -> Floats | None:
    """Increments of few weights that have these inner products, ``L L' = J`` (pivoted Cholesky).

    What follows from them takes the cube of their number in place of that of the intervals.

    Parameters
    ----------
    gram : (interval, interval)
        As `increment_gram` makes it.
    n_weights :
        Weights that move: of more columns the root would hold rounding alone.

    Returns
    -------
    (interval, column)
        `None` where there are not fewer weights than intervals by a third.
    """
    if 3 * n_weights > 2 * len(gram):
        return None
    return _root(gram, max(n_weights, 1))


def factor_of_gram(gram: Floats, width: int | None = None, n_weights: int | None = None) -> Floats:
    """Coordinates of the increments along principal axes and in random directions, not centred.

    ``F F' = J`` where `width` columns can hold it, the largest first; by default `factor_width`.
    Else half of them do as far as they go, and ``E F F' = J`` over the random directions: with
    ``L L' = J`` (Cholesky), those columns are ``(1 - V V') L R``, V the axes, R normal.

    Parameters
    ----------
    gram : (interval, interval)
        As `increment_gram` makes it.
    n_weights :
        Weights that move, if that is known: few of them take less time.

    Returns
    -------
    (interval, component)
        Weight units.
    """
    n = len(gram)
    kept = min(factor_width(n), width or n)
    few = None if n_weights is None else root_of_gram(gram, n_weights)
    if few is not None:
        found = min(kept, few.shape[1])
        factor = few @ _basis(few.T @ few, found)
        return np.pad(factor, ((0, 0), (0, kept - found)))
    if kept == n or kept < 2:
        values, vectors = _axes(gram, kept)
        return np.asarray(vectors * np.sqrt(values))
    total, led = float(np.trace(gram)), _n_leading(kept)
    root = _root(gram)
    # What the first columns of the root leave out is more than what as many axes do, and a tenth
    # of the work tells that they do not hold all.
    if float((root[:, kept:] ** 2).sum()) <= _SURELY_NOT_HELD * total:
        values, vectors = _axes(gram, kept)
        if total - float(values.sum()) <= _HELD * float(values.sum()):
            return np.asarray(vectors * np.sqrt(values))
        values, vectors = values[:led], vectors[:, :led]
    else:
        values, vectors = _axes(gram, led)
    mixed = root @ _mixture(root.shape[1], kept - led)
    return np.hstack([vectors * np.sqrt(values), mixed - vectors @ (vectors.T @ mixed)])


def _root(gram: Floats, most: int | None = None) -> Floats:
    """``L L' = J``, (interval, column), the largest first; of so many columns at most."""
    lower, order, rank, _ = dpstrf(gram, lower=1)
    root = np.empty((len(gram), min(rank, most or rank)))
    root[order - 1] = np.tril(lower[:, : root.shape[1]])
    return root


def _axes(gram: Floats, count: int) -> tuple[Floats, Floats]:
    """So many leading eigenvalues, descending and not negative, and their vectors in columns."""
    n = len(gram)
    subset = None if count == n else (n - count, n - 1)
    values, vectors = scipy.linalg.eigh(gram, subset_by_index=subset, check_finite=False)
    return np.maximum(values[::-1], 0.0), vectors[:, ::-1]


def factor_of_increments(increments: NDArray[np.floating]) -> Floats:
    """The same from the increments themselves, where there are few weights.

    Parameters
    ----------
    increments : (interval, weight)

    Returns
    -------
    (interval, component)
    """
    n, n_weights = increments.shape
    slices = [slice(start, start + 4096) for start in range(0, n, 4096)]
    dual = np.zeros((n_weights, n_weights))
    # In the dtype of the increments where their squares fit: it only chooses the axes.
    largest = np.abs(increments).max(initial=0.0)
    dtype = increments.dtype if _is_safe(largest, increments.size) else np.float64
    for rows in slices:
        part = increments[rows].astype(dtype, copy=False)
        dual += part.T @ part
    kept = factor_width(n)
    factor = np.zeros((n, kept))
    found = min(kept, n_weights)
    if not np.isfinite(dual).all():
        return np.full((n, kept), np.nan)
    basis = _basis(dual, found)
    for rows in slices:
        factor[rows, :found] = increments[rows].astype(np.float64) @ basis
    return factor


def project(increments: NDArray[np.floating], signs: NDArray[np.int8]) -> Floats:
    """Sums of the increments with random signs, additive over weights.

    ``F = Y S / sqrt(64)``: its inner products are those of the increments on average over S
    (Johnson & Lindenstrauss 1984, doi:10.1090/conm/026/737400; signs: Achlioptas 2003,
    doi:10.1016/S0022-0000(03)00025-4).

    Parameters
    ----------
    increments : (interval, weight)
    signs : (weight, projection)
        As `random_signs` gives them.

    Returns
    -------
    (interval, projection)
    """
    exponent = 0
    largest = np.abs(increments).max(initial=0.0)
    if np.isfinite(largest) and largest > 0 and not _is_safe(largest, increments.shape[1]):
        exponent = int(np.frexp(largest)[1])
        increments = np.ldexp(increments, -exponent)
    projected = (increments @ signs.astype(increments.dtype)).astype(np.float64)
    return np.asarray(np.ldexp(projected, exponent) / N_PROJECTIONS**0.5)


def random_signs(first: int, n_weights: int, seed: int) -> NDArray[np.int8]:
    """64 fair signs of neighbouring weights, the same whatever block they come in.

    Parameters
    ----------
    first :
        Number of the first weight.

    Returns
    -------
    (weight, projection)
    """
    # Philox counts blocks of four numbers of 64 bits.
    block, skipped = divmod(first, 4)
    source = np.random.Philox(key=seed, counter=block)
    numbers = source.random_raw(n_weights + skipped)[skipped:]
    bits = np.unpackbits(numbers.astype("<u8").view(np.uint8).reshape(-1, 8), axis=1)
    return (2 * bits.view(np.int8) - 1).astype(np.int8)


def fewer_columns(factor: Floats, width: int) -> Floats:
    """The factor in fewer columns: along principal axes of its rows, and in random directions.

    Parameters
    ----------
    factor : (interval, component)

    Returns
    -------
    (interval, component)
    """
    if factor.shape[1] <= width:
        return factor
    return np.asarray(factor @ _basis(factor.T @ factor, width))


def _basis(dual: Floats, kept: int) -> Floats:
    """Leading eigenvectors of a dual matrix, and random mixtures of the others, (weight, axis)."""
    values, vectors = _axes(dual, kept)
    left = float(np.trace(dual) - values.sum())
    led = kept if kept < 2 or left <= _HELD * float(values.sum()) else _n_leading(kept)
    leading = vectors[:, :led]
    mixed = _mixture(len(dual), kept - led)
    return np.hstack([leading, mixed - leading @ (leading.T @ mixed)])


def _n_leading(kept: int) -> int:
    """Of the coordinates that are kept, the leading axes."""
    return (kept + 1) // 2


@lru_cache(maxsize=4)
def _mixture(count: int, kept: int) -> Floats:
    """Random directions that keep inner products on average, (component, direction)."""
    drawn = np.random.default_rng(_MIXTURE).standard_normal((count, kept))
    return np.asarray(drawn / max(kept, 1) ** 0.5)


def _is_safe(largest: np.floating, n: int) -> bool:
    """Whether n squares of numbers up to `largest` neither overflow nor vanish in float32."""
    low, high = SAFE_SQUARES
    return bool(low**0.5 < float(largest) < (high / n) ** 0.5)
