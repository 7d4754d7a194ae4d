"""Slow, obvious twins of the measured curves, straight from their definitions."""

import numpy as np


def increment_fft(x):
    """Mean and spread over weights of the amplitude, and the pooled power, at j = 1..n//2."""
    y = np.diff(x, axis=0)
    y = y - y.mean(axis=0)
    n = len(y)
    amplitude = np.abs(np.fft.fft(y, axis=0))[1 : n // 2 + 1]
    power = (amplitude**2).sum(axis=1) / n
    if n < 2:
        return np.empty(0), np.empty(0), np.empty(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        relative = amplitude / np.sqrt((amplitude**2).mean(axis=0))
    moving = np.ptp(x, axis=0) > 0
    return relative[:, moving].mean(axis=1), relative[:, moving].std(axis=1), power


def autocorrelation(x):
    """Mean and spread over weights of the biased estimate, at every lag."""
    x = x[:, np.ptp(x, axis=0) > 0]
    x = x - x.mean(axis=0)
    every = [(x[: len(x) - h] * x[h:]).sum(axis=0) / (x**2).sum(axis=0) for h in range(len(x))]
    return np.mean(every, axis=1), np.std(every, axis=1)


def autocorrelation_of_a_random_walk(n_steps):
    """Ratio of expectations for Brownian positions of this length."""
    t = np.arange(n_steps)
    covariance = np.minimum.outer(t, t).astype(float)
    centre = np.eye(n_steps) - 1 / n_steps
    c = centre @ covariance @ centre
    return np.array([np.trace(c, offset=h) for h in range(n_steps)]) / np.trace(c)


def mean_squared_displacement(x):
    return np.array([0.0] + [((x[q:] - x[:-q]) ** 2).sum(axis=1).mean() for q in range(1, len(x))])


def principal_components(x, n_components):
    """Shares of variance and scores (step, component), each score with its variance."""
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    share = s**2 / max((s**2).sum(), 1e-300)
    return share[:n_components], (u * s)[:, :n_components]


def explained_variance_of_a_random_walk(n_steps, n_components):
    k = np.arange(1, n_steps)
    share = 1 / np.sin(np.pi * k / (2 * n_steps)) ** 2
    return (share / share.sum())[:n_components]


def increment_cosine(x):
    y = np.diff(x, axis=0)
    length = np.linalg.norm(y, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return (y[1:] * y[:-1]).sum(axis=1) / (length[1:] * length[:-1])


def cosines(x, others):
    with np.errstate(invalid="ignore", divide="ignore"):
        norms = np.linalg.norm(x, axis=1)[:, None] * np.linalg.norm(others, axis=1)
        return np.clip(x @ others.T / norms, -1, 1)


def distances(x):
    return np.array([np.linalg.norm(x - row, axis=1) for row in x])


def norm_balance(x):
    total = np.sum(np.diff(x, axis=0) ** 2)
    return 1 - (x[-1] @ x[-1] - x[0] @ x[0]) / total if total > 0 else np.nan


def river(x, lengths):
    """Share, cosine, energy and speed of averages over windows, (number, window length)."""
    found = np.full((4, len(lengths)), np.nan)
    for place, w in enumerate(lengths):
        windows = x[: len(x) // w * w].reshape(-1, w, x.shape[1])
        means = windows.mean(axis=1)
        variances = np.linalg.svd(means - means.mean(axis=0), compute_uv=False) ** 2
        steps = np.diff(means, axis=0)
        sizes = np.linalg.norm(steps, axis=1)
        with np.errstate(invalid="ignore"):
            found[0, place] = variances[0] / variances.sum()
            products = np.sum(steps[1:] * steps[:-1], axis=1)
            found[1, place] = np.nan_to_num(products / (sizes[1:] * sizes[:-1])).mean()
        found[2, place] = np.mean(np.sum((windows - means[:, None]) ** 2, axis=2))
        found[3, place] = sizes.mean() / w
    return found


def phase_portrait(x, n_axes=6):
    """Positions and increments along the principal axes of the increments, and signed areas."""
    y = np.diff(x, axis=0)
    y = y - y.mean(axis=0)
    left, sizes, _ = np.linalg.svd(y, full_matrices=False)
    y = (left * sizes)[:, :n_axes]
    position = np.concatenate([np.zeros((1, y.shape[1])), y.cumsum(axis=0)])
    position -= position.mean(axis=0)
    area = [
        sum(p[t] * q[t + 1] - q[t] * p[t + 1] for t in range(len(q) - 1)) / max(q @ q, 1e-300)
        for p, q in zip(position.T, y.T, strict=True)
    ]
    return position, y, np.array(area)
