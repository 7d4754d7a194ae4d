"""Measure bias, coverage, false positives and power of the test of the theory, on known systems.

    python benchmarks/dynamics.py                    # hours
    python benchmarks/dynamics.py --scale 0.05       # minutes: a twentieth of the runs
    python benchmarks/dynamics.py --only currents

The predicted law is given, as H, D and the optimizer give it, so that what is measured is the
comparison and not the network: descent on least squares (noise that depends on the weights), plain,
with heavy-ball momentum, with Nesterov's, and at the ends of shuffled epochs; laws with and without
currents; temperatures that are off; two wells; clustered volatility.
"""

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from trajscope import simulate
from trajscope.kernels.gram import Floats
from trajscope.optimizer import Optimizer
from trajscope.theory.entropy import entropy
from trajscope.theory.forward import Errors, forward
from trajscope.theory.law import response
from trajscope.theory.potential import potential
from trajscope.theory.statistics import Windows, windows_of

N_SAMPLES, N_DRAWS = 400, 200
PLAIN = Optimizer(0.1, 20, 0.0, with_replacement=True)
Row = dict[str, float]


@dataclass(frozen=True)
class Cell:
    """A system, and what is said of each of its runs.

    Attributes
    ----------
    run :
        ``seed -> row`` of numbers.
    n_runs :
        At full scale.
    """

    table: str
    name: str
    run: Callable[[int], Row]
    n_runs: int = 200


def curvatures(k: int, slowest: float = 0.2) -> Floats:
    """Eigenvalues of H."""
    return np.geomspace(slowest, 4.0, k)[::-1]


def mixed(k: int, correlation: float, seed: int = 0) -> Floats:
    """D with off-diagonal correlations of this size."""
    rng = np.random.default_rng(seed)
    signs = rng.choice([-1.0, 1.0], k)
    sizes = np.sqrt(rng.uniform(0.5, 2.0, k))
    found: Floats = (correlation * np.outer(signs, signs) + (1 - correlation) * np.eye(k)) * (
        np.outer(sizes, sizes)
    )
    return found


def compared(windows: Windows) -> Row:
    """Ratios and slope, and whether their intervals hold 1."""
    k = len(windows.law.state)
    halves = np.stack([windows.law.lagged] * 2)
    found = forward(windows, halves, Errors(np.zeros(k), 0.0))
    inside = (found.variance.low < 1) & (found.variance.high > 1)
    return {
        "variance": float(np.log(found.variance.value).mean()),
        "variance_covered": float(inside.mean()),
        "volume_covered": float(found.volume.low < 1 < found.volume.high),
        "budget": float(np.log(found.budget.value)),
        "budget_covered": float(found.budget.low < 1 < found.budget.high),
        "slope": found.slope,
        "slope_covered": float(found.slope_low < 1 < found.slope_high),
        "current_01": float(found.p_current <= 0.01),
        "current_05": float(found.p_current <= 0.05),
        "not_normal": float(bool(windows.not_normal())),
    }


def of_law(
    k: int, n_steps: int, updates: int, *, optimizer: Optimizer = PLAIN, flows: bool = True
) -> Callable[[int], Row]:
    """Windows of the predicted law itself, or of the same without currents."""
    law = response(curvatures(k), optimizer, updates=updates).law(mixed(k, 0.3))
    true = law if flows else law.without_correlations()

    def run(seed: int) -> Row:
        rng = np.random.default_rng([seed, 1])
        return compared(windows_of(true.paths(1, n_steps, rng)[0], law, N_DRAWS, rng))

    return run


def of_least_squares(
    k: int, n_steps: int, updates: int, optimizer: Optimizer
) -> Callable[[int], Row]:
    """Descent on least squares, and the law from H and from D averaged over the steady state."""
    loss = simulate.least_squares(curvatures(k), n_samples=N_SAMPLES, seed=1)
    covariance = simulate.least_squares_covariance(loss, optimizer)[:k, :k]
    law = response(curvatures(k), optimizer, updates=updates, n_samples=N_SAMPLES).law(
        loss.diffusion(covariance)
    )

    def run(seed: int) -> Row:
        path = simulate.descent_on_least_squares(
            n_steps, loss=loss, optimizer=optimizer, seed=seed, updates_per_checkpoint=updates
        )
        return compared(windows_of(path.values, law, N_DRAWS, np.random.default_rng([seed, 1])))

    return run


def of_potential(k: int, n_steps: int, diffusion: Floats) -> Callable[[int], Row]:
    """Tests of Phi = f and of [H, S] = 0."""
    respond = response(curvatures(k), PLAIN, updates=5)
    law = respond.law(diffusion)

    def run(seed: int) -> Row:
        rng = np.random.default_rng([seed, 2])
        windows = windows_of(law.paths(1, n_steps, rng)[0], law, N_DRAWS, rng)
        found = potential(windows, respond, curvatures(k), rng)
        angle = found.angle
        return {
            "phi_is_f_01": float(found.p_phi_is_f <= 0.01),
            "phi_is_f_05": float(found.p_phi_is_f <= 0.05),
            "commuting_01": float(found.p_commuting <= 0.01),
            "commuting_05": float(found.p_commuting <= 0.05),
            "angle_covered": float(angle.low <= angle.predicted <= angle.high),
        }

    return run


def of_entropy(k: int, n_steps: int) -> Callable[[int], Row]:
    """Entropy production and rotation from the trajectory."""
    law = response(curvatures(k, 0.5), PLAIN, updates=2).law(mixed(k, 0.6))

    def run(seed: int) -> Row:
        rng = np.random.default_rng([seed, 3])
        found = entropy(law.paths(1, n_steps, rng)[0], law, rng)
        if found is None or found.production is None:
            return {"refused": 1.0}
        each = found.production
        return {
            "refused": 0.0,
            "production": each.value / each.predicted,
            "production_covered": float(each.low <= each.predicted <= each.high),
            "reversible_05": float(found.p_reversible <= 0.05),
            "bound": found.bound / each.predicted,
        }

    return run


def of_shape(name: str, n_steps: int) -> Callable[[int], Row]:
    """What is not a normal law: the guard has to speak."""
    law = response(np.array([2.0, 0.5]), PLAIN, updates=5).law(np.eye(2))

    def path(seed: int) -> Floats:
        if name == "double well":
            return simulate.double_well(n_steps + 1, strength=0.0, seed=seed).values[1:, ::-1]
        noise = simulate.clustered(persistence=50.0, spread=0.7)
        well = simulate.driven_well(n_steps, noise=noise, seed=seed, taus=(3.0, 12.0))
        return np.asarray(well.values)

    def run(seed: int) -> Row:
        rng = np.random.default_rng([seed, 4])
        return {"not_normal": float(bool(windows_of(path(seed), law, N_DRAWS, rng).not_normal()))}

    return run


def cells() -> Iterator[Cell]:
    """Every cell of every table."""
    heavy, nesterov = (replace(PLAIN, learning_rate=0.01, momentum=0.9, nesterov=n)
                       for n in (False, True))  # fmt: skip
    shuffled = replace(PLAIN, with_replacement=False)
    for k, n_steps in ((6, 1000), (20, 200), (20, 1000)):
        yield Cell("currents", f"law, k={k}, T={n_steps}", of_law(k, n_steps, 10))
        yield Cell("no currents", f"k={k}, T={n_steps}", of_law(k, n_steps, 10, flows=False), 400)
    for name, optimizer, updates in (
        ("plain, m=10", PLAIN, 10), ("heavy ball, m=1", heavy, 1), ("heavy ball, m=10", heavy, 10),
        ("heavy ball, m=50", heavy, 50), ("Nesterov, m=10", nesterov, 10),
        ("shuffled, epoch ends", shuffled, N_SAMPLES // PLAIN.b),
    ):  # fmt: skip
        yield Cell(
            "least squares",
            f"{name}, k=6, T=1000",
            of_least_squares(6, 1000, updates, optimizer),
            60,
        )
    for n_steps in (200, 1000):
        yield Cell(
            "potential", f"isotropic, k=4, T={n_steps}", of_potential(4, n_steps, np.eye(4)), 400
        )
        yield Cell("potential", f"correlated .3, k=4, T={n_steps}",
                   of_potential(4, n_steps, mixed(4, 0.3)))  # fmt: skip
    for n_steps in (500, 2500):
        yield Cell("entropy", f"k=3, T={n_steps}", of_entropy(3, n_steps))
    for name in ("double well", "clustered volatility"):
        for n_steps in (200, 1000, 5000):
            yield Cell("shape", f"{name}, T={n_steps}", of_shape(name, n_steps))


def main() -> None:
    """Print one line for every cell."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the runs")
    parser.add_argument("--only", default="", help="tables whose name has this in it")
    parser.add_argument("--seed", type=int, default=1000, help="of the first run")
    options = parser.parse_args()
    for cell in cells():
        if options.only not in cell.table:
            continue
        n = max(int(cell.n_runs * options.scale), 2)
        rows = [cell.run(options.seed + seed) for seed in range(n)]
        names = list(dict.fromkeys(name for row in rows for name in row))
        told = []
        for name in names:
            values = np.array([row[name] for row in rows if name in row])
            spread = f" +- {values.std():.2f}" if name in ("slope", "production", "bound") else ""
            told.append(f"{name} {np.nanmean(values):.3f}{spread}")
        print(f"{cell.table}: {cell.name} ({n} runs)  {'  '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
