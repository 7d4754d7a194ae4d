"""Time trajscope's pass against other ways to the same curves, on the same files in the same run.

    python benchmarks/one_pass.py                # full size: 4 GB of files twice, some minutes
    python benchmarks/one_pass.py --scale 0.01   # the same, small
    python benchmarks/one_pass.py --runs 5 --before CHECKOUT   # in turns, with another build

Every row runs in a process of its own on one core: CPU seconds (reading included), wall seconds and
peak resident memory are the operating system's figures for that process, medians over the turns;
ratios are medians of those within a turn. All rows read through `trajscope.open_trajectory`, so the
ways to the curves are compared and not the ways to the bytes. The table is printed as Markdown;
docs/performance.md holds one made on a quiet machine.
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
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file


@dataclass(frozen=True)
class Case:
    """A synthetic run: a random walk of `n_weights` weights in `n_files` safetensors files.

    Attributes
    ----------
    frozen :
        Share of the weights that never move, chosen at random.
    """

    name: str
    n_files: int
    n_weights: int
    rows: tuple[str, ...]
    title: str
    frozen: float = 0.0


@dataclass(frozen=True)
class Row:
    """One way to some curves.

    Attributes
    ----------
    gives :
        What it computes.
    run :
        ``folder -> None``; everything it does is timed.
    """

    name: str
    gives: str
    run: Callable[[Path], None]


Figures = dict[str, float]
BEFORE = ", before"
QUADRATIC = ("counts", "gram")
PER_WEIGHT = ("counts", "curves")
KEYS = ("cpu", "wall", "mib")
COLUMNS = 4096
"""Weights per block for the peers; blocks of 1,000 to 20,000 measured alike."""


def blocks(folder: Path, columns: int = COLUMNS) -> Iterator[np.ndarray]:
    """All steps of some weights, (step, weight), until every weight has been seen."""
    import trajscope

    weights = trajscope.open_trajectory(folder)["weights"]
    for start in range(0, weights.sizes["weight"], columns):
        yield weights.isel(weight=slice(start, start + columns)).to_numpy()


def read_only(folder: Path) -> None:
    """Read every byte, and nothing else: the limit of any pass."""
    for _ in blocks(folder, 4 * COLUMNS):
        pass


def product_only(folder: Path) -> None:
    """Multiply blocks that are already in memory: the limit of the Gram matrix."""
    import trajscope

    n_steps, n_weights = trajscope.open_trajectory(folder)["weights"].shape
    block = np.random.default_rng(0).standard_normal((n_steps - 1, 4 * COLUMNS)).astype(np.float32)
    for start in range(0, n_weights, 4 * COLUMNS):
        part = block[:, : n_weights - start]
        _ = part @ part.T


def trajscope_sums(names: tuple[str, ...]) -> Callable[[Path], None]:
    """Trajscope's own pass with some of its reductions."""

    def run(folder: Path) -> None:
        import trajscope
        from trajscope.measure.executor import executor
        from trajscope.measure.groups import Groups, size_of
        from trajscope.measure.paths import Path as SumsPath
        from trajscope.measure.plan import Segment, cut
        from trajscope.measure.reductions import reductions_named
        from trajscope.measure.stream import stream

        weights = trajscope.open_trajectory(folder)["weights"].variable
        path = SumsPath("some", "none", reductions_named(names))
        segment = Segment(group=0, start=0, stop=weights.shape[1], resolution=2.0**-23)
        groups = Groups(("all",), (segment,)).sampled()
        with executor(None, None) as running:
            size = size_of(weights, groups, running, 2 << 30)
            plan = cut(size, groups.segments, path, workers=1)
            for _ in stream(weights, plan, running, seed=0, progress=lambda *_: None):
                pass

    return run


def trajscope_analyze(folder: Path) -> None:
    """Do all that `trajscope analyze` computes."""
    import trajscope

    trajscope.analyze(folder, memory="2GiB")


def torch_fft(folder: Path) -> None:
    """Sum the periodogram of the increments with torch.fft, block by block."""
    import torch

    torch.set_num_threads(1)
    total = 0.0
    for block in blocks(folder):
        values = torch.from_numpy(block)
        increments = values[1:] - values[:-1]
        increments = increments - increments.mean(dim=0)
        power = torch.fft.rfft(increments, dim=0).abs().square()
        total = total + power.sum(dim=1, dtype=torch.float64)


def scipy_periodogram(folder: Path) -> None:
    """Sum scipy.signal.periodogram of the increments, block by block."""
    from scipy.signal import periodogram

    total = 0.0
    for block in blocks(folder):
        _, power = periodogram(np.diff(block, axis=0), detrend="constant", axis=0)
        total = total + power.sum(axis=1, dtype=np.float64)


def dask_fft(folder: Path) -> None:
    """Sum the periodogram of the increments with dask.array.fft, lazily."""
    import dask
    import dask.array as da

    import trajscope

    weights = trajscope.open_trajectory(folder)["weights"].chunk(weight=COLUMNS).data
    increments = da.diff(weights, axis=0).rechunk({0: -1})
    increments = increments - increments.mean(axis=0)
    power = da.absolute(da.fft.rfft(increments, axis=0)) ** 2
    with dask.config.set(scheduler="synchronous"):
        power.sum(axis=1, dtype=np.float64).compute()


ROWS = (
    Row("read", "nothing: the limit of reading", read_only),
    Row("product", "nothing: the limit of multiplying", product_only),
    Row("trajscope quadratic", "everything quadratic", trajscope_sums(QUADRATIC)),
    Row("trajscope per weight", "mean and sd over weights: FFT and autocorrelation",
        trajscope_sums(PER_WEIGHT)),
    Row("trajscope analyze", "everything", trajscope_analyze),
    Row("torch.fft", "periodogram", torch_fft),
    Row("scipy.signal.periodogram", "periodogram", scipy_periodogram),
    Row("dask.array.fft", "periodogram", dask_fft),
)  # fmt: skip
PEERS = ("torch.fft", "scipy.signal.periodogram", "dask.array.fft")
COMPARED = ("trajscope per weight", "trajscope analyze")
"""Rows that another build has under the same names."""
EVERY = tuple(row.name for row in ROWS)
CASES = (
    Case("A", 1000, 1_000_000, EVERY, "A: 1,000 checkpoints × 1,000,000 weights"),
    Case("B", 200, 5_000_000, EVERY, "B: 200 checkpoints × 5,000,000 weights"),
    Case(
        "S", 20_000, 1000, ("read", "trajscope per weight", "trajscope analyze", *PEERS),
        "S: 20,000 checkpoints × 1,000 weights",
    ),
    Case(
        "F", 200, 2_500_000, EVERY,
        "F: 200 checkpoints × 2,500,000 weights, half of which never move", frozen=0.5,
    ),
)  # fmt: skip


def write_run(case: Case, folder: Path) -> None:
    """Write a random walk, one file per checkpoint: weights near 0.05, increments of 1e-5."""
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 0.05, case.n_weights).astype(np.float32)
    size = np.where(rng.random(case.n_weights) < case.frozen, 0, 1e-5).astype(np.float32)
    for step in range(case.n_files):
        weights += size * rng.standard_normal(case.n_weights, dtype=np.float32)
        save_file(
            {"layer.weight": weights},
            folder / f"step-{step:06d}.safetensors",
            metadata={"step": str(step)},
        )


def timed(row: str, folder: Path, checkout: Path | None = None) -> Figures:
    """Figures of one row, from a fresh process on one core; of another build by its own script."""
    script, environment = Path(__file__), {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    if checkout is not None:
        script = checkout / "benchmarks" / script.name
        environment["PYTHONPATH"] = str(checkout)
    command = [sys.executable, script, "--row", row, "--folder", str(folder)]
    done = subprocess.run(
        command, env=os.environ | environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{row} failed:\n{done.stderr}")
    figures: Figures = json.loads(done.stdout.splitlines()[-1])
    return figures


def turns(case: Case, folder: Path, runs: int, before: Path | None) -> dict[str, list[Figures]]:
    """Every row once in every turn; of trajscope's, the build before too."""
    found: dict[str, list[Figures]] = {}
    for _ in range(runs):
        for name in case.rows:
            found.setdefault(name, []).append(timed(name, folder))
            if before is not None and name in COMPARED:
                found.setdefault(name + BEFORE, []).append(timed(name, folder, before))
    return found


def run_row(name: str, folder: Path) -> None:
    """Run one row in this process and print its figures."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    import dask.array
    import torch

    import trajscope.analysis.run

    imported = (dask.array, torch, trajscope.analysis.run)  # everybody's imports, outside the clock
    peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    cpu, wall = time.process_time(), time.perf_counter()
    next(row for row in ROWS if row.name == name).run(folder)
    figures: Figures = {
        "cpu": time.process_time() - cpu,
        "wall": time.perf_counter() - wall,
        "mib": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak_before) / 1024,
    }
    del imported
    print(json.dumps(figures))


def ratio(found: dict[str, list[Figures]], one: str, other: str) -> float:
    """Median over the turns of the CPU seconds of one row over those of another."""
    pairs = zip(found[one], found[other], strict=True)
    return statistics.median(a["cpu"] / b["cpu"] for a, b in pairs)


def report(case: Case, found: dict[str, list[Figures]]) -> None:
    """Print one case as a Markdown table, then the ratios."""
    print(f"\n### {case.title}\n")
    print("| way | gives | CPU s | wall s | memory above imports, MiB |")
    print("|---|---|---|---|---|")
    gives = {row.name: row.gives for row in ROWS}
    for name, of_turns in found.items():
        cpu, wall, mib = (statistics.median(each[key] for each in of_turns) for key in KEYS)
        print(
            f"| {name} | {gives[name.removesuffix(BEFORE)]} | {cpu:.2f} | {wall:.2f} | {mib:.0f} |"
        )
    peers = [name for name in PEERS if name in found]
    best = min(peers, key=lambda name: ratio(found, name, "read"))
    for name in ("trajscope quadratic", *COMPARED):
        if name not in found:
            continue
        said = f"{ratio(found, best, name):.2f} × as fast as the periodogram of {best}"
        said += f"; {ratio(found, name, 'read'):.1f} × the time of reading alone"
        if name + BEFORE in found:
            said += f"; {ratio(found, name + BEFORE, name):.2f} × as fast as the build before"
        print(f"\n- {name}: {said}", end="")
    print()


def main() -> None:
    """Write the files, run every row, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the weights and files")
    parser.add_argument("--cases", default="A,B,S,F", help="which cases, such as A,S")
    parser.add_argument("--runs", type=int, default=1, help="turns of all rows")
    parser.add_argument("--before", type=Path, help="checkout of another build, timed in turn")
    parser.add_argument("--folder", type=Path, help="where to write the files")
    parser.add_argument("--row", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.row:
        run_row(options.row, options.folder)
        return
    for case in CASES:
        if case.name not in options.cases.split(","):
            continue
        by = options.scale if case.n_weights > case.n_files else 1.0
        scaled = Case(
            case.name,
            max(4, round(case.n_files * (1.0 if by < 1 else options.scale))),
            max(64, round(case.n_weights * by)),
            case.rows,
            case.title + ("" if options.scale == 1 else f" (scaled by {options.scale})"),
            case.frozen,
        )
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            write_run(scaled, Path(folder))
            report(scaled, turns(scaled, Path(folder), options.runs, options.before))


if __name__ == "__main__":
    main()
