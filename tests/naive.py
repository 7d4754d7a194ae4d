"""Slow, obvious twins of what the pass measures: loops as on paper, in float64."""

from itertools import pairwise

import numpy as np


def increments(x):
    return np.array([x[t + 1] - x[t] for t in range(len(x) - 1)])


def fft_amplitudes(x):
    """Amplitudes of every weight whose increments vary, at j = 1..floor(n/2), unit mean power."""
    n_frequencies = (len(x) - 1) // 2
    amplitudes = [np.zeros((0, n_frequencies))]
    if n_frequencies == 0:
        return amplitudes[0]
    for series in increments(x).T:
        if np.ptp(series) > 0:
            y = series / np.abs(series).max()
            amplitude = np.abs(np.fft.fft(y - y.mean()))[1 : n_frequencies + 1]
            amplitudes.append([amplitude / np.sqrt(np.mean(amplitude**2))])
    return np.concatenate(amplitudes)


def periodogram(x):
    y = increments(x)
    n = len(y)
    power = np.zeros(n // 2)
    for j in range(1, n // 2 + 1):
        wave = np.exp(-2j * np.pi * j * np.arange(n) / n)
        power[j - 1] = np.sum(np.abs(wave @ (y - y.mean(axis=0))) ** 2) / n
    return power


def autocorrelations(x):
    """Biased estimate of every weight that moves, (weight, lag)."""
    curves = []
    for series in x.T:
        if np.ptp(series) > 0:
            centred = series - series[0]
            centred = centred / np.abs(centred).max()
            centred = centred - centred.mean()
            curves.append([centred[: len(x) - h] @ centred[h:] for h in range(len(x))])
            curves[-1] = np.array(curves[-1]) / (centred @ centred)
    return np.array(curves).reshape(-1, len(x))


def mean_over_weights(curves):
    return curves.mean(axis=0) if len(curves) else np.zeros(curves.shape[1])


def variance_over_weights(curves):
    return curves.var(axis=0) if len(curves) else np.zeros(curves.shape[1])


def increment_gram(x):
    y = increments(x)
    return np.array([[a @ b for b in y] for a in y])


def displacement_gram(x):
    d = x - x[0]
    return np.array([[a @ b for b in d] for a in d])


def squared_displacement_at(x, lag):
    return np.mean([np.sum((x[t + lag] - x[t]) ** 2) for t in range(len(x) - lag)])


def mean_squared_displacement(x):
    return np.array([squared_displacement_at(x, lag) for lag in range(len(x))])


def explained_variance(x, n_components):
    centred = x - x[0] - (x - x[0]).mean(axis=0)
    variances = np.zeros(min(n_components, len(x) - 1))
    found = np.linalg.svd(centred, compute_uv=False)[: len(variances)] ** 2
    variances[: len(found)] = found
    return variances / max(np.sum(centred**2), np.finfo(float).tiny)


def principal_components(x, n_components):
    """Positions along the leading components, (step, component), up to the sign of each."""
    centred = x - x[0] - (x - x[0]).mean(axis=0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :n_components] * singular[:n_components]


def displacement(x):
    return np.array([np.linalg.norm(row - x[0]) for row in x])


def increment_norms(x):
    return np.array([np.linalg.norm(y) for y in increments(x)])


def path_length(x):
    return sum(increment_norms(x))


def increment_cosines(x):
    cosines = []
    for before, after in pairwise(increments(x)):
        length = np.linalg.norm(before) * np.linalg.norm(after)
        cosines.append(before @ after / length if length else 0.0)
    return np.array(cosines)


def increment_rms(x):
    return np.sqrt(np.mean(increments(x) ** 2))


def zero_increment_fraction(x):
    unchanged = [a == b for before, after in pairwise(x)
                 for a, b in zip(before, after, strict=True)]  # fmt: skip
    return np.mean(unchanged)


def n_moving(x):
    return sum(any(value != series[0] for value in series) for series in x.T)


def rounding_floor(x, dtype):
    """Root of the summed variances of both ends of an increment, each uniform over one spacing."""
    spacing = np.array([[_spacing(value, dtype) for value in row] for row in (x[0], x[-1])])
    return np.sqrt(2 * np.mean(spacing**2) / 12)


def _spacing(value, dtype):
    """Distance to the next number away from zero in `dtype`; 0 at zero, which nothing rounds to."""
    number = abs(dtype(value))
    return float(np.nextafter(number, dtype(np.inf)) - number) if number else 0.0


def cosine(a, b):
    norms = np.linalg.norm(a) * np.linalg.norm(b)
    return np.clip(a @ b / norms, -1, 1) if norms > 0 else np.nan


def angle(a, b):
    """Between two vectors, from the chord between them: right for small angles too."""
    if not (a.any() and b.any()):
        return np.nan
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return 2 * np.arctan2(np.linalg.norm(a - b), np.linalg.norm(a + b))


def angles(x):
    return np.array([angle(a, b) for a, b in pairwise(x)])


def relative_increments(x):
    norms = [np.linalg.norm(row) for row in x]
    moved = increment_norms(x)
    return np.array([y / n if n > 0 else np.nan for y, n in zip(moved, norms[:-1], strict=True)])


def cosines(x, others):
    return np.array([[cosine(a, b) for b in others] for a in x])


def distances(x):
    return np.array([[np.linalg.norm(a - b) for b in x] for a in x])


def norm_balance(x):
    total = np.sum(increments(x) ** 2)
    return 1 - (x[-1] @ x[-1] - x[0] @ x[0]) / total if total > 0 else np.nan
