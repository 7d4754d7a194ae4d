"""A run that other processes write again, write in place or rotate while the command reads it."""

import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.cli.running import in_process
from trajscope import open_results
from trajscope.report.files.completeness import mark_of

pytestmark = pytest.mark.slow

N_STEPS, N_WEIGHTS = 40, 400_000

# Every checkpoint of either run is one number throughout: half of one and half of the other shows.
WRITER = """
import os, sys, time
import numpy as np
from safetensors.numpy import save
folder, kind, n_steps, n_weights = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
turn = 0
while True:
    turn += 1
    for step in range(n_steps):
        path = f"{folder}/step-{step}.safetensors"
        value = np.float32(-1000 * step if turn % 2 else step)
        content = save({"w": np.full(n_weights, value)})
        if kind == "rotates":
            if step < n_steps - 4 and turn == 1 and os.path.exists(path):
                os.unlink(path)
                time.sleep(0.3)
            continue
        if kind == "in place":
            with open(path, "r+b") as file:
                half = len(content) // 2
                file.write(content[:half]); file.flush(); time.sleep(0.01)
                file.write(content[half:])
        else:
            with open(path + ".tmp", "wb") as file:
                file.write(content)
            os.rename(path + ".tmp", path)
        print(step, flush=True)
        time.sleep(0.15)
"""


def value_of(step, again):
    return -1000.0 * step if again else float(step)


def write(folder):
    folder.mkdir()
    for step in range(N_STEPS):
        weights = np.full(N_WEIGHTS, step, np.float32)
        save_file({"w": weights}, folder / f"step-{step}.safetensors")


@pytest.mark.parametrize("kind", ["written again", "in place", "rotates"])
def test_nothing_is_read_half_from_one_run_and_half_from_another(kind, tmp_path):
    write(tmp_path / "run")
    out = tmp_path / "out"
    command = [sys.executable, "-c", WRITER, tmp_path / "run", kind, str(N_STEPS), str(N_WEIGHTS)]
    answers = []
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as writer:
        try:
            for _ in range(3):
                done = in_process("analyze", tmp_path / "run", "-o", out, "--quiet")
                answers.append(done)
                if done.code == 0:
                    check(out)
        finally:
            writer.kill()
    for done in answers:
        assert done.code in (0, 2)
        assert "Traceback" not in done.err
        if done.code == 2:
            assert done.err.startswith("Error: ")
            assert len(done.err.splitlines()) <= 2


def check(out):
    """Every increment is one between two whole checkpoints, each of one of the two runs."""
    found = open_results(out / "results.zarr").load()
    steps = found["trajectory"]["step"].values.tolist()
    norms = found["observables"]["increment_norm"].sel(group="all").values / N_WEIGHTS**0.5
    for before, after, norm in zip(steps, steps[1:], norms, strict=False):
        possible = [abs(value_of(after, a) - value_of(before, b)) for a in (0, 1) for b in (0, 1)]
        assert min(abs(norm - each) for each in possible) < 1e-4 * max(norm, 1)
    assert mark_of(out / "results.zarr")
