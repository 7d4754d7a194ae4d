"""The processes with known answers for the tests and the verdict."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from trajscope import simulate
from trajscope.kernels.gram import Floats

Law = Callable[[np.random.Generator, tuple[int, int]], Floats]
Process = Callable[[int, int, int], Floats]
"""``(n_steps, n_weights, seed) -> (step, component)``; an embedding would change no number."""

RINGING_RADIUS: Final = 0.95
RINGING_PERIOD: Final = 12
CYCLE_PERIOD: Final = 20
WELL_INTERVAL: Final = 0.5
RELAXING_MODES: Final = 10


def brownian(**options: float) -> Process:
    """Brownian motion; `options` as those of `simulate.brownian`."""
    return lambda n, d, seed: values(simulate.brownian(n, d, seed=seed, **options))


def low_rank_brownian(share: float | None = None, rank: int | None = None) -> Process:
    """Brownian motion whose noise has a rank, or one that is a share of the weights."""

    def make(n: int, d: int, seed: int) -> Floats:
        return values(simulate.brownian(n, rank or max(1, round(share * d)), seed=seed))

    return make


def autoregressive(phi: float, n_modes: int = 10) -> Process:
    """A walk with increments ``y[t] = phi y[t-1] + e[t]``."""

    def make(n: int, d: int, seed: int) -> Floats:
        modes = min(d, n_modes)
        return values(simulate.autoregressive_increments(n, modes, phi=[phi], seed=seed))

    return make


def well(tau: float = 0, share: float = 0, n_modes: int | None = None, start: float = 0) -> Process:
    """Equal Ornstein-Uhlenbeck modes, of a time in steps or as a share of the window.

    `start` is the distance from the middle, in standard deviations, of the first three modes.
    """

    def make(n: int, d: int, seed: int) -> Floats:
        modes = n_modes or d
        begins = [start] * min(3, modes) + [0.0] * (modes - 3)
        times = [tau or share * n] * modes
        return values(simulate.ornstein_uhlenbeck(n, taus=times, seed=seed, start=begins))

    return make


def loud_at_times(tau: float = 0, n_modes: int = 20) -> Process:
    """Wells, or a walk, whose noise is loud for some twenty steps at once, in all modes."""
    law = simulate.clustered(persistence=20, spread=1)

    def make(n: int, _: int, seed: int) -> Floats:
        if not tau:
            return values(simulate.driven_walk(n, n_modes=n_modes, noise=law, seed=seed))
        return values(simulate.driven_well(n, taus=[tau] * n_modes, noise=law, seed=seed))

    return make


def heavy_tailed_well(tau: float, law: Law, n_modes: int = 10) -> Process:
    """Wells whose noise has heavy tails."""
    return lambda n, _, seed: values(
        simulate.driven_well(n, taus=[tau] * n_modes, noise=law, seed=seed)
    )


def rotating(ratio: float, n_planes: int) -> Process:
    """Planes that decay within T/20 and turn `ratio` times as fast as they decay."""

    def make(n: int, _: int, seed: int) -> Floats:
        rate = 20 / n
        planes = [
            simulate.rotating_ornstein_uhlenbeck(
                n, rate=rate, angular_velocity=ratio * rate, seed=n_planes * seed + plane
            )
            for plane in range(n_planes)
        ]
        return np.hstack([values(plane) for plane in planes])

    return make


def double_well(strength: float) -> Process:
    """Two wells, stirred."""

    def make(n: int, _: int, seed: int) -> Floats:
        return values(simulate.double_well(n, strength=strength, interval=WELL_INTERVAL, seed=seed))

    return make


def limit_cycle(noise: float, blur: float = 0) -> Process:
    """A limit cycle of 20 steps whose radius settles within 2.5; phase coherent for 0.2/noise.

    `blur` is the standard deviation of what every checkpoint adds, over the radius.
    """

    def make(n: int, _: int, seed: int) -> Floats:
        turn = 2 * np.pi / CYCLE_PERIOD
        path = values(simulate.hopf(n, mu=0.2, angular_velocity=turn, noise=noise, seed=seed))
        extra = np.random.default_rng([seed, 1]).standard_normal(path.shape)
        return path + blur * 0.2**0.5 * extra

    return make


def ringing(n_modes: int) -> Process:
    """Modes that ring as heavy-ball momentum makes them: radius .95, period 12."""
    turn = 2 * np.cos(2 * np.pi / RINGING_PERIOD) * RINGING_RADIUS

    def make(n: int, _: int, seed: int) -> Floats:
        walk = simulate.autoregressive_increments(
            n + 1, n_modes, phi=[turn, -(RINGING_RADIUS**2)], seed=seed
        )
        return np.diff(values(walk), axis=0)

    return make


def quadratic(curvatures: Sequence[float], correlation: float) -> Process:
    """SGD on a quadratic loss whose gradient noise does not commute with its Hessian."""

    def make(n: int, _: int, seed: int) -> Floats:
        noise = np.full((len(curvatures),) * 2, correlation)
        np.fill_diagonal(noise, 1)
        loss = simulate.quadratic_loss(np.diag(curvatures), noise, n_samples=256, seed=seed)
        plain = simulate.Optimizer(learning_rate=1.0, batch_size=16)
        return values(
            simulate.stochastic_gradient_descent(n, loss=loss, optimizer=plain, seed=seed)
        )

    return make


def values(trajectory: object) -> Floats:
    """The numbers of a trajectory, (step, component)."""
    return np.asarray(trajectory, np.float64)


PROCESSES: Final[dict[str, Process]] = {
    "Brownian, isotropic": brownian(),
    "Brownian, rank 1%": low_rank_brownian(share=0.01),
    "Brownian, rank 10": low_rank_brownian(rank=10),
    "Brownian, t3": brownian(degrees_of_freedom=3),
    "Brownian, drift .1": brownian(drift=0.1),
    "Brownian, drift .3": brownian(drift=0.3),
    "Brownian, 1.2 times as large": lambda n, d, seed: 1.2 * brownian()(n, d, seed),
    "noise scale doubled half-way": brownian(noise_ratio=2),
    "AR(.1) increments": autoregressive(0.1),
    "AR(.5) increments": autoregressive(0.5),
    "AR(.9) increments": autoregressive(0.9),
    "OU, tau = 1": well(tau=1, n_modes=10),
    "OU, tau = 2": well(tau=2, n_modes=10),
    "OU, tau = 10": well(tau=10, n_modes=10),
    "OU, tau = 20": well(tau=20, n_modes=10),
    "OU, tau = 40": well(tau=40, n_modes=10),
    "OU, tau = 200": well(tau=200, n_modes=10),
    "OU, tau = 1000": well(tau=1000, n_modes=10),
    "OU, tau = T/100": well(share=1 / 100, n_modes=10),
    "OU, tau = T/40": well(share=1 / 40, n_modes=10),
    "OU, tau = T/20": well(share=1 / 20, n_modes=10),
    "OU, tau = T/10": well(share=1 / 10, n_modes=10),
    "OU, every weight a mode, tau = T/20": well(share=1 / 20),
    "100 equal OU modes, tau = T/40": well(share=1 / 40, n_modes=100),
    "100 equal OU modes, tau = T/20": well(share=1 / 20, n_modes=100),
    "OU, tau = 10, clustered volatility": loud_at_times(10),
    "100 OU modes, tau = 10, clustered volatility": loud_at_times(10, 100),
    "Brownian, clustered volatility": loud_at_times(),
    "OU, tau = 10, t3 noise": heavy_tailed_well(10, simulate.student_t(3)),
    "OU, tau = 10, Levy noise, 1.7": heavy_tailed_well(10, simulate.stable(1.7)),
    "relaxing OU (5 sd), tau = T/5": well(share=1 / 5, n_modes=RELAXING_MODES, start=5),
    "relaxing OU (5 sd), tau = T/20": well(share=1 / 20, n_modes=RELAXING_MODES, start=5),
    "rotating OU, 5 planes, omega/a = .3": rotating(0.3, 5),
    "rotating OU, 5 planes, omega/a = 1": rotating(1, 5),
    "rotating OU, 5 planes, omega/a = 3": rotating(3, 5),
    "rotating OU, 1 plane, omega/a = .3": rotating(0.3, 1),
    "rotating OU, 1 plane, omega/a = 1": rotating(1, 1),
    "rotating OU, 1 plane, omega/a = 3": rotating(3, 1),
    "double well, lambda = 0": double_well(0),
    "double well, lambda = .5": double_well(0.5),
    "double well, lambda = 1.5": double_well(1.5),
    "symmetric Hessian, noise that does not commute": quadratic((0.02, 0.2), 0.9),
    "limit cycle, noisy": limit_cycle(0.00225),
    "limit cycle, coherent": limit_cycle(1e-5, blur=0.1),
    "ringing, 3 modes": ringing(3),
    "ringing, 10 modes": ringing(10),
}
"""By the name they have in the tables; T is the number of checkpoints."""
