"""A pass that is killed at random moments, and started again until it ends."""

import subprocess
import sys
import time

import numpy as np
import pytest
import xarray as xr

from trajscope import open_results, save_checkpoint

pytestmark = pytest.mark.slow

COMMAND = """
import sys
from trajscope.cli import main
from trajscope.measure import parts, plan, room, stream

# Tasks of 4,096 weights, chunks of three, slowed down, so that there is something to kill.
room._BLOCK_BYTES, plan.CHUNK_TASKS, plan.MIB, stream._TASKS_PER_WORKER = 1, 3, 1 << 11, 4
parts._SHARE = 1
put = parts.Parts.put

def told(self, number, result):
    put(self, number, result)
    print("part", number, flush=True)

parts.Parts.put = told
main(sys.argv[1:])
"""


def command(run, out):
    options = ["--quiet", "--phases", "none", "--surrogates", "199", "--memory", "1GiB"]
    return [sys.executable, "-c", COMMAND, "analyze", run, "-o", out, *options]


def assert_same_bits(one, other):
    for place in ("reductions", "observables", "tests"):
        xr.testing.assert_identical(one[place].to_dataset(), other[place].to_dataset())


@pytest.mark.parametrize("kills", [pytest.param(1, marks=pytest.mark.slice), 20])
def test_the_result_is_that_of_a_pass_that_was_never_killed(kills, tmp_path):
    rng = np.random.default_rng(0)
    weights = np.zeros(400_000, np.float32)
    for step in range(40):
        weights += rng.standard_normal(400_000, np.float32)
        save_checkpoint(tmp_path / "run", {"w": weights, "v": weights[:1000].copy()}, step=step)
    n_parts = []
    for share in np.random.default_rng(1).uniform(0, 1, kills):
        with subprocess.Popen(
            command(tmp_path / "run", tmp_path / "out"), stdout=subprocess.PIPE
        ) as process:
            process.stdout.readline()  # one part more
            time.sleep(0.2 * share)
            process.kill()
        n_parts.append(len(list((tmp_path / "out").glob("parts/*/part-*"))))
    assert max(n_parts) > 0
    subprocess.run(command(tmp_path / "run", tmp_path / "out"), check=True, stdout=-3)
    assert not (tmp_path / "out/parts").exists()
    subprocess.run(command(tmp_path / "run", tmp_path / "whole"), check=True, stdout=-3)
    found, whole = (open_results(tmp_path / name / "results.zarr") for name in ("out", "whole"))
    assert_same_bits(found, whole)
