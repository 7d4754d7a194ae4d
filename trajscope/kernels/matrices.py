"""Singular values of one weight matrix through its smaller side, and what follows from them."""

from collections.abc import Callable
from typing import Final, NamedTuple

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats

LARGEST_EXACT: Final = 4096
"""Smaller side up to which all singular values are computed; beyond, the leading ones."""
LEADING: Final = 64
"""Singular values of a larger matrix."""
_EXACT_BYTES: Final = 24
"""For every pair of rows of the smaller side: products, vectors, and what finds them."""
_OVERSAMPLED: Final = 16
_POWERS: Final = 2

Rows = Callable[[int, int], NDArray[np.floating]]
"""``(start, stop) -> (row, column)``: neighbouring rows of a matrix."""


class Spectrum(NamedTuple):
    """Singular values of a matrix, and its leading directions.

    Attributes
    ----------
    values : (rank,)
        Descending: all of them, or the leading ones.
    vectors : (smaller side, direction)
        Leading singular vectors on the smaller side.
    squared_norm :
        Squared Frobenius norm, of the whole matrix.
    is_whole :
        Whether these are all singular values.
    """

    values: Floats
    vectors: Floats
    squared_norm: float
    is_whole: bool


def spectrum(rows: Rows, shape: tuple[int, int], n_vectors: int, memory: int) -> Spectrum:
    """Singular values of a matrix that is read in rows, and leading vectors of its smaller side.

    Square roots of the eigenvalues of ``W W'`` or ``W' W``, in float64, which loses singular values
    below 1e-8 of the largest; where the smaller side is longer than 4,096, or products of it do not
    fit the memory, the leading 64 by subspace iteration from 80 random directions, twice over
    (Halko, Martinsson & Tropp 2011, arXiv:0909.4061, algorithm 4.4).

    Parameters
    ----------
    rows :
        Reads the matrix.
    n_vectors :
        Leading singular vectors to return.
    memory :
        Bytes that rows in memory may take, and products of the smaller side.

    Returns
    -------
    Spectrum
        NaN throughout where the matrix is not finite.
    """
    n_rows, n_columns = shape
    at_once = max(memory // (2 * 8 * n_columns), 1)
    if min(shape) > LARGEST_EXACT or _EXACT_BYTES * min(shape) ** 2 > memory:
        return _leading(rows, shape, n_vectors, at_once)
    gram = (_gram_of_rows if n_rows <= n_columns else _gram_of_columns)(rows, shape, at_once)
    n = len(gram)
    if not np.isfinite(gram).all():
        unknown = np.full((n, min(n_vectors, n)), np.nan)
        return Spectrum(np.full(n, np.nan), unknown, float("nan"), True)
    values, vectors = scipy.linalg.eigh(gram, check_finite=False)
    singular = np.sqrt(np.maximum(values[::-1], 0.0))
    return Spectrum(singular, vectors[:, ::-1][:, :n_vectors], float(np.trace(gram)), True)


def numbers_of(found: Spectrum, shape: tuple[int, int]) -> dict[str, float]:
    """What is told of a spectrum; NaN where it cannot be said.

    Returns
    -------
    dict
        ``spectral_norm``: s_1; ``frobenius_norm``: ``F = sqrt(sum s^2)``; ``stable_rank``:
        ``F^2 / s_1^2``; ``effective_rank``: ``exp(- sum p log p)``, ``p = s / sum s`` (Roy &
        Vetterli 2007, EUSIPCO, 606-610), of all singular values only;
        ``random_edge``: ``F (1 / sqrt(rows) + 1 / sqrt(columns))``, the largest singular value of a
        large matrix of independent entries with this F (Marchenko & Pastur 1967,
        doi:10.1070/SM1967v001n04ABEH001994); ``n_above_edge``: how many lie above it.
    """
    largest, norm = float(found.values[0]), found.squared_norm**0.5
    total = float(found.values.sum())
    edge = norm * (shape[0] ** -0.5 + shape[1] ** -0.5)
    is_zero = not largest > 0
    effective = float("nan")
    if found.is_whole and not is_zero:
        p = found.values[found.values > 0] / total
        effective = float(np.exp(-(p * np.log(p)).sum()))
    return {
        "spectral_norm": largest,
        "frobenius_norm": norm,
        "stable_rank": float("nan") if is_zero else found.squared_norm / largest**2,
        "effective_rank": effective,
        "random_edge": edge,
        "n_above_edge": float("nan") if is_zero else float((found.values > edge).sum()),
    }


def drift(one: Spectrum, other: Spectrum) -> float:
    """Distance of two normalised spectra, 0 to 1: ``sum |p_i - q_i| / 2``, ``p = s^2 / F^2``.

    What is missing of a spectrum of leading values counts as one more. NaN for a zero matrix.
    """
    shares = []
    for each in (one, other):
        if not each.squared_norm > 0:
            return float("nan")
        p = each.values**2 / each.squared_norm
        shares.append(np.append(p, max(1 - p.sum(), 0.0)))
    return float(np.abs(shares[0] - shares[1]).sum() / 2)


def overlap(one: Spectrum, other: Spectrum) -> float:
    """Mean squared cosine between leading singular subspaces: 1 the same, k/n for random ones.

    ``|U' V|^2 / k`` for k vectors of n coordinates each; NaN for a zero matrix.
    """
    if not (one.squared_norm > 0 and other.squared_norm > 0):
        return float("nan")
    return float(np.sum((one.vectors.T @ other.vectors) ** 2) / one.vectors.shape[1])


def _gram_of_columns(rows: Rows, shape: tuple[int, int], at_once: int) -> Floats:
    """``W' W``, (column, column)."""
    gram = np.zeros((shape[1], shape[1]))
    for start in range(0, shape[0], at_once):
        block = rows(start, min(start + at_once, shape[0])).astype(np.float64)
        gram += block.T @ block
    return gram


def _gram_of_rows(rows: Rows, shape: tuple[int, int], at_once: int) -> Floats:
    """``W W'``, (row, row): each pair of blocks of rows once."""
    n = shape[0]
    gram = np.zeros((n, n))
    for start in range(0, n, at_once):
        own = slice(start, min(start + at_once, n))
        block = rows(own.start, own.stop).astype(np.float64)
        gram[own, own] = block @ block.T
        for other in range(own.stop, n, at_once):
            ahead = slice(other, min(other + at_once, n))
            product = block @ rows(ahead.start, ahead.stop).astype(np.float64).T
            gram[own, ahead], gram[ahead, own] = product, product.T
    return gram


def _leading(rows: Rows, shape: tuple[int, int], n_vectors: int, at_once: int) -> Spectrum:
    """The leading singular values by subspace iteration; the same seed for every matrix."""
    n_rows, n_columns = shape
    normal = np.random.default_rng(0).standard_normal((n_columns, LEADING + _OVERSAMPLED))
    right = np.linalg.qr(normal).Q
    kept = min(LEADING, *shape)
    squared = 0.0
    image = np.zeros((n_rows, right.shape[1]))
    for power in range(_POWERS + 1):
        back = np.zeros_like(right)
        for start in range(0, n_rows, at_once):
            own = slice(start, min(start + at_once, n_rows))
            block = rows(own.start, own.stop).astype(np.float64)
            image[own] = block @ right
            back += block.T @ image[own]
            squared += float(np.vdot(block, block)) if power == 0 else 0.0
        if not np.isfinite(squared):
            unknown = np.full((min(shape), n_vectors), np.nan)
            return Spectrum(np.full(kept, np.nan), unknown, float("nan"), False)
        if power < _POWERS:
            right = np.linalg.qr(back).Q
    left, values, turned = np.linalg.svd(image, full_matrices=False)
    vectors = left if n_rows <= n_columns else right @ turned.T
    return Spectrum(values[:kept], vectors[:, :n_vectors], squared, False)
