"""Processes as ordinary runs are: schedules, courses, memory and uneven steps; all of `analyze`."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr

import trajscope
from trajscope import simulate
from trajscope.kernels.gram import Floats
from trajscope.report.content.summary import summary
from trajscope.schema import LEARNING_RATE, STEP
from trajscope.simulate.courses import Course
from trajscope.simulate.noises import Law

MODES: Final = 40
TAU: Final = 5.0
TIME: Final = 1 / np.tanh(1 / (2 * TAU))
"""Integrated correlation time of a well of time tau, in steps."""
Make = Callable[[int, int], xr.DataArray]
"""``(n_steps, seed) -> (step, mode)``."""


@dataclass(frozen=True)
class Ordinary:
    """A process and what should be said of it.

    Attributes
    ----------
    codes, rests :
        Verdicts, and rests, that are right.
    time :
        Integrated correlation time in steps, where the rest is confined with one.
    moves :
        Whether there is a course.
    """

    make: Make
    codes: str
    rests: str
    time: float | None = None
    moves: bool = False


def measure_ordinary(name: str, n_steps: int, n_surrogates: int, seed: int) -> dict[str, Any]:
    """What `trajscope.analyze` says of one run."""
    run = ORDINARY[name].make(n_steps, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", trajscope.TrajscopeWarning)  # of uneven steps, on purpose
        result = trajscope.analyze(run, n_surrogates=n_surrogates, seed=seed)
    told = summary(result)
    verdict = told["verdict"]
    rest, course = verdict["rest"] or {}, verdict["course"] or {}
    return {
        "code": verdict["code"],
        "rest": rest.get("code", "unknown"),
        "time": rest.get("correlation_time"),
        "components": course.get("components", 0),
        "phases": max(1, len(told.get("phases") or ())),
    }


def walk(rate: Course = 1.0, *, known: bool = False, noise: Law = simulate.gaussian) -> Make:
    """A walk whose noise follows a course."""

    def make(n: int, seed: int) -> xr.DataArray:
        made = simulate.driven_walk(n, n_modes=MODES, seed=seed, noise=noise, learning_rate=rate)
        return made if known else made.drop_vars(LEARNING_RATE)

    return make


def well(
    rate: Course = 1.0,
    *,
    known: bool = False,
    course: Callable[[Floats], Floats] | None = None,
    tau: float = TAU,
    turns: float | None = None,
    noise: Law = simulate.gaussian,
) -> Make:
    """Wells; in the first mode the centre moves along a course."""

    def make(n: int, seed: int) -> xr.DataArray:
        centre = np.zeros((n, MODES))
        if course is not None:
            centre[:, 0] = course(np.linspace(0, 1, n))
        times = [tau] * (MODES if turns is None else MODES // 2)
        made = simulate.driven_well(
            n, taus=times, seed=seed, noise=noise, learning_rate=rate, centre=centre,
            angular_velocity=turns,
        )  # fmt: skip
        return made if known else made.drop_vars(LEARNING_RATE)

    return make


def balanced(rate: Callable[[Floats], Floats]) -> Make:
    """Wells whose positions shrink with the root of the rate: never out of balance, unlike `well`.

    After a step of the rate the positions of a well are those of the rate before it, and relax.
    """

    def make(n: int, seed: int) -> xr.DataArray:
        scale = np.sqrt(rate(np.linspace(0, 1, n)))
        made = simulate.driven_well(
            n, taus=[TAU] * MODES, seed=seed, scale=1 / scale, learning_rate=rate
        )
        return made.copy(data=made.to_numpy() * scale[:, np.newaxis])

    return make


def fractional(hurst: float) -> Make:
    """Fractional Brownian motion in ten modes."""
    return lambda n, seed: simulate.fractional_brownian(n, n_modes=10, hurst=hurst, seed=seed)


def one_in_five_missing(make: Make) -> Make:
    """The same run without a fifth of its checkpoints."""
    return lambda n, seed: simulate.missing_steps(make(n, seed), fraction=0.2, seed=seed + 1)


def jittered(make: Make) -> Make:
    """Checkpoints near every tenth."""
    return lambda n, seed: simulate.jittered_steps(
        make(10 * n + 20, seed), every=10, jitter=2, seed=seed + 1
    ).isel({STEP: slice(0, n)})


def log_spaced(make: Make) -> Make:
    """Checkpoints whose steps grow by a constant factor, from a run a hundred times as long."""

    def made(n: int, seed: int) -> xr.DataArray:
        steps = np.unique(np.geomspace(10, 20 * n, n).round().astype(int))
        return make(20 * n + 1, seed).isel({STEP: steps})

    return made


COSINE: Final = simulate.cosine(0.01)
STEPS: Final = simulate.stepped({0.5: 0.1, 0.75: 0.01})
STEADY: Final = "noise_scale_changes"
ORDINARY: Final[dict[str, Ordinary]] = {
    "walk": Ordinary(walk(), "brownian", "brownian"),
    "walk, t3": Ordinary(walk(noise=simulate.student_t(3)), "brownian", "brownian"),
    "walk, cosine": Ordinary(walk(COSINE), STEADY, "brownian"),
    "walk, cosine, rate known": Ordinary(walk(COSINE, known=True), STEADY, "brownian"),
    "walk, two steps": Ordinary(walk(STEPS), STEADY, "brownian"),
    "walk, 1/(1 + 20 u)": Ordinary(walk(simulate.hyperbolic(20)), STEADY, "brownian"),
    "walk, warm-up over a fifth": Ordinary(walk(simulate.warm_up(0.2)), STEADY, "brownian"),
    "well": Ordinary(well(), "confined", "confined", TIME),
    "well, tau = 15": Ordinary(well(tau=15), "confined", "confined", 1 / np.tanh(1 / 30)),
    "well, clustered volatility": Ordinary(
        well(noise=simulate.clustered(persistence=20, spread=1)), f"confined {STEADY}", "confined",
        TIME,
    ),
    "well, cosine": Ordinary(well(COSINE), STEADY, "confined", TIME),
    "well, cosine, rate known": Ordinary(well(COSINE, known=True), STEADY, "confined", TIME),
    "well, two steps, rate known": Ordinary(
        well(STEPS, known=True), f"course {STEADY}", "confined", TIME, moves=True
    ),
    "well, two steps, in balance": Ordinary(balanced(STEPS), STEADY, "confined", TIME),
    "well moving 6 sd straight": Ordinary(
        well(course=simulate.linear(6)), "course", "confined", TIME, moves=True
    ),
    "well moving 30 sd as log t": Ordinary(
        well(course=simulate.logarithmic(30, 30)), "course", "confined", TIME, moves=True
    ),
    "well, cosine, moving 30 sd as log t": Ordinary(
        well(COSINE, course=simulate.logarithmic(30, 30)), "course", "confined", TIME, moves=True
    ),
    "rotation, omega/a = 3": Ordinary(
        well(tau=10, turns=0.3), "circulating oscillating", "circulating oscillating"
    ),
    "rotation, omega/a = 1, on a well moving 30 sd": Ordinary(
        well(tau=10, turns=0.1, course=simulate.logarithmic(30, 30)), "course", "circulating",
        moves=True,
    ),
    "fractional, H = .2": Ordinary(fractional(0.2), "anomalous", "anomalous"),
    "fractional, H = .8": Ordinary(fractional(0.8), "anomalous", "anomalous", moves=True),
    "well, one checkpoint in five missing": Ordinary(
        one_in_five_missing(well()), "confined", "confined", TIME
    ),
    "well, jittered steps": Ordinary(
        jittered(well(tau=50)), "confined", "confined", 10 / np.tanh(0.1)
    ),
    "walk, jittered steps": Ordinary(jittered(walk()), "brownian", "brownian"),
    "walk, log-spaced": Ordinary(log_spaced(walk()), "brownian", "brownian unknown"),
    "well, log-spaced": Ordinary(log_spaced(well()), "too_short confined", "unknown confined"),
}  # fmt: skip
