"""Random permutations, signs and phases: the same for every layer, whoever draws them and when."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

DRAWS_AT_ONCE: Final = 16
"""Draws share a generator in batches of this size, so that no batch depends on another."""

_WORTH_A_THREAD: Final = 1 << 16
"""Numbers that a draw transforms, from which batches run side by side."""

_PERMUTATIONS, _SIGNS, _PHASES, _NORMALS = range(4)


def permutations(seed: int, batch: int, n: int) -> NDArray[np.int32]:
    """Uniformly random orders of n intervals, (draw, interval)."""
    orders = np.tile(np.arange(n, dtype=np.int32), (DRAWS_AT_ONCE, 1))
    return _generator(seed, _PERMUTATIONS, batch).permuted(orders, axis=1)


def signs(seed: int, batch: int, n: int) -> NDArray[np.float32]:
    """Fair random signs, (draw, interval)."""
    coins = _generator(seed, _SIGNS, batch).integers(0, 2, (DRAWS_AT_ONCE, n), dtype=np.int8)
    return 2 * coins.astype(np.float32) - 1


def phases(seed: int, batch: int, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Uniformly random angles in [0, 2 pi), (draw, ...)."""
    uniform = _generator(seed, _PHASES, batch).random((DRAWS_AT_ONCE, *shape), dtype=np.float32)
    return np.float32(2 * np.pi) * uniform


def normals(seed: int, batch: int, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Standard normal numbers, (draw, ...)."""
    return _generator(seed, _NORMALS, batch).standard_normal((DRAWS_AT_ONCE, *shape))


Batch = TypeVar("Batch")


def over_batches(work: Callable[[int, int], Batch], n_draws: int, size: int) -> list[Batch]:
    """``work(batch, draws in it)`` of every batch, in order.

    Parameters
    ----------
    size :
        Numbers that a draw transforms; long draws are shared among the cores.
    """
    counts = [
        min(DRAWS_AT_ONCE, n_draws - batch * DRAWS_AT_ONCE) for batch in range(n_batches(n_draws))
    ]
    if size < _WORTH_A_THREAD:
        return [work(batch, count) for batch, count in enumerate(counts)]
    with ThreadPoolExecutor(min(len(counts), os.cpu_count() or 1)) as pool:
        return list(pool.map(work, range(len(counts)), counts))


def n_batches(n_draws: int) -> int:
    """Batches that hold `n_draws` draws."""
    return -(-n_draws // DRAWS_AT_ONCE)


def _generator(seed: int, what: int, batch: int) -> np.random.Generator:
    return np.random.default_rng([seed, what, batch])
