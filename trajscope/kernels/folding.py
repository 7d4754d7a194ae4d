"""Weights of a checkpoint folded into few random sums, in which increments keep their products."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.gram import Floats

WIDTH: Final = 1024
"""Sums that are kept of a checkpoint."""

_WORDS: Final = 20
"""Numbers of 64 bits for each block of `WIDTH` weights: 16 of signs, one rotation; Philox counts
in fours."""
_SIGNS: Final = WIDTH // 64


def add_folded(total: Floats, weights: NDArray[np.floating], *, first: int, seed: int) -> None:
    """Add the random sums of some weights to those of a checkpoint.

    ``f_c = sum_i s(i) x_i [c(i) = c]``: every block of 1,024 neighbouring weights gets random signs
    s, is rotated by a random number of places and added. It is linear, so that sums of increments
    are increments of sums, and ``<f(y), f(z)>`` is ``<y, z>`` on average over the signs, with a
    standard deviation of at most ``sqrt(2 / 1024) |y| |z|`` where no few weights hold most of it.
    Reordered or reflected increments are reordered or reflected sums: tests that permute increments
    keep their level. Count sketch, Charikar, Chen & Farach-Colton 2004,
    doi:10.1016/S0304-3975(03)00400-6.

    Parameters
    ----------
    total : (sum,)
        Of `WIDTH` sums in float64; is added to.
    weights : (weight,)
    first :
        Number of the first weight, a multiple of `WIDTH`: a weight has the same sign and place
        whatever piece it comes in.

    Examples
    --------
    >>> total = np.zeros(WIDTH)
    >>> add_folded(total, np.ones(1, np.float32), first=0, seed=0)
    >>> float(np.abs(total).sum())
    1.0
    """
    n_blocks = -(-len(weights) // WIDTH)
    source = np.random.Philox(key=seed, counter=first // WIDTH * (_WORDS // 4))
    numbers = source.random_raw(n_blocks * _WORDS).reshape(n_blocks, _WORDS)
    bits = np.unpackbits(numbers[:, :_SIGNS].astype("<u8").view(np.uint8), axis=1)
    turns = (numbers[:, _SIGNS] % WIDTH).tolist()
    for block, turn in enumerate(turns):
        own = weights[block * WIDTH : (block + 1) * WIDTH]
        signed = np.where(bits[block, : len(own)], -own, own)
        head = WIDTH - turn
        total[turn : turn + len(signed[:head])] += signed[:head]
        total[: len(signed[head:])] += signed[head:]
