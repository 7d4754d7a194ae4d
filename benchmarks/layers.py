"""Time the tests of a run with many layers, and of a very long run, beside an earlier build.

    python benchmarks/layers.py                          # this build alone
    python benchmarks/layers.py --before CHECKOUT        # in turns with the build in a checkout

Windows of white increments are decided on in a process of its own each, on one BLAS thread.
Seconds of process time: medians over --runs turns.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parents[1]
CASES: Final = {
    "10 layers, 1,000 x 500": (1000, 500, 10),
    "5 layers, 5,000 x 400": (5000, 400, 5),
    "one window, 1,000 x 1,000": (1000, 1000, 0),
    "one window, 5,000 x 2,000": (5000, 2000, 0),
    "one window, 99,000 x 917": (99_000, 917, 0),
}
"""Checkpoints, weights of a layer or a window, layers."""
MEASURED: Final = """
import json, resource, sys, time
import numpy as np
from trajscope.inference.decision.combine import decide_run
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.words import Run
from trajscope.inference.statistics.window import Window
from trajscope.kernels.factors import factor_of_gram

n_steps, width, n_layers = json.loads(sys.argv[1])
draw = np.random.default_rng(0).standard_normal
layers = [draw((n_steps - 1, width)) for _ in range(n_layers)]
whole = np.hstack(layers) if layers else draw((n_steps - 1, width))
if layers and whole.shape[1] > len(whole):
    whole = factor_of_gram(whole @ whole.T)
windows = [Window(np.asarray(each, np.float64)) for each in (whole, *layers)]
run, names = Run(np.arange(n_steps), "step", 1.0), ["all", *map(str, range(n_layers))]
SETTINGS = DecisionSettings(199 if n_steps > 10_000 else 999)
spent = []
for some in ([windows[:1], windows] if layers else [windows]):
    began, wall = time.process_time(), time.perf_counter()
    decide_run(run, names[: len(some)], some, SETTINGS)
    spent.append((time.process_time() - began, time.perf_counter() - wall))
last = spent[-1][0] - spent[0][0] if layers else spent[0][0]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps({"cpu": last, "wall": spent[-1][1], "peak": peak}))
"""


def measured(build: Path, case: tuple[int, int, int]) -> dict[str, float]:
    """Seconds and mebibytes of one case with the package of one checkout."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, json.dumps(case)],
        cwd=build, env=os.environ | threads | {"PYTHONPATH": str(build)},
        stdout=subprocess.PIPE, check=True, text=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def main() -> None:
    """Measure the builds in turns and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--before", type=Path, metavar="CHECKOUT", help="an earlier build")
    parser.add_argument("--runs", type=int, default=3, help="turns")
    parser.add_argument("--case", choices=CASES, help="only this one")
    options = parser.parse_args()
    builds = {"now": HERE} | ({"before": options.before} if options.before else {})
    print("| case | build | process time, s | elapsed, s | peak, MiB |")
    print("| --- | --- | --- | --- | --- |")
    for name in [options.case] if options.case else CASES:
        found = {build: [] for build in builds}
        for _ in range(options.runs):
            for build, folder in builds.items():
                found[build].append(measured(folder, CASES[name]))
        for build, runs in found.items():
            cpu, wall, peak = (
                statistics.median(run[what] for run in runs) for what in ("cpu", "wall", "peak")
            )
            print(f"| {name} | {build} | {cpu:.2f} | {wall:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
