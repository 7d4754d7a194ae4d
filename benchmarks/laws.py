"""Measure false positives, coverage and power of the comparison of stationary laws.

    python benchmarks/laws.py                 # full size: about 1,200 s of one core
    python benchmarks/laws.py --scale 0.05    # a twentieth of the pairs

Pairs of runs with known laws, with seeds that nothing was chosen by, go through the choice of
directions, the models and the guards as in `trajscope compare`. At full size the table in
docs/compare.md is written; otherwise it is printed.
"""

import argparse
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr

from trajscope import simulate
from trajscope.analysis.laws import laws_dataset, paths_along
from trajscope.analysis.shared import shared
from trajscope.analysis.sources import Compared
from trajscope.analysis.temperature import Training
from trajscope.arrays import as_trajectory
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.kernels.factors import factor_of_gram
from trajscope.optimizer import Optimizer

PAGE = Path(__file__).parents[1] / "docs" / "compare.md"
TABLE = re.compile(r"(<!-- calibration of laws -->\n).*?(?=<!-- end of calibration -->)", re.DOTALL)
FIRST_SEED = 3_000_000_000
SURROGATES = 199

Maker = Callable[[int, int], "np.ndarray[Any, Any]"]
"""``(which of the two runs, seed) -> (step, weight)``."""


@dataclass(frozen=True)
class Cell:
    """Pairs of one kind.

    Attributes
    ----------
    ratio :
        Of the second law over the first, in truth.
    expected :
        What is tested.
    """

    process: str
    length: str
    ratio: float
    expected: float
    make: Maker
    n_pairs: int = 200


def wells(n_steps: int, taus: Any, ratio: float, other: Any = None, width: int = 0) -> Maker:
    """Ornstein-Uhlenbeck modes; `width` weights, into which they are turned."""

    def make(which: int, seed: int) -> Any:
        times = list(other if which and other is not None else taus)
        modes = simulate.ornstein_uhlenbeck(n_steps, taus=times, seed=seed).values
        if width:
            turn = np.random.default_rng(0).standard_normal((width, len(times)))
            modes = modes @ np.linalg.qr(turn)[0].T
        return modes * (ratio**0.5 if which else 1.0)

    return make


def descent(n_steps: int, rate: float, momentum: float, batch: int = 10) -> Maker:
    """Stochastic gradient descent on least squares in its steady state; the second at `rate`."""
    h = np.geomspace(1.0, 0.2, 8)
    loss = simulate.quadratic_loss(np.diag(h), np.diag(h), n_samples=1000, seed=1)

    def make(which: int, seed: int) -> Any:
        optimizer = Optimizer(
            learning_rate=rate if which else 0.05, batch_size=batch,
            momentum=momentum, with_replacement=True,
        )  # fmt: skip
        return simulate.stochastic_gradient_descent(
            n_steps, loss=loss, optimizer=optimizer, seed=seed, updates_per_checkpoint=10
        ).values

    return make


def heavy(n_steps: int, tau: float) -> Maker:
    """Wells whose noise is loud at times."""
    law = simulate.clustered(persistence=20, spread=1)
    return lambda _, seed: (
        simulate.driven_well(n_steps, taus=[tau] * 8, noise=law, seed=seed).values
    )


EIGHT = [8.0] * 8
MIXED = list(np.geomspace(2, 40, 40))
CELLS = (
    *(
        Cell("8 modes of one time", f"{length} τ", ratio, 1.0, wells(8 * length, EIGHT, ratio))
        for length in (15, 40, 100, 250)
        for ratio in (1.0, 1.5)
    ),
    Cell("the same, second run twice as fast", "100 τ", 1.0, 1.0, wells(800, EIGHT, 1.0, [4] * 8)),
    Cell("the same in 400 weights", "100 τ", 1.0, 1.0, wells(800, EIGHT, 1.0, width=400)),
    Cell("40 modes, times 2 to 40", "50 to 1,000 τ", 1.0, 1.0, wells(2000, MIXED, 1.0)),
    Cell("40 modes, times 2 to 40", "50 to 1,000 τ", 1.5, 1.0, wells(2000, MIXED, 1.5)),
    Cell("SGD on least squares, η doubled", "1,000 steps", 2.0, 2.0, descent(1000, 0.1, 0.0)),
    Cell("SGD, momentum 0.9, η doubled", "1,000 steps", 2.0, 2.0, descent(1000, 0.1, 0.9)),
    Cell("noise that is loud at times", "100 τ", 1.0, 1.0, heavy(800, 8)),
)


def measured(cell: Cell, number: int) -> dict[str, float]:
    """p-values, whether the interval covers, and whether a guard spoke, of one pair."""
    seed = FIRST_SEED + 2 * number
    arrays = [cell.make(which, seed + which) for which in (0, 1)]
    trajectories = [as_trajectory(each) for each in arrays]
    runs = [Compared(label, own) for label, own in zip("ab", trajectories, strict=True)]
    found = shared(runs)[0]
    stand_ins: list[Any] = []
    for each in arrays:
        moves = np.diff(each, axis=0)
        factor = factor_of_gram(moves @ moves.T)
        sizes = xr.Dataset({"n_weights": ("group", [each.shape[1]])})
        stand_ins.append(SimpleNamespace(factors=[factor], observables=sizes))
    paths = paths_along(found, stand_ins, 1 << 30)
    trainings = [
        Training(Optimizer(learning_rate=rate, batch_size=1, with_replacement=True))
        for rate in (1.0, cell.expected)
    ]
    settings = DecisionSettings(SURROGATES, 0.05, seed)
    laws = laws_dataset(["a", "b"], ["all"], trajectories, paths, trainings, settings)
    own = laws.isel(pair=0, group=0)
    return {
        "law": float(own["p_same_law"]),
        "shape": float(own["p_same_shape"]),
        "ratio": float(own["volume_ratio"]),
        "covered": float(own["volume_ratio_low"] <= cell.ratio <= own["volume_ratio_high"]),
    }


def row(cell: Cell, n_pairs: int) -> str:
    """A line of the table."""
    runs = [measured(cell, number) for number in range(n_pairs)]
    tested = [run for run in runs if np.isfinite(run["law"])]
    told = f"| {cell.process} | {cell.length} | {cell.ratio:g} | {cell.expected:g} "
    told += f"| {1 - len(tested) / n_pairs:.2f} "
    if not tested:
        return told + "| – | – | – | – |"
    rates = [
        " / ".join(
            f"{np.mean([run[name] <= level for run in tested]):.3f}" for level in (0.01, 0.05)
        )
        for name in ("law", "shape")
    ]
    covered = np.mean([run["covered"] for run in tested])
    ratio = np.exp(np.mean(np.log([run["ratio"] for run in tested])))
    return told + f"| {ratio:.2f} | {covered:.2f} | {rates[0]} | {rates[1]} |"


def main() -> None:
    """Measure every cell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the pairs")
    options = parser.parse_args()
    lines = [
        "| process | length | ratio | tested against | refused | mean ratio | coverage at 95% "
        "| law, 1% / 5% | shape, 1% / 5% |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for cell in CELLS:
        lines.append(row(cell, max(round(cell.n_pairs * options.scale), 1)))
        print(lines[-1], flush=True)
    if options.scale == 1:
        text = PAGE.read_text(encoding="utf-8")
        table = "\n".join(lines) + "\n"
        PAGE.write_text(TABLE.sub(lambda found: found[1] + table, text), encoding="utf-8")
        print(f"Written: {PAGE}")


if __name__ == "__main__":
    main()
