"""Averages of checkpoints from the command line."""

import re

import numpy as np
from safetensors.numpy import load_file


def test_an_average_is_written_and_its_place_told(trajscope, run, tmp_path):
    target = tmp_path / "swa.safetensors"
    done = trajscope("average", run, "--last", "3", "-o", target)
    assert (done.code, done.out, done.err) == (0, f"Averaged: {target}\n", "")
    files = sorted(run.glob("*.safetensors"), key=lambda path: int(re.sub(r"\D", "", path.stem)))
    last = [load_file(path) for path in files[-3:]]
    expected = np.mean([state["fc1.weight"] for state in last], axis=0, dtype=float)
    np.testing.assert_allclose(load_file(target)["fc1.weight"], expected, rtol=1e-6, atol=1e-7)


def test_a_refusal_is_one_message(trajscope, run, tmp_path):
    done = trajscope("average", run, "-o", tmp_path / "swa.safetensors")
    assert done.code == 2
    assert "exactly one is expected" in done.err
