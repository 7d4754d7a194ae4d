"""Folders as trainers lay them out, written with the libraries that write them."""

import argparse
import json
import os
import shutil
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from safetensors.torch import save_file

from trajscope.checkpoints.series import find_series
from trajscope.errors import CheckpointError, TrajectoryError
from trajscope.trajectory import open_trajectory, tensor

# The batch norm of so small a model keeps more than a tenth of its values in statistics.
_STATISTICS = "values in each checkpoint are left out: a running statistic"
pytestmark = pytest.mark.filterwarnings("ignore:.*values in each checkpoint are left out")

WEIGHTS = ["0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias"]
BATCH_NORM = ["1.running_mean", "1.running_var", "1.num_batches_tracked"]


def network(seed):
    """Two linear layers with batch norm between them; no global random state is touched."""
    net = torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    )
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    return net


def adam_state(net):
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(5, 4)).sum().backward()
    optimizer.step()
    return optimizer.state_dict()


def check(opened, steps, names=WEIGHTS, seeds=None):
    """The trajectory holds exactly the parameters of `network` at these steps."""
    assert list(opened["step"].values) == list(steps)
    assert sorted(opened["tensor"].values) == sorted(names)
    for name, plain in zip(names, WEIGHTS, strict=True):
        expected = [network(seed).state_dict()[plain].numpy() for seed in seeds or steps]
        np.testing.assert_array_equal(tensor(opened, name), np.stack(expected))


def left_out(opened):
    return {entry["name"]: entry["reason"] for entry in opened.attrs["left_out"]}


def skipped(opened):
    return {entry["path"]: entry["reason"] for entry in opened.attrs["skipped"]}


def test_lightning(tmp_path):
    folder = tmp_path / "lightning_logs/version_0/checkpoints"
    folder.mkdir(parents=True)
    for epoch in range(3):
        net, step = network(4 * epoch + 4), 4 * epoch + 4
        content = {
            "epoch": epoch,
            "global_step": step,
            "state_dict": {f"model.{name}": value for name, value in net.state_dict().items()},
            "loops": {"fit_loop": {"epoch_progress": {"current": {"ready": epoch}}}},
            "hyper_parameters": {"lr": 0.1},
        }
        content["optimizer_states"] = [adam_state(network(0))]
        torch.save(content, folder / f"epoch={epoch}-step={step}.ckpt")
    shutil.copy(folder / "epoch=2-step=12.ckpt", folder / "last.ckpt")
    shutil.copy(folder / "epoch=2-step=12.ckpt", folder / "epoch=2-step=12-v1.ckpt")
    opened = open_trajectory(tmp_path)
    check(opened, [4, 8, 12], [f"model.{name}" for name in WEIGHTS])
    assert opened.attrs["step_source"] == "metadata key 'global_step'"
    assert left_out(opened)["optimizer_states/*"] == "optimizer state (18 arrays)"
    assert set(left_out(opened)) > {f"model.{name}" for name in BATCH_NORM}
    run = "lightning_logs/version_0/checkpoints"
    assert opened.attrs["run"] == run
    assert skipped(opened) == {
        f"{run}/last.ckpt": "an alias of another checkpoint, according to its name",
        f"{run}/epoch=2-step=12-v1.ckpt": f"a copy of {run}/epoch=2-step=12.ckpt",
    }


def test_a_loop_that_saves_model_optimizer_and_counters(tmp_path):
    for index in (1, 2, 3):
        net = network(index * 500)
        content = {
            "model": net.state_dict(),
            "optimizer": adam_state(network(0)),
            "epoch": index,
            "iter_num": index * 500,
            "args": argparse.Namespace(lr=0.1),
            "loss": torch.tensor(0.3),
        }
        torch.save(content, tmp_path / f"ckpt_{index}.pt")
    os.link(tmp_path / "ckpt_3.pt", tmp_path / "last.pt")
    os.link(tmp_path / "ckpt_2.pt", tmp_path / "model_best.pt")
    opened = open_trajectory(tmp_path)
    check(opened, [500, 1000, 1500])
    assert [text for text in opened.attrs["warnings"] if _STATISTICS not in text] == []
    assert left_out(opened)["loss"] == "a logged number, not a weight"
    assert skipped(opened)["last.pt"] == "the same file as ckpt_3.pt"


def test_a_moving_average_beside_the_weights_is_chosen_by_name(tmp_path):
    for epoch in range(3):
        content = {
            "epoch": epoch,
            "state_dict": network(epoch).state_dict(),
            "state_dict_ema": network(epoch + 10).state_dict(),
        }
        torch.save(content, tmp_path / f"checkpoint-{epoch}.pth.tar")
    shutil.copy(tmp_path / "checkpoint-2.pth.tar", tmp_path / "last.pth.tar")
    live = open_trajectory(tmp_path)
    check(live, [0, 1, 2])
    assert live.attrs["step_unit"] == "epoch"
    assert "last.pth.tar" in skipped(live)
    average = open_trajectory(
        tmp_path, include=("state_dict_ema/*",), exclude=("*running*", "*tracked")
    )
    check(average, [0, 1, 2], [f"state_dict_ema/{name}" for name in WEIGHTS], [10, 11, 12])


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_plain_state_dicts(zipped, tmp_path):
    for step in (100, 20, 3):
        state = network(step).state_dict()
        torch.save(state, tmp_path / f"net_{step}.pth", _use_new_zipfile_serialization=zipped)
    opened = open_trajectory(tmp_path)
    check(opened, [3, 20, 100])
    assert list(left_out(opened)) == BATCH_NORM


def test_whole_modules_tell_their_buffers(tmp_path):
    for step in (10, 20):
        torch.save(network(step), tmp_path / f"net_{step}.pt")
    opened = open_trajectory(tmp_path)
    check(opened, [10, 20])
    assert left_out(opened) == dict.fromkeys(BATCH_NORM, "a buffer, not a parameter")


def test_a_run_that_turns_on_a_wrapper_half_way(tmp_path):
    for step, prefix in ((10, ""), (20, "module."), (30, "module._orig_mod.")):
        state = {f"{prefix}{name}": value for name, value in network(step).state_dict().items()}
        torch.save(state, tmp_path / f"step_{step}.pt")
    check(open_trajectory(tmp_path, strict=True), [10, 20, 30])


def test_an_averaged_model(tmp_path):
    for step in (10, 20):
        averaged = torch.optim.swa_utils.AveragedModel(network(step))
        torch.save(averaged.state_dict(), tmp_path / f"step_{step}.pt")
    opened = open_trajectory(tmp_path)
    check(opened, [10, 20])
    assert left_out(opened)["n_averaged"] == "a counter, not a weight"


def test_the_trainer_of_transformers(tmp_path):
    for step in (100, 15):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        save_file(network(step).state_dict(), folder / "model.safetensors", {"format": "pt"})
        for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin"):
            torch.save({}, folder / name)
        state = json.dumps({"epoch": step / 7, "global_step": step, "log_history": []}, indent=2)
        (folder / "trainer_state.json").write_text(state)
    save_file(network(100).state_dict(), tmp_path / "model.safetensors")
    opened = open_trajectory(tmp_path)
    check(opened, [15, 100])
    assert opened.attrs["step_source"] == "trainer_state.json"
    assert len(skipped(opened)) == 9


def test_accelerate_counts_its_checkpoints(tmp_path):
    for index in range(3):
        folder = tmp_path / f"checkpoints/checkpoint_{index}"
        folder.mkdir(parents=True)
        save_file(network(index).state_dict(), folder / "model.safetensors")
        torch.save({}, folder / "optimizer.bin")
        (folder / "random_states_0.pkl").write_bytes(b"never read")
    opened = open_trajectory(tmp_path)
    check(opened, [0, 1, 2])
    assert opened.attrs["step_unit"] == "index"


def test_two_models_with_the_same_tensor_names_are_never_mixed(tmp_path):
    for step in (10, 20):
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        for number, name in enumerate(("model.safetensors", "model_1.safetensors")):
            save_file(network(step + number).state_dict(), folder / name)
    with pytest.raises(TrajectoryError, match=r"step_\*/model_1\.safetensors  \(2 checkpoints\)"):
        open_trajectory(tmp_path)
    opened = open_trajectory(tmp_path, run="step_*/model_1.safetensors")
    check(opened, [10, 20], seeds=[11, 21])


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpy_archives_in_folders(save, tmp_path):
    for step in (10, 20):
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        state = {name: value.numpy() for name, value in network(step).state_dict().items()}
        save(folder / "weights.npz", step=np.int64(step), **state)
    opened = open_trajectory(tmp_path)
    check(opened, [10, 20])
    assert opened.attrs["step_source"] == "metadata key 'step'"


def test_tensors_that_only_their_reader_can_find(tmp_path):
    for step in (1, 2):
        shared = torch.arange(12.0).reshape(3, 4) * step
        state = {"turned": shared.t(), "part": shared[:, 1:3], "plain": torch.ones(5) * step}
        torch.save(state, tmp_path / f"s{step}.pt")
    opened = open_trajectory(tmp_path)
    whole = np.arange(12.0).reshape(3, 4)
    np.testing.assert_array_equal(tensor(opened, "turned"), np.stack([whole.T, 2 * whole.T]))
    np.testing.assert_array_equal(tensor(opened, "part")[1], 2 * whole[:, 1:3])
    np.testing.assert_array_equal(opened["weights"][:, 3:20:2], opened["weights"].load()[:, 3:20:2])


def test_a_torch_archive_that_is_still_being_written_is_skipped(tmp_path):
    for step in (10, 20, 30):
        torch.save(network(step).state_dict(), tmp_path / f"net_{step}.pt")
    path = tmp_path / "net_30.pt"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.warns(match=r"1 of 3 checkpoints cannot be read .*be unfinished"):
        check(open_trajectory(tmp_path), [10, 20])


def test_formats_that_are_not_read_are_named(tmp_path):
    (tmp_path / "step-10").mkdir()
    for name in ("model.gguf", "model.msgpack"):
        (tmp_path / "step-10" / name).write_bytes(b"x")
    with pytest.raises(TrajectoryError, match=r"an unsupported format \(\*\.gguf\)"):
        open_trajectory(tmp_path)


def test_another_programs_bin_file_is_no_damaged_checkpoint(tmp_path):
    for step in (10, 20):
        torch.save(network(step).state_dict(), tmp_path / f"net_{step}.pt")
    (tmp_path / "vocabulary.bin").write_bytes(b"word\n" * 10)
    assert skipped(open_trajectory(tmp_path)) == {
        "vocabulary.bin": "not a checkpoint (contents do not match its extension)"
    }


# --- stores


@pytest.fixture
def store(tmp_path):
    """A zarr store of five steps in a folder of its own, and what it holds."""
    rng = np.random.default_rng(0)
    dataset = xr.Dataset(
        {
            "fc.weight": (("step", "out", "in"), rng.normal(size=(5, 2, 3)).astype("f4")),
            "fc.bias": (("step", "out"), rng.normal(size=(5, 2)).astype("f4")),
        },
        coords={"step": [0, 5, 10, 20, 15]},
    )
    path = tmp_path / "run/trajectory.zarr"
    dataset.to_zarr(path, zarr_format=2, consolidated=False)
    return path, dataset


def test_a_store_is_a_whole_series_in_the_order_of_its_steps(store):
    path, dataset = store
    opened = open_trajectory(path)
    assert list(opened["step"].values) == [0, 5, 10, 15, 20]
    assert opened.attrs["format"] == "zarr store"
    for name in ("fc.weight", "fc.bias"):
        np.testing.assert_array_equal(tensor(opened, name), dataset.sortby("step")[name])
    part = opened["weights"].isel(step=[3, 1], weight=slice(2, 7)).values
    np.testing.assert_array_equal(part, opened["weights"].values[[3, 1], 2:7])


def test_a_store_is_found_in_the_folder_above(store):
    path, _ = store
    opened = open_trajectory(path.parent, steps="5:", exclude=("*.bias",))
    assert opened.attrs["run"] == "trajectory.zarr"
    assert list(opened["tensor"].values) == ["fc.weight"]
    assert opened.sizes["step"] == 4


def test_a_store_beside_files_is_one_run_of_several(store):
    path, _ = store
    for step in (1, 2):
        np.savez(path.parent / f"step_{step}.npz", w=np.ones(3))
    with pytest.raises(TrajectoryError, match=r"\n  trajectory\.zarr  \(5 checkpoints\)"):
        open_trajectory(path.parent)
    assert open_trajectory(path.parent, run="trajectory.zarr").sizes["step"] == 5
    assert open_trajectory(path.parent, run="run").sizes["step"] == 2


def test_a_step_that_a_store_repeats_is_taken_once_with_a_warning(store, tmp_path):
    _, dataset = store
    dataset.assign_coords(step=[0, 5, 5, 20, 15]).to_zarr(
        tmp_path / "twice.zarr", zarr_format=2, consolidated=False
    )
    with pytest.warns(match=r"1 entries of the step axis repeat a step"):
        opened = open_trajectory(tmp_path / "twice.zarr")
    np.testing.assert_array_equal(tensor(opened, "fc.bias")[1], dataset["fc.bias"][2])


def test_steps_of_a_store_that_are_not_written_yet_are_left_out_with_a_warning(tmp_path):
    array = zarr.create_array(tmp_path / "w.zarr", shape=(0, 3), chunks=(1, 3), dtype="f4")
    for step in (1, 2):
        array.append(np.full((1, 3), step, "f4"))
    array.resize((3, 3))
    with pytest.warns(match=r"w\.zarr: the last 1 of 3 entries of the step axis are unwritten"):
        opened = open_trajectory(tmp_path / "w.zarr")
    assert opened["weights"].values.tolist() == [[1, 1, 1], [2, 2, 2]]


def test_what_a_store_holds_beside_weights_is_told(store, tmp_path):
    _, dataset = store
    more = dataset.assign(loss=("step", np.ones(5)), vocabulary=("word", np.ones(3)))
    more.to_zarr(tmp_path / "more.zarr", zarr_format=2, consolidated=False)
    left_out = {e["name"]: e["reason"] for e in open_trajectory(tmp_path / "more.zarr").left_out}
    assert left_out == {
        "loss": "one number per checkpoint, not a weight",
        "vocabulary": "its first dimension is called 'word', not 'step'",
    }


def test_a_store_without_a_step_axis_is_skipped_or_refused(store, tmp_path):
    path, dataset = store
    other = path.parent / "other.zarr"
    dataset.rename(step="sample").to_zarr(other, zarr_format=2, consolidated=False)
    series = find_series(path.parent)
    assert [each.path for each in series.skipped] == ["other.zarr"]
    with pytest.raises(CheckpointError, match=r"other\.zarr"):
        find_series(other)


def test_a_result_of_trajscope_among_checkpoints_is_skipped(tmp_path):
    for step in (10, 20):
        torch.save(network(step).state_dict(), tmp_path / f"net_{step}.pt")
    result = xr.Dataset({"displacement": ("step", np.ones(3))}, attrs={"trajscope": "0.1.0"})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result.to_zarr(tmp_path / "trajscope-report/results.zarr")
    opened = open_trajectory(tmp_path)
    assert skipped(opened) == {"trajscope-report/results.zarr": "a result of trajscope"}
    with pytest.raises(TrajectoryError, match="is a result of trajscope; checkpoints were expect"):
        open_trajectory(tmp_path / "trajscope-report/results.zarr")
