"""Layers that are called like state are weights; state is none, whatever its names are."""

import time

import h5py
import numpy as np
import pytest
import torch

from trajscope.checkpoints.sections import select
from trajscope.checkpoints.series import find_series
from trajscope.checkpoints.stored import Stored
from trajscope.checkpoints.weights import choose_weights
from trajscope.errors import TrajectoryError, TrajscopeWarning
from trajscope.readers.base import TensorSpec
from trajscope.trajectory import open_trajectory

NAMES = (
    "opt_proj", "proj_opt", "opt", "optim_head", "optimizer_net", "optimizer",
    "swa_proj", "swa_attn", "ema_gate", "average_pool_proj", "teacher_proj",
    "random_projection", "rng_embed", "scaler", "amp", "scheduler", "step", "config",
)  # fmt: skip


def arrays(names, shape=(2, 3)):
    return {name: Stored(0, name, TensorSpec(shape, "float32")) for name in names}


def read(entries):
    ((kept, left),) = select([entries])
    return set(kept), {name: each.reason for name, each in left.items()}


@pytest.mark.parametrize("sign", "/.")
@pytest.mark.parametrize("name", NAMES)
def test_a_layer_of_such_a_name_in_a_bare_tree_is_a_weight(name, sign):
    own = [f"{name}{sign}kernel", f"{name}{sign}bias"]
    others = [f"{layer}{sign}{leaf}" for layer in ("dense", "out") for leaf in ("kernel", "bias")]
    assert read(arrays([*own, *others])) == ({*own, *others}, {})


@pytest.mark.parametrize("name", ["opt_encoder", "swa_layers", "optim_head"])
def test_a_deep_layer_of_such_a_name_is_a_weight(name):
    own = [f"{name}/{number}/attn/{leaf}" for number in "01" for leaf in ("kernel", "bias")]
    others = [each.replace(name, "sar_encoder") for each in own]
    assert read(arrays([*own, *others])) == ({*own, *others}, {})


@pytest.mark.parametrize("name", ["opt_proj", "optim_proj", "optimizer_net", "swa_proj"])
def test_a_layer_of_such_a_name_within_the_model_is_a_weight(name):
    own = [f"params/{name}/kernel", "params/dense/kernel"]
    kept, _ = read(arrays([*own, "opt_state/0/mu/dense/kernel"]))
    assert kept == {each.removeprefix("params/") for each in own}


@pytest.mark.parametrize("leaf", ["step", "iteration", "epoch"])
def test_an_array_that_is_called_like_a_counter_is_a_weight(leaf):
    number = Stored(0, leaf, TensorSpec((), "float32"))
    kept, left = read({**arrays([f"quantiser.{leaf}", "fc.weight"]), leaf: number})
    assert kept == {f"quantiser.{leaf}", "fc.weight"}
    assert left == {leaf: "a counter, not a weight"}


STATES = {
    "momentum by the tree of the weights": ["opt/dense/kernel", "opt/out/kernel"],
    "of one of two models": ["gen_opt/dense/kernel", "gen_opt/out/kernel"],
    "optax": ["opt_gen/0/mu/dense/kernel", "opt_gen/0/nu/dense/kernel", "opt_gen/0/count"],
    "torch": ["optim_gen/state/0/exp_avg", "optim_gen/state/0/exp_avg_sq"],
    "an average": ["ema/dense/kernel", "ema/out/kernel"],
    "an average of one of two": ["ema_gen/dense/kernel", "ema_gen/out/kernel"],
    "a list of averages": ["swa/shadow/0", "swa/shadow/1"],
    "names of another kind": ["gen_ema/densekernel", "gen_ema/outkernel"],
    "a larger teacher": ["teacher/deep/block/kernel", "teacher/deep/head/kernel"],
    "a teacher's backbone": ["teacher_backbone/deep/kernel", "teacher_backbone/head/kernel"],
    "seen in training": ["callbacks/best/dense/kernel", "callbacks/best/out/kernel"],
}


@pytest.mark.parametrize("state", STATES)
def test_state_is_none_by_what_it_holds(state):
    own = ["gen/dense/kernel", "gen/out/kernel", "disc/first/kernel"]
    kept, left = read(arrays([*own, *STATES[state]]))
    assert kept == set(own)
    assert left


@pytest.mark.parametrize("name", ["opt", "ema", "callbacks"])
def test_state_beside_the_bare_layers_is_none(name):
    own = ["dense/kernel", "out/kernel"]
    kept, _ = read(arrays([*own, *(f"{name}/{each}" for each in own)]))
    assert kept == set(own)


def test_an_average_alone_is_still_read_as_one(tmp_path):
    for step in (1, 2):
        content = {"ema": {"fc.weight": torch.ones(2, 3) * step}}
        torch.save(content, tmp_path / f"step_{step}.pt")
    with pytest.warns(TrajscopeWarning, match="only an average"):
        open_trajectory(tmp_path)


def test_layers_of_keras_that_are_called_so_are_weights(tmp_path):
    for step in (1, 2):
        with h5py.File(tmp_path / f"step_{step}.weights.h5", "w") as file:
            for name in ("layers/dense/vars/0", "layers/optimizer_embedding/vars/0"):
                file[name] = np.full((3, 4), step, "f4")
            file["optimizer/vars/0"] = np.int64(3)
            file["optimizer/vars/1"] = np.float32(0.1)
            file["optimizer/vars/2"] = np.ones((3, 4), "f4")
            file["optimizer/vars/3"] = np.ones((3, 4), "f4")
    weights = choose_weights(find_series(tmp_path))
    assert {each.name for each in weights.tensors} == {
        "layers/dense/vars/0", "layers/optimizer_embedding/vars/0"
    }  # fmt: skip


@pytest.mark.parametrize("name", ["sampler", "scaler", "scheduler", "optim_net"])
def test_a_folder_of_nothing_but_files_of_such_a_name_is_a_run(name, tmp_path):
    for step in (10, 20):
        torch.save({"fc.weight": torch.ones(2, 3)}, tmp_path / f"{name}_{step}.pt")
    series = find_series(tmp_path)
    assert [each.step for each in series.checkpoints] == [10, 20]
    torch.save({"fc.weight": torch.ones(2, 3)}, tmp_path / "net_30.pt")
    torch.save({"fc.weight": torch.ones(2, 3)}, tmp_path / "net_40.pt")
    assert [each.step for each in find_series(tmp_path).checkpoints] == [30, 40]


def test_an_optimizer_alone_is_no_run(tmp_path):
    for step in (10, 20):
        (tmp_path / f"step_{step}").mkdir()
        content = {"state": {0: {"exp_avg": torch.ones(2, 3)}}, "param_groups": []}
        torch.save(content, tmp_path / f"step_{step}" / "optimizer.pt")
    with pytest.raises(TrajectoryError, match="optimizer state"):
        choose_weights(find_series(tmp_path))


def test_single_arrays_of_such_a_name_are_weights(tmp_path):
    for step in (10, 20):
        (tmp_path / f"step_{step}").mkdir()
        for name in ("scaler.weight", "sampler.proj.kernel", "fc.weight", "optimizer"):
            np.save(tmp_path / f"step_{step}" / f"{name}.npy", np.ones((2, 3), "f4"))
    weights = choose_weights(find_series(tmp_path))
    assert {each.name for each in weights.tensors} == {
        "scaler.weight", "sampler.proj.kernel", "fc.weight"
    }  # fmt: skip


def test_runs_of_two_models_are_asked_for_whatever_one_is_called(tmp_path):
    for name, shape in (("swa_model", (2, 3)), ("full_model", (4, 5))):
        (tmp_path / name).mkdir()
        for step in (10, 20):
            torch.save({"fc.weight": torch.ones(shape)}, tmp_path / name / f"step_{step}.pt")
    with pytest.raises(TrajectoryError, match="holds 2 runs"):
        find_series(tmp_path)
    for run in ("swa_model", "full_model"):
        assert find_series(tmp_path, run=run).run == run


HOSTILE = {
    "thousands of levels": ["x." * 20000 + "w", "opt/" * 20000 + "w", "ema_x." * 20000 + "w"],
    "thousands of containers": [f"opt_{number}/w" for number in range(2000)],
    "thousands of averages": [f"ema_{number}.w" for number in range(2000)],
    "averages within averages": [
        ".".join([f"ema_{number}"] * 100) + ".w" for number in range(500)
    ],
}  # fmt: skip


@pytest.mark.parametrize("names", HOSTILE.values(), ids=HOSTILE)
def test_names_that_many_things_are_called_take_little_time(names):
    before = time.process_time()
    read(arrays(names))
    assert time.process_time() - before < 5
