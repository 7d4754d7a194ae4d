"""20,000 files of 1,000 weights: inspect, open, read and analyze, beside reading with safetensors.

Prints a table; each row is a process of its own, the page cache is warm. --scale 0.01 takes 200
files.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

N_FILES, N_WEIGHTS = 20_000, 1_000
LOAD = """
import pathlib, sys
from safetensors.numpy import load_file
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    load_file(path)
"""
READ = """
import sys
from trajscope.trajectory import open_trajectory
open_trajectory(sys.argv[1])["weights"].to_numpy()
"""
PASS = """
import sys
from trajscope.measure.executor import executor
from trajscope.measure.measurement import measure
from trajscope.trajectory import open_trajectory
with executor(None, None) as running:
    measure(open_trajectory(sys.argv[1]), running, memory=1 << 30, seed=0, progress=lambda *_: None)
"""


def write(folder: Path, n_files: int) -> None:
    """A random walk of two tensors."""
    rng = np.random.default_rng(0)
    weights = np.zeros(N_WEIGHTS, np.float32)
    for step in range(n_files):
        weights += rng.normal(size=N_WEIGHTS).astype(np.float32)
        state = {"fc.weight": weights[:900], "fc.bias": weights[900:].copy()}
        save_file(state, folder / f"step-{step}.safetensors", {"step": str(step)})


def timed(*command: object) -> tuple[float, float]:
    """Processor and wall seconds of a command, the faster of two runs."""
    runs = []
    for _ in range(2):
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(list(map(str, command)), check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        runs.append((processor, time.perf_counter() - start))
    return min(runs)


def main() -> None:
    """Write the files, time every way, print a Markdown table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    n_files = max(int(N_FILES * parser.parse_args().scale), 20)
    with tempfile.TemporaryDirectory() as name:
        folder, out = Path(name) / "run", Path(name) / "out"
        folder.mkdir()
        write(folder, n_files)
        trajscope = [sys.executable, "-m", "trajscope"]
        ways = {
            "safetensors alone: load_file of each": [sys.executable, "-c", LOAD, folder],
            "trajscope inspect": [*trajscope, "inspect", folder],
            "open and read all": [sys.executable, "-c", READ, folder],
            "open and measure: the one pass": [sys.executable, "-c", PASS, folder],
            "trajscope analyze": [*trajscope, "analyze", folder, "-o", out, "--quiet"],
        }
        print(f"{n_files:,} files x {N_WEIGHTS:,} weights\n")
        print("| way | processor s | wall s |\n|---|---|---|")
        for way, command in ways.items():
            print("| {} | {:.2f} | {:.2f} |".format(way, *timed(*command)), flush=True)


if __name__ == "__main__":
    main()
