"""How the noise of single batches adds up between two checkpoints, under momentum and shuffling."""

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.optimizer import Optimizer


def overlap(updates: int, optimizer: Optimizer) -> Floats:
    """How strongly batches h updates apart enter the same increment, ``A_h = sum_s w_s w_(s+h)``.

    An increment over m updates is ``-eta sum_s w_s g_s``: each batch counts as `Optimizer.response`
    says, once per update, so ``w`` is a box of m ones convolved with it. Independent batches of
    noise C give the increment the covariance ``eta^2 A_0 C``, for heavy-ball momentum ``A_0 =
    m / (1 - mu)^2 (1 - 2 mu (1 - mu^m) / (m (1 - mu^2)))``, and two increments whose starts are h
    updates apart ``eta^2 A_h C``. The weights are taken not to pull back: exact on a flat loss, and
    near it while m updates relax little.

    Returns
    -------
    (update,)
        From h = 0 on.
    """
    from scipy.signal import fftconvolve

    weights = fftconvolve(np.ones(updates), optimizer.response())
    found: Floats = fftconvolve(weights, weights[::-1])[len(weights) - 1 :]
    return found


def gain_with_replacement(overlaps: Floats) -> float:
    """A_0: the trace of an increment's covariance in units of ``eta^2 tr(D) / b``."""
    return float(overlaps[0])


def gain_without_replacement(overlaps: Floats, n_samples: int, batch_size: int) -> float:
    """The same where every epoch deals all N samples out in n = N/b batches.

    ``(N - b)/(N - 1) (A_0 - 2/(n - 1) sum_h (1 - h/n)_+ A_h)``: a batch varies by (N - b)/(N - 1)
    of D/b, two of the same epoch have -1/(n - 1) of that in common, and batches h apart are of the
    same epoch with probability 1 - h/n. Exact if the phases of the checkpoints within the epoch are
    spread evenly.
    """
    n = n_samples / batch_size
    apart = np.arange(1, min(len(overlaps), int(np.ceil(n))))
    shared = 2 * float(((1 - apart / n) * overlaps[apart]).sum()) / (n - 1)
    return (n_samples - batch_size) / (n_samples - 1) * (float(overlaps[0]) - shared)


def correlations(starts: Floats, overlaps: Floats) -> Floats:
    """Correlation between increments that start at these updates, ``A_|s-t| / A_0``.

    Parameters
    ----------
    starts : (interval,)
        In updates.

    Returns
    -------
    (interval, interval)
    """
    apart = np.abs(starts[:, None] - starts).astype(np.int64)
    near = apart < len(overlaps)
    found: Floats = np.where(near, overlaps[np.where(near, apart, 0)], 0.0) / overlaps[0]
    return found
