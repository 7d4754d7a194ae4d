"""Runs in which nothing is wrong, and damage to plant in them, for the audit."""

import tempfile
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr

import trajscope

from .processes import PROCESSES

Weights = np.ndarray[Any, Any]
Run = Callable[[int, int, int], xr.DataArray]
"""``(n_steps, n_weights, seed) -> (step, weight)`` in float32."""

SCALE: Final = 0.02
"""Of the weights, beside increments of the simulated processes over 1,000."""


def around_weights(modes: Weights, n_weights: int, seed: int) -> Weights:
    """A process of a few modes in float32 weights of usual size that never were at zero."""
    rng = np.random.default_rng([seed, 7])
    directions = rng.standard_normal((modes.shape[1], n_weights)) / n_weights**0.5
    centre = SCALE * rng.standard_normal(n_weights)
    spread = modes.std() or 1.0
    return np.asarray(centre + 0.1 * SCALE * n_weights**0.5 * modes / spread @ directions, "f4")


def of_process(name: str) -> Run:
    """A process of `PROCESSES`, turned into weights."""

    def make(n: int, d: int, seed: int) -> xr.DataArray:
        modes = PROCESSES[name](n, 10, seed)
        return labelled(around_weights(modes, d, seed))

    return make


def labelled(x: Weights, steps: Weights | None = None) -> xr.DataArray:
    """With steps, every 100 by default."""
    steps = 100 * np.arange(len(x)) if steps is None else steps
    return xr.DataArray(x, dims=("step", "weight"), coords={"step": steps})


def walk(n: int, d: int, seed: int, *, rates: Weights | float = 1.0, draw: Any = None) -> Weights:
    """A walk whose increments have these sizes and this distribution."""
    rng = np.random.default_rng([seed, 11])
    noise = rng.standard_normal((n, d)) if draw is None else draw(rng, (n, d))
    noise *= np.reshape(rates, (-1, 1)) * 0.01 * SCALE
    return np.asarray(SCALE * rng.standard_normal(d) + noise.cumsum(axis=0), "f4")


def heavy_tailed(index: float) -> Run:
    """A walk of increments with infinite variance."""

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Weights:
        return np.asarray(rng.standard_t(index, shape))

    return lambda n, d, seed: labelled(walk(n, d, seed, draw=draw))


def heavy_steps(n: int, d: int, seed: int) -> xr.DataArray:
    """A walk some of whose increments are far longer than others, in all weights together."""
    rates = np.abs(np.random.default_rng([seed, 13]).standard_t(2, n))
    return labelled(walk(n, d, seed, rates=rates))


def rate_drops(n: int, d: int, seed: int) -> xr.DataArray:
    """A well whose noise falls tenfold at a half and at three quarters of the run."""
    rates = np.where(np.arange(n) < n // 2, 1.0, np.where(np.arange(n) < 3 * n // 4, 0.1, 0.01))
    rng = np.random.default_rng([seed, 17])
    x = np.zeros((n, d))
    for t in range(1, n):
        x[t] = (1 - 0.2 * rates[t] ** 0.5) * x[t - 1] + rates[t] * rng.standard_normal(d)
    return labelled(np.asarray(SCALE * (rng.standard_normal(d) + 0.05 * x), "f4"))


def cyclic_rates(n: int, d: int, seed: int) -> xr.DataArray:
    """A walk at rates that rise and fall with a period of 20 checkpoints."""
    rates = 0.05 + 0.5 * (1 - np.cos(2 * np.pi * np.arange(n) / 20))
    return labelled(walk(n, d, seed, rates=rates))


def period_two(n: int, d: int, seed: int) -> xr.DataArray:
    """A walk that jumps to and fro along one direction, as at the edge of stability."""
    rng = np.random.default_rng([seed, 19])
    direction = rng.standard_normal(d)
    size = np.abs(1 + 0.5 * rng.standard_normal(n))
    swing = np.outer((-1.0) ** np.arange(n) * size, direction)
    return labelled(np.asarray(walk(n, d, seed) + 0.03 * SCALE * swing, "f4"))


def log_spaced(n: int, d: int, seed: int) -> xr.DataArray:
    """Relaxation and noise, saved at 0, 1, 2, 4, ... 512, 1000, 2000, ..."""
    steps = np.unique([0, *(2**k for k in range(10)), *range(1000, 1000 * (n - 10), 1000)])
    rng = np.random.default_rng([seed, 23])
    start, end = rng.standard_normal((2, d))
    gone = np.exp(-steps / 20_000)[:, None]
    gaps = np.diff(steps, prepend=0)[:, None]
    noise = (rng.standard_normal((len(steps), d)) * gaps**0.5).cumsum(axis=0)
    x = SCALE * (start * gone + end * (1 - gone)) + 2e-4 * SCALE * noise
    return labelled(np.asarray(x, "f4"), steps)


def stored_coarsely(n: int, d: int, seed: int) -> xr.DataArray:
    """A walk stored in bfloat16, whose increments are as small as its spacing."""
    bits = walk(n, d, seed, rates=0.3).view(np.uint32)
    return labelled(((bits + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32))


def relaxing(n: int, d: int, seed: int) -> xr.DataArray:
    """A start far out that relaxes within a few checkpoints, then noise."""
    rng = np.random.default_rng([seed, 29])
    start = rng.standard_normal(d)
    gone = np.exp(-np.arange(n) / 2)[:, None]
    return labelled(np.asarray(SCALE * start * (1 + 2 * gone) + walk(n, d, seed), "f4"))


@lru_cache(maxsize=2)
def demo(n: int, _: int, seed: int) -> xr.DataArray:
    """The digits network of the demo, plain SGD after a warm-up."""
    from trajscope.demo.training import train_demo

    with tempfile.TemporaryDirectory() as folder:
        opened = trajscope.open_trajectory(train_demo(Path(folder), seed=seed % 2**31, epochs=n))
        return opened["weights"].load().isel(step=slice(0, n))


def gpt(optimizer: str) -> Run:
    """A small GPT from its first weights on, with warm-up and cosine decay to nothing."""
    from .small_gpt import train

    cached = lru_cache(maxsize=2)(lambda n, seed: labelled(train(n, seed, optimizer)))
    return lambda n, _, seed: cached(n, seed)


HONEST: Final[dict[str, Run]] = {
    "Brownian, isotropic": of_process("Brownian, isotropic"),
    "Brownian, drift .3": of_process("Brownian, drift .3"),
    "AR(.9) increments": of_process("AR(.9) increments"),
    "OU, tau = 2": of_process("OU, tau = 2"),
    "OU, tau = 20": of_process("OU, tau = 20"),
    "double well": of_process("double well, lambda = 0"),
    "double well, stirred": of_process("double well, lambda = 1.5"),
    "limit cycle, noisy": of_process("limit cycle, noisy"),
    "limit cycle, coherent": of_process("limit cycle, coherent"),
    "momentum rings, 3 modes": of_process("ringing, 3 modes"),
    "anisotropic Hessian, SGD": of_process("symmetric Hessian, noise that does not commute"),
    "walk of every weight": lambda n, d, seed: labelled(walk(n, d, seed)),
    "heavy tails, t(1.5)": heavy_tailed(1.5),
    "heavy-tailed step lengths": heavy_steps,
    "rate drops tenfold twice": rate_drops,
    "cyclic rate": cyclic_rates,
    "period two": period_two,
    "log-spaced": log_spaced,
    "stored in bfloat16": stored_coarsely,
    "relaxes at first": relaxing,
    "digits network, SGD": demo,
    "small GPT, AdamW, cosine": gpt("adamw"),
    "small GPT, SGD, cosine": gpt("sgd"),
}
"""By the name they have in the tables."""
TRAINED: Final = {
    "digits network, SGD": 8,
    "small GPT, AdamW, cosine": 12,
    "small GPT, SGD, cosine": 12,
}
"""Those that take seconds to train, and how many of them are."""

Damage = Callable[[Weights, Weights, np.random.Generator], tuple[Weights, list[int]]]
"""``(run, another, generator) -> run with damage, numbers of the damaged checkpoints``."""


def _inside(n: int, rng: np.random.Generator, count: int = 1) -> list[int]:
    return sorted(rng.choice(np.arange(n // 10, n - n // 10), count, replace=False).tolist())


def _copy(x: Weights, _: Weights, rng: np.random.Generator) -> tuple[Weights, list[int]]:
    one, other = _inside(len(x), rng, 2)
    x[one] = x[other]
    return x, [one]


def _copies_of_the_last(
    x: Weights, _: Weights, rng: np.random.Generator
) -> tuple[Weights, list[int]]:
    rows = _inside(len(x), rng, len(x) // 4)
    x[rows] = x[-1]
    return x, rows


def _splice(x: Weights, _: Weights, rng: np.random.Generator) -> tuple[Weights, list[int]]:
    one, other = 0, 1
    while abs(one - other) < 2:  # beside it, a splice is a tensor that rests
        one, other = _inside(len(x), rng, 2)
    width = x.shape[1] // 4
    x[one, width : 2 * width] = x[other, width : 2 * width]
    return x, [one]


def _cast(x: Weights, _: Weights, rng: np.random.Generator) -> tuple[Weights, list[int]]:
    rows = _inside(len(x), rng)
    bits = x[rows].view(np.uint32)
    x[rows] = ((bits + 0x8000) & np.uint32(0xFFFF0000)).view(np.float32)
    return x, rows


def _cast_half(x: Weights, _: Weights, rng: np.random.Generator) -> tuple[Weights, list[int]]:
    rows = _inside(len(x), rng)
    x[rows] = x[rows].astype(np.float16)
    return x, rows


def _foreign(x: Weights, other: Weights, rng: np.random.Generator) -> tuple[Weights, list[int]]:
    rows = _inside(len(x), rng)
    x[rows] = other[rows]
    return x, rows


def _foreign_start(x: Weights, other: Weights, _: np.random.Generator) -> tuple[Weights, list[int]]:
    x[0] = other[0]
    return x, [0]


def _still_start(x: Weights, _: Weights, rng: np.random.Generator) -> tuple[Weights, list[int]]:
    (row,) = _inside(len(x) // 3, rng)
    x[:row] = x[row]
    return x, list(range(row))


def _jump(x: Weights, other: Weights, rng: np.random.Generator) -> tuple[Weights, list[int]]:
    (row,) = _inside(len(x), rng)
    x[row:] = other[row:]
    return x, [row - 1, row]


DAMAGE: Final[dict[str, Damage]] = {
    "copy": _copy,
    "a quarter copies of the last": _copies_of_the_last,
    "splice of a quarter": _splice,
    "bfloat16": _cast,
    "float16": _cast_half,
    "foreign": _foreign,
    "foreign start": _foreign_start,
    "still start": _still_start,
    "another run from there": _jump,
}
"""By the name they have in the table."""


def in_tensors(x: xr.DataArray) -> xr.Dataset:
    """The array as four tensors of equal size, each a layer."""
    n = x.sizes["weight"]
    sizes = np.diff(np.linspace(0, n, 5).astype(int))
    names = [f"layer{number}.weight" for number in range(4)]
    return xr.Dataset(
        {"weights": x.variable},
        {
            "step": x["step"].values, "tensor": names, "row_size": ("tensor", sizes),
            "group": ("tensor", names), "stored_dtype": ("tensor", ["float32"] * 4),
        },
        {"step_unit": "step"},
    )  # fmt: skip


def audited(process: str, n_steps: int, n_weights: int, seed: int) -> dict[str, float]:
    """Which kinds the audit finds in a run in order: 1, else 0."""
    found = trajscope.audit(in_tensors(HONEST[process](n_steps, n_weights, seed)))
    return {each["kind"]: 1.0 for each in found}


def detected(process: str, n_steps: int, n_weights: int, seed: int) -> dict[str, float]:
    """Share of the damaged checkpoints that the audit names, for every kind of damage."""
    run = HONEST[process](n_steps, n_weights, seed)
    other = HONEST[process](n_steps, n_weights, seed + 1)
    shares = {}
    for number, (name, plant) in enumerate(DAMAGE.items()):
        rng = np.random.default_rng([seed, 31, number])
        damaged, rows = plant(np.array(run.values), other.values, rng)
        found = trajscope.audit(in_tensors(run.copy(data=damaged)))
        told = {step for each in found for step in each["steps"]}
        shares[name] = float(np.mean([run["step"].values[row] in told for row in rows]))
    return shares
