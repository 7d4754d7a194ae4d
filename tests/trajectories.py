"""Trajectories to test on: simulated processes, and hypothesis strategies over awkward weights."""

import numpy as np
from hypothesis import strategies as st


def brownian(n_steps, n_weights, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n_steps, n_weights)).cumsum(axis=0).astype(dtype)


def late_training(n_steps, n_weights, seed=0, dtype=np.float32):
    """Weights of 0.05 whose increments are 1e-5: what a checkpoint late in a run holds."""
    start = np.random.default_rng(seed).choice([-0.05, 0.05], n_weights)
    return (start + 1e-5 * brownian(n_steps, n_weights, seed + 1)).astype(dtype)


def rotating_ornstein_uhlenbeck(n_steps, n_planes, *, decay, omega, seed=0):
    """Exact samples at unit time steps of independent planes, stationary, variance 1/2 per axis."""
    rng = np.random.default_rng(seed)
    noise = rng.standard_normal((2, n_steps, n_planes)) / np.sqrt(2)
    noise = noise[0] + 1j * noise[1]
    z = np.empty((n_steps, n_planes), complex)
    z[0] = noise[0]
    turn = np.exp(-decay + 1j * omega)
    for t in range(1, n_steps):
        z[t] = turn * z[t - 1] + np.sqrt(1 - np.exp(-2 * decay)) * noise[t]
    return np.concatenate([z.real, z.imag], axis=1)


def ornstein_uhlenbeck(n_steps, n_weights, rho, seed=0):
    """Stationary, unit variance, correlation `rho` between neighbouring steps."""
    noise = np.random.default_rng(seed).standard_normal((n_steps, n_weights))
    x = np.empty_like(noise)
    x[0] = noise[0]
    for t in range(1, n_steps):
        x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * noise[t]
    return x


def _walk(t, rng):
    return rng.standard_normal(t).cumsum()


KINDS = {
    "walk": _walk,
    "dead": lambda t, rng: np.full(t, rng.standard_normal()),
    "zero": lambda t, rng: np.zeros(t),
    "signed zeros": lambda t, rng: np.where(rng.random(t) < 0.5, -0.0, 0.0),
    # Dyadic: the increments are equal to the last bit, so both sides see that none varies.
    "constant velocity": lambda t, rng: 0.25 * (1 + np.arange(t)),
    "one jump": lambda t, rng: np.where(np.arange(t) < rng.integers(1, t), 1.0, 2.0),
    "sparse": lambda t, rng: _walk(t, rng) * (rng.random(t) < 0.3),
    "late": lambda t, rng: 0.05 + 1e-5 * _walk(t, rng),
    "large": lambda t, rng: 10 ** rng.uniform(3, 17) * _walk(t, rng),
    "small": lambda t, rng: 10 ** rng.uniform(-17, -3) * _walk(t, rng),
    "huge": lambda t, rng: 1e30 * _walk(t, rng),
    "tiny": lambda t, rng: 1e-30 * _walk(t, rng),
}
ORDINARY = ("walk", "dead", "zero", "signed zeros", "constant velocity", "one jump", "sparse",
            "late")  # fmt: skip


@st.composite
def trajectories(draw, *, kinds=tuple(KINDS), dtypes=(np.float32, np.float64), most_steps=24):
    """(step, weight) with a mixture of kinds of weights; at least 2 steps and 1 weight."""
    n_steps = draw(st.integers(2, most_steps))
    chosen = draw(st.lists(st.sampled_from(kinds), min_size=1, max_size=12))
    dtype = draw(st.sampled_from(dtypes))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    return np.stack([KINDS[kind](n_steps, rng) for kind in chosen], axis=1).astype(dtype)
