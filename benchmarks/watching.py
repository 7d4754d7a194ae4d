"""What one more checkpoint costs a watcher of 300 checkpoints of 1,000,000 weights.

Prints processor seconds of an update with its page, and of reading the new checkpoint with
safetensors, which the update may take twice and 0.3 s more. --scale 0.01 takes 10,000 weights.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from trajscope import save_checkpoint
from trajscope.analysis.watch import Watcher
from trajscope.report.page.watch import render_watch

N_STEPS, N_WEIGHTS, N_UPDATES = 300, 1_000_000, 9


def main() -> None:
    """Grow a run by some checkpoints, and time each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0)
    n_weights = max(int(N_WEIGHTS * parser.parse_args().scale), 1000)
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(n_weights, np.float32) / 20
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder, "run")
        watcher = Watcher(run, Path(folder, "out"), {})
        updates, reads = [], []
        for step in range(N_STEPS + N_UPDATES):
            weights = weights + rng.standard_normal(n_weights, np.float32) / 10_000
            path = save_checkpoint(run, {"fc.weight": weights.reshape(1000, -1)}, step=step)
            os.utime(path, (1.6e9 + step, 1.6e9 + step))
            if step == N_STEPS - 1:
                look(watcher)
            elif step >= N_STEPS:
                watcher._decided = (0, 0.0, 0.0)  # the tests are not put off
                began = time.process_time()
                load_file(path)
                reads.append(time.process_time() - began)
                began = time.process_time()
                look(watcher)
                updates.append(time.process_time() - began)
    read, update = statistics.median(reads), statistics.median(updates)
    print(f"{N_STEPS} checkpoints of {n_weights:,} weights, medians of {N_UPDATES}, processor s")
    print(f"reading the new checkpoint {read:8.4f}")
    print(f"update, verdict and page   {update:8.4f}  (largest {max(updates):.4f})")
    print(f"limit: 2 x reading + 0.3   {2 * read + 0.3:8.4f}")


def look(watcher: Watcher) -> None:
    """One look, and the page."""
    for state in watcher.look():
        page = render_watch(state, seconds=10)
    assert "Brownian motion" in page


if __name__ == "__main__":
    main()
