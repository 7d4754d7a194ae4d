"""Write paths with a known circulation as checkpoints, analyze them, and compare their signed area.

The double well of arXiv:1710.11029 is stirred by a force that changes its steady state in nothing
but that probability flows round: the signed area rate is ``2 pi lambda / Z``, Z = 7.6235. A path of
two coordinates becomes one of a hundred weights by a random rotation, is written step by step as
safetensors, and goes through the command line like any run.

    python examples/double_well.py --out wells

For every lambda: the command, its verdict, and the measured and exact area rate.
Six thousand files of half a kilobyte each; about a minute.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np
import xarray as xr

from trajscope import open_results, save_checkpoint
from trajscope.simulate import double_well

NORMALISATION = 7.6235  # of the density e^-Phi
N_BLOCKS = 20  # whose spread gives the error of the area rate


def main(arguments: list[str] | None = None) -> None:
    """Write, analyze and compare one run for every lambda."""
    options = parse(arguments)
    print("lambda  verdict       p      area rate       exact  period")
    for strength in options.strength:
        folder = options.out / f"lambda-{strength:g}"
        if folder.exists():
            sys.exit(f"{folder} is there already. Name another folder with --out, or remove it.")
        write(folder, strength, options)
        report = options.out / f"report-{strength:g}"
        command = ["trajscope", "analyze", str(folder), "-o", str(report), "--quiet"]
        subprocess.run([sys.executable, "-m", *command], check=True)
        compare(open_results(report / "results.zarr"), strength, options.interval)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--out", type=Path, required=True, help="folder for runs and reports")
    parser.add_argument(
        "--strength", type=float, nargs="+", default=[0, 0.5, 1.5], help="lambda of every run"
    )
    parser.add_argument("--checkpoints", type=int, default=6000)
    parser.add_argument("--interval", type=float, default=0.1, help="time between checkpoints")
    parser.add_argument("--weights", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args(arguments)


def write(folder: Path, strength: float, options: argparse.Namespace) -> None:
    """One safetensors file per step."""
    path = double_well(
        options.checkpoints,
        options.weights,
        strength=strength,
        interval=options.interval,
        seed=options.seed,
    )
    for step, weights in enumerate(path.to_numpy()):
        save_checkpoint(folder, {"well.weight": weights.astype(np.float32)}, step=step)


def compare(results: xr.DataTree, strength: float, interval: float) -> None:
    """The verdict, and twice the area swept per unit of time in the plane of circulation.

    The result has that area in squared standard deviations; the determinant of the covariance of
    the two components takes it back to weights.
    """
    verdict, tests = results["verdict"].attrs, results["tests"]
    p_value = verdict["evidence"].get("circulation", np.nan)
    exact = 2 * np.pi * strength / NORMALISATION
    if "signed_area" not in tests:
        print(f"{strength:6g}  {verdict['code']:<12}  circulation not tested")
        return
    components = results["observables"]["principal_component"].to_numpy()[0, :, :2]
    scale = np.linalg.det(np.cov(components.T)) ** 0.5
    area = 2 * scale * tests["signed_area"].to_numpy()
    blocks = np.diff(area[:: len(area) // N_BLOCKS]) / (interval * (len(area) // N_BLOCKS))
    error = blocks.std(ddof=1) / len(blocks) ** 0.5
    period = tests.attrs["summary"]["circulation"]["period"] * interval
    print(
        f"{strength:6g}  {verdict['code']:<12} {p_value:5.3f}  {blocks.mean():5.3f} +- {error:.3f}"
        f"  {exact:7.3f}  {period:6.1f}"
    )


if __name__ == "__main__":
    main()
