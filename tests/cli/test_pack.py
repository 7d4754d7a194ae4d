"""A run logged with save_checkpoint and packed: every command takes the store for the folder."""

import json

import numpy as np

from tests.cli.running import SHAPES
from trajscope import save_checkpoint


def logged(folder):
    rng = np.random.default_rng(0)
    state = {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    for step in range(0, 120, 10):
        state = {name: x + rng.normal(size=x.shape).astype("f4") for name, x in state.items()}
        save_checkpoint(folder, state, step=step, epoch=step / 40, lr=0.1)
    return folder


def test_a_packed_run_is_analysed_like_the_folder_it_came_from(trajscope, tmp_path):
    run, store, before, after = (tmp_path / name for name in ("run", "run.zarr", "a", "b"))
    packed = trajscope("pack", logged(run), store)
    assert (packed.code, packed.out) == (0, f"Packed and verified: {store}\n")
    for source, out in ((run, before), (store, after)):
        assert trajscope("analyze", source, "-o", out, "--quiet") == (0, "", "")
    first, second = (json.loads((out / "summary.json").read_text()) for out in (before, after))
    # The trainer's files, and the learning rate in them, stay where they were.
    for each in (first, second):
        each["verdict"]["noise"].pop("follows_rate")
    for part in ("observables", "tests", "verdict"):
        assert first[part] == second[part]
    assert first["trajectory"]["steps"] == second["trajectory"]["steps"] == list(range(0, 120, 10))
    assert trajscope("report", after / "results.zarr").code == 0


def test_what_is_there_already_is_left_alone(trajscope, tmp_path):
    store = tmp_path / "run.zarr"
    store.mkdir()
    done = trajscope("pack", logged(tmp_path / "run"), store)
    assert done.code == 2
    assert "exists already; a new name was expected" in done.err
    assert list(store.iterdir()) == []
