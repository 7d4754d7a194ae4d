"""Write docs/verdicts.md, what is said of known processes: python -m tests.sentences."""

import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

from trajscope import analyze, simulate

PAGE: Final = Path(__file__).parents[1] / "docs" / "verdicts.md"
TABLE: Final = re.compile(r"(<!-- sentences -->\n).*?(?=<!-- end of sentences -->)", re.DOTALL)
NUMBER: Final = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")
"""What may differ between machines, in its last digits."""
T: Final = 200
MOMENTUM: Final = 0.9


@dataclass(frozen=True)
class Said:
    """A process, and what is said of it.

    Attributes
    ----------
    process :
        In words.
    make :
        ``() -> what is analyzed``.
    code :
        Of the verdict.
    words :
        That the sentence must hold.
    options :
        Of `trajscope.analyze`.
    """

    process: str
    make: Callable[[], Any]
    code: str
    words: str
    options: tuple[tuple[str, Any], ...] = ()

    def sentence(self) -> tuple[str, str]:
        """Code and sentence."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            told = analyze(self.make(), n_surrogates=199, phases="none", **dict(self.options))
        found = told["verdict"].attrs
        return found["code"], found["sentence"]


def _well(tau: float, n_modes: int = 20, n_steps: int = T, seed: int = 1) -> xr.DataArray:
    return simulate.ornstein_uhlenbeck(n_steps, taus=[tau] * n_modes, seed=seed)


def _burst() -> Any:
    loud = 1 + 3.0 * ((np.arange(T) > 0.3 * T) & (np.arange(T) < 0.7 * T))
    noise = np.random.default_rng(3).standard_normal((T, 30))
    return (loud[:, np.newaxis] * noise).cumsum(axis=0)


def _once() -> Any:
    return 1 + 1e-3 * np.outer(np.arange(T) >= T // 2, np.eye(10)[3])


def _walk(n_steps: int = T, seed: int = 1, **options: float) -> xr.DataArray:
    return simulate.brownian(n_steps, 20, seed=seed, **options)


def _persistent(phi: float, n_steps: int = T, seed: int = 1) -> xr.DataArray:
    return simulate.autoregressive_increments(n_steps, 10, phi=[phi], seed=seed)


def _driven(centre: object, tau: float = 5, **options: Any) -> xr.DataArray:
    return simulate.driven_well(T, taus=[tau] * 20, centre=centre, seed=1, **options)


def _turning_over() -> np.ndarray[Any, Any]:
    path = _well(5).to_numpy().copy()
    path[:, 0] = 3 * simulate.ornstein_uhlenbeck(T, taus=[3], seed=2).to_numpy()[:, 0]
    path[1::2, 0] *= -1
    return path


def _noiseless() -> np.ndarray[Any, Any]:
    rates = np.geomspace(0.01, 0.5, 40)
    return np.random.default_rng(1).standard_normal(40) * (1 - rates) ** np.arange(T)[:, np.newaxis]


def _non_commuting() -> xr.DataArray:
    noise = np.array([[1.0, 0.9], [0.9, 1.0]])
    loss = simulate.quadratic_loss(np.diag([0.02, 0.2]), noise, n_samples=256, seed=1)
    plain = simulate.Optimizer(learning_rate=1.0, batch_size=16)
    return simulate.stochastic_gradient_descent(1000, loss=loss, optimizer=plain, seed=1)


SAID: Final = (
    Said("random walk", _walk, "brownian", "Indistinguishable from Brownian motion"),
    Said("walk of increments with memory, AR(.5)", lambda: _persistent(0.5), "brownian",
         "Brownian motion on time scales above"),
    Said("walk with a drift of .3 standard deviations", lambda: _walk(drift=0.3), "drifting",
         "Drifts in one direction"),
    Said("well that is entered from 8 standard deviations away",
         lambda: simulate.ornstein_uhlenbeck(T, taus=[10] * 3, start=[8, 8, 8], seed=1),
         "drifting", "Still relaxing"),
    Said("well, 20 equal modes", lambda: _well(5), "confined", "No circulation detected"),
    Said("well of a single mode", lambda: _well(2, 1, 400), "confined", "Only one component moves"),
    Said("rotation in one plane, turning three times as fast as it relaxes",
         lambda: simulate.rotating_ornstein_uhlenbeck(
             T, rate=0.15, angular_velocity=0.45, seed=1),
         "circulating", "with a period of"),
    Said("SGD on a quadratic loss whose noise does not commute with the Hessian", _non_commuting,
         "circulating", "radians per relaxation time"),
    Said("limit cycle that keeps its phase",
         lambda: simulate.hopf(T, mu=0.2, angular_velocity=0.314, noise=1e-5, seed=1)
         + 0.045 * np.random.default_rng(1).standard_normal((T, 2)),
         "oscillating", "two modes share one spectral peak"),
    Said("walk whose noise doubles half-way", lambda: _walk(noise_ratio=4), "noise_scale_changes",
         "Noise: its variance rises 15.8-fold"),
    Said("walk whose noise falls along a cosine",
         lambda: simulate.driven_walk(
             T, n_modes=20, learning_rate=simulate.cosine(0.05), seed=1).drop_vars("learning_rate"),
         "noise_scale_changes", "gradually"),
    Said("the same with its learning rate known",
         lambda: simulate.driven_walk(
             T, n_modes=20, learning_rate=simulate.cosine(0.05), seed=1),
         "noise_scale_changes", "as the squared learning rate does"),
    Said("well that moves 30 standard deviations as log t",
         lambda: _driven(simulate.logarithmic(130, 30)), "course",
         "Rest (about the course): confined"),
    Said("gradient descent on a quadratic loss, on all samples at once", _noiseless, "course",
         "no noise is to be seen"),
    Said("fractional Brownian motion, H = .8",
         lambda: simulate.fractional_brownian(T, hurst=0.8, n_modes=40, seed=1), "anomalous",
         "grows as time to the power"),
    Said("well with one direction at the edge of stability", _turning_over, "alternating",
         "turns over at every checkpoint"),
    Said("weights that grow by 2% a checkpoint",
         lambda: 1.02 ** np.arange(T)[:, np.newaxis] * np.ones(20) + 1e-3 * _walk().to_numpy(),
         "diverging", "double in"),
    Said("weights that turn over and grow by 5% a checkpoint",
         lambda: (-1.05) ** np.arange(80)[:, np.newaxis] * np.ones(20), "diverging",
         "change their sign"),
    Said("five checkpoints", lambda: _walk(5), "too_short", "27 more"),
    Said("twenty checkpoints of a walk", lambda: _walk(20), "too_short", "Exact at this length"),
    Said("twenty checkpoints with a drift", lambda: _walk(20, drift=0.9), "drifting",
         "the smallest possible is"),
    Said("weights that never move", lambda: np.ones((T, 3)), "too_short", "Not tested"),
    Said("walk whose noise is loud for a while", _burst, "noise_scale_changes", "ends as it began"),
    Said("a weight of ten that moves once", _once, "too_short", "change in 1 of 199 intervals"),
    Said("well whose correlation time is half the window", lambda: _well(60, 60, 400), "too_short",
         "more checkpoints"),
    Said("increments that stay alike for a quarter of the window",
         lambda: _persistent(0.98, 120), "too_short", "stay autocorrelated"),
    Said("well, at checkpoints spaced as log t",
         lambda: _well(30, n_steps=4000)[np.unique(np.geomspace(1, 3999, 100).astype(int))],
         "too_short", "cannot be told apart"),
)  # fmt: skip
"""In the order of the page."""


def table() -> str:
    """The table as Markdown."""
    lines = ["| process | verdict | what is said |", "| --- | --- | --- |"]
    for each in SAID:
        code, sentence = each.sentence()
        lines.append(f"| {each.process} | `{code}` | {sentence} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Make the table of the page again."""
    text = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(TABLE.sub(lambda found: found[1] + table(), text), encoding="utf-8")


if __name__ == "__main__":
    main()
