"""Fig. 4: the double well stirred by a force that leaves its steady state alone.

A path of two coordinates becomes one of a hundred weights by a random rotation, is written as
checkpoints, and goes through the command line like any run. The circulation in the result is
compared with ``2 pi lambda / Z``, Z = 7.6235.
"""

from typing import Any

import numpy as np
import xarray as xr
from plots import panels, save
from runs import Workplace

import trajscope
from trajscope.simulate import double_well

STRENGTHS = (0.0, 0.5, 1.5)
NORMALISATION = 7.6235  # of the density e^-Phi
N_BLOCKS = 20  # whose spread gives the error of the area rate
INTERVAL = 0.1  # time between checkpoints
Row = dict[str, Any]
Floats = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def fig4(place: Workplace) -> Row:
    """Field, critical points, density and cycle at three strengths, and trajscope's verdicts."""
    axes, rows = panels(len(STRENGTHS)), []
    for each, strength in zip(axes, STRENGTHS, strict=True):
        rows.append({"lambda": strength, **verdict_of(place, strength)})
        draw(each, strength)
        each.set_title(f"λ = {strength:g}: {rows[-1]['code']}")
    save(axes[0], place.out / "fig4.png")
    return {"wells": rows}


def verdict_of(place: Workplace, strength: float) -> Row:
    """Verdict, and twice the area swept per unit of time in the plane of circulation.

    The result has that area in squared standard deviations; the determinant of the covariance of
    the two components takes it back to weights.
    """
    path = double_well(
        1_500 if place.short else 6_000, 100, strength=strength, interval=INTERVAL, seed=0
    ).to_numpy()
    run = place.runs / f"well-{strength:g}" / "trajectory.zarr"
    with trajscope.CheckpointStore(run, after=-1) as store:
        for step, weights in enumerate(path.astype(np.float32)):
            store.save({"well.weight": weights}, step=step)
    results = place.report(f"well-{strength:g}", "analyze", run)
    verdict, tests = results["verdict"].attrs, results["tests"]
    row = {"code": verdict["code"], "p_value": verdict["evidence"].get("circulation")}
    row |= {"exact": 2 * np.pi * strength / NORMALISATION, "sentence": verdict["sentence"]}
    if "signed_area" not in tests:
        return row
    rate, error = area_rate(results)
    period = tests.attrs["summary"]["circulation"]["period"]
    return {**row, "area_rate": rate, "error": error, "period": period and period * INTERVAL}


def area_rate(results: xr.DataTree) -> tuple[float, float]:
    """Twice the signed area per unit of time, and the standard error from blocks of the path."""
    components = results["observables"]["principal_component"].to_numpy()[0, :, :2]
    scale = np.linalg.det(np.cov(components.T)) ** 0.5
    area = 2 * scale * results["tests"]["signed_area"].to_numpy()
    block = len(area) // N_BLOCKS
    rates = np.diff(area[::block]) / (INTERVAL * block)
    return float(rates.mean()), float(rates.std(ddof=1) / len(rates) ** 0.5)


def descent(x: Floats, strength: float) -> Floats:
    """``-grad f = j - grad Phi`` at points (2, ...); Phi and j as in `trajscope.simulate`."""
    first, second = x
    potential = (first**2 - 1) ** 2 / 4 + second**2 / 2
    force = strength * np.exp(potential - (first**2 + second**2) ** 2 / 4)
    return np.stack([-force * second - (first**2 - 1) * first, force * first - second])


def critical_points(strength: float) -> Floats:
    """Where grad f is zero, as (point, 2): Newton's method from a grid."""
    from scipy.optimize import root

    found: list[Floats] = []
    for start in np.mgrid[-2:2:9j, -2:2:9j].reshape(2, -1).T:  # type: ignore[misc]
        answer = root(descent, start, args=(strength,))
        new = all(np.linalg.norm(answer.x - each) > 1e-3 for each in found)
        if answer.success and np.abs(answer.x).max() < 2.5 and new:
            found.append(answer.x)
    return np.array(found)


def cycle(strength: float, time: float = 60.0, step: float = 0.01) -> Floats:
    """The last third of a path without noise, as (2, point): a point, or a cycle."""
    x, path = np.array([0.3, 0.1]), []
    for _ in range(round(time / step)):
        middle = x + step / 2 * descent(x, strength)
        x = x + step * descent(middle, strength)
        path.append(x)
    return np.array(path[-len(path) // 3 :]).T


def draw(axes: Any, strength: float) -> None:
    """Density in grey, -grad f as arrows, minima and saddle of Phi, critical points of f, cycle."""
    grid = np.mgrid[-2:2:81j, -2:2:81j]  # type: ignore[misc]
    density = np.exp(-((grid[0] ** 2 - 1) ** 2) / 4 - grid[1] ** 2 / 2) / NORMALISATION
    axes.contourf(*grid, density, levels=8, cmap="Greys", alpha=0.6)
    coarse = np.mgrid[-2:2:17j, -2:2:17j]  # type: ignore[misc]
    arrows = descent(coarse, strength)
    axes.quiver(*coarse, *(arrows / np.maximum(np.hypot(*arrows), 0.7)), color="0.35", scale=28)
    axes.plot([-1, 0, 1], [0, 0, 0], "o", mfc="none", color="C0", ms=9, label="critical, Φ")
    axes.plot(*critical_points(strength).T, "x", color="C3", ms=7, mew=2, label="critical, f")
    path = cycle(strength)
    if np.ptp(path) > 0.1 and np.ptp(path[0]) > 1e-3:
        axes.plot(*path, color="C1", lw=2, label="limit cycle")
    axes.set(xlim=(-2, 2), ylim=(-2, 2), aspect="equal", xlabel="x₁", ylabel="x₂")
    axes.legend(frameon=True, fontsize=8, loc="lower right")
