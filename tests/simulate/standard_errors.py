"""Measured means against closed forms, within the standard error that the replicates show."""

import numpy as np
from scipy import stats


def assert_agrees(replicates, expected, *, precision, of=None):
    """The mean over the first axis is `expected`, within 4.5 standard errors.

    Replicates are independent; 4.5 errors leave 7e-6 per number to chance, and the seeds are fixed.
    The errors must be below `precision` in units of `of`, by default the largest expected number:
    that makes it a test.
    """
    replicates = np.asarray(replicates, np.float64)
    expected = np.broadcast_to(expected, replicates.shape[1:])
    error = replicates.std(axis=0, ddof=1) / np.sqrt(len(replicates))
    scale = of or np.abs(expected).max() or 1.0
    assert error.max() <= precision * scale, f"too few replicates: {error.max() / scale:.3g}"
    distance = np.abs(replicates.mean(axis=0) - expected)
    assert (distance <= 4.5 * error + 1e-12 * scale).all(), (distance / error).max()


def assert_distributed(samples, law):
    """Independent samples follow `law`: Kolmogorov-Smirnov at 1e-4, for there are dozens."""
    assert stats.kstest(np.ravel(samples), law).pvalue > 1e-4


def lagged_products(modes, lag):
    """Mean over t of x[t] x[t+lag] for every mode, (mode,)."""
    return np.mean(modes[: len(modes) - lag] * modes[lag:], axis=0)


def squared_displacements(modes, lag):
    """Mean over t of (x[t+lag] - x[t])^2 for every mode, (mode,)."""
    return np.mean((modes[lag:] - modes[:-lag]) ** 2, axis=0)


def signed_area(x, lag):
    """Mean over t of x_1[t] x_2[t+lag] - x_2[t] x_1[t+lag], of (step, 2)."""
    before, after = x[:-lag], x[lag:]
    return np.mean(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0])
