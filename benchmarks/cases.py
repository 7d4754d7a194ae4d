"""Time ten windows of a run, and two runs compared, beside one run analysed alone.

    python benchmarks/cases.py                 # full size: 8 GB of files, some minutes
    python benchmarks/cases.py --scale 0.01    # the same, small

Every row runs in a process of its own on one core, three times, the rows in turn; CPU seconds and
peak resident memory are the operating system's figures. The runs are random walks as in
one_pass.py. The table is printed as Markdown; docs/performance.md holds one.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

SHAPES = {"A": (1000, 1_000_000), "B": (200, 5_000_000), "S": (20_000, 1000)}
TURNS = 3
MEMORY = "2GiB"


def write_run(folder: Path, n_files: int, n_weights: int, seed: int) -> None:
    """Write a random walk: weights near 0.05, increments of 1e-5."""
    folder.mkdir()
    rng = np.random.default_rng(seed)
    weights = rng.normal(0, 0.05, n_weights).astype(np.float32)
    for step in range(n_files):
        weights += np.float32(1e-5) * rng.standard_normal(n_weights, dtype=np.float32)
        save_file({"layer.weight": weights}, folder / f"step-{step:06d}.safetensors")


def one(folder: Path) -> None:
    """Analyse one run."""
    import trajscope

    trajscope.analyze(folder / "a", memory=MEMORY)


def windows(folder: Path) -> None:
    """The same, with ten windows."""
    import trajscope

    trajscope.analyze(folder / "a", memory=MEMORY, windows=10)


def two(folder: Path) -> None:
    """Compare two runs."""
    import trajscope

    trajscope.compare(folder / "a", folder / "b", memory=MEMORY)


ROWS: dict[str, Callable[[Path], None]] = {
    "one run": one, "ten windows of it": windows, "two runs compared": two,
}  # fmt: skip


def run_row(name: str, folder: Path) -> None:
    """Run one row in this process, on one core, and print its figures."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import dask.array

    import trajscope.analysis.compare
    import trajscope.analysis.run

    imported = (dask.array, trajscope.analysis)  # imports are outside the clock
    begun = time.process_time()
    ROWS[name](folder)
    seconds = time.process_time() - begun
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"cpu": seconds, "peak": peak, "imported": len(imported)}))


def timed(name: str, folder: Path) -> dict[str, float]:
    """Figures of one row, from a fresh process on one core."""
    command = [sys.executable, __file__, "--row", name, "--folder", str(folder)]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        command, env=os.environ | threads, check=True, capture_output=True, text=True
    )
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    """Time every row at every shape, and print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the weights, or steps")
    parser.add_argument("--cases", default="A,B,S", help="shapes, such as A,B")
    parser.add_argument("--folder", type=Path, help="where files are written, or read by a row")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        run_row(options.row, options.folder)
        return
    for shape in options.cases.split(","):
        n_files, n_weights = SHAPES[shape]
        if n_weights > n_files:
            n_weights = max(64, round(n_weights * options.scale))
        else:
            n_files = max(100, round(n_files * options.scale))
        with tempfile.TemporaryDirectory(dir=options.folder) as name:
            folder = Path(name)
            for seed, run in enumerate("ab"):
                write_run(folder / run, n_files, n_weights, seed)
            turns = [{row: timed(row, folder) for row in ROWS} for _ in range(TURNS)]
        print(f"\n### {shape}: {n_files:,} checkpoints × {n_weights:,} weights\n")
        print("| way | CPU s | of one run | peak memory, MiB |\n|---|---|---|---|")
        base = statistics.median(turn["one run"]["cpu"] for turn in turns)
        for row in ROWS:
            cpu = statistics.median(turn[row]["cpu"] for turn in turns)
            peak = statistics.median(turn[row]["peak"] for turn in turns)
            print(f"| {row} | {cpu:.2f} | {cpu / base:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
