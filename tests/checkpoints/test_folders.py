"""Folders of several files that are one checkpoint, and those that are several models."""

import os

import h5py
import numpy as np
import pytest
import torch
import xarray as xr
import zarr
from safetensors.numpy import save_file

from tests.checkpoints.conftest import model
from trajscope.checkpoints.series import find_series
from trajscope.errors import OptionError, TrajectoryError
from trajscope.trajectory import open_trajectory, tensor


def named(opened):
    return list(opened["tensor"].values)


def reasons(opened):
    return {each["path"]: each["reason"] for each in opened.attrs["skipped"]}


def save_arrays(folder, seed, **more):
    folder.mkdir(parents=True)
    for name, values in {**model(seed), **more}.items():
        np.save(folder / f"{name}.npy", values)


def check_model(opened, steps, prefix=""):
    assert list(opened["step"].values) == list(steps)
    for name in model():
        expected = np.stack([model(step)[name] for step in steps])
        np.testing.assert_array_equal(tensor(opened, prefix + name), expected)


# --- several files


@pytest.mark.parametrize("folder", ["step_{}", "net_{}", "run/checkpoint-{}"])
def test_a_folder_of_arrays_is_one_checkpoint(folder, tmp_path):
    for step in (5, 20):
        save_arrays(tmp_path / folder.format(step), step)
    opened = open_trajectory(tmp_path)
    check_model(opened, [5, 20])
    assert opened.attrs["format"] == "NumPy array"
    assert "consists of several files; the first of 3" in opened.attrs["decisions"][0]


def test_arrays_in_folders_below_are_sections(tmp_path):
    for step in (1, 9):
        save_arrays(tmp_path / f"step_{step}/model", step)
        save_arrays(tmp_path / f"step_{step}/optimizer", step + 100)
        np.save(tmp_path / f"step_{step}/step.npy", step)
    opened = open_trajectory(tmp_path)
    assert sorted(named(opened)) == sorted(model())
    assert list(opened["step"].values) == [1, 9]
    assert opened.attrs["step_source"] == "metadata key 'step'"


def test_arrays_of_objects_or_in_folders_without_numbers_are_left(tmp_path):
    for step in (1, 9):
        save_arrays(tmp_path / f"step_{step}", step, other=np.array([{}], object))
    np.save(tmp_path / "data.npy", np.ones(3))
    opened = open_trajectory(tmp_path)
    check_model(opened, [1, 9])
    assert reasons(opened)["data.npy"] == (
        "a single array without a number in its file or folder name"
    )


def test_an_array_for_each_step_is_a_series_of_one_tensor(tmp_path):
    for step in (10, 20):
        np.save(tmp_path / f"weights_{step}.npy", np.full((2, 3), step, "f4"))
    opened = open_trajectory(tmp_path)
    assert named(opened) == ["array"]
    assert opened["weights"].values[:, 0].tolist() == [10, 20]


def test_a_folder_that_lacks_a_file_may_still_be_being_written(tmp_path):
    for step in (1, 2, 3):
        save_arrays(tmp_path / f"step_{step}", step)
    (tmp_path / "step_3/fc2.weight.npy").unlink()
    with pytest.warns(match=r"step_3 lacks fc2\.weight\.npy, which the other .* may be unfinished"):
        check_model(open_trajectory(tmp_path), [1, 2])


def test_modules_in_folders_of_their_own_are_one_checkpoint(save, tmp_path):
    for step in (3, 6):
        save(f"checkpoint-{step}/model.safetensors", seed=step)
        save(f"checkpoint-{step}/2_Dense/model.safetensors", seed=step + 1)
    opened = open_trajectory(tmp_path)
    check_model(opened, [3, 6])
    assert len(named(opened)) == 6
    expected = np.stack([model(step + 1)["fc1.bias"] for step in (3, 6)])
    np.testing.assert_array_equal(tensor(opened, "2_Dense/fc1.bias"), expected)


def test_files_beside_one_another_are_one_checkpoint_if_their_tensors_differ(save, tmp_path):
    for step in (3, 6):
        save(f"step_{step}/model.safetensors", seed=step)
        save(f"step_{step}/head.safetensors", {"head": np.full(2, step, "f4")})
    opened = open_trajectory(tmp_path)
    check_model(opened, [3, 6])
    assert tensor(opened, "head").values.tolist() == [[3, 3], [6, 6]]


def test_different_formats_are_one_checkpoint_too(save, tmp_path):
    for step in (3, 6):
        save(f"step_{step}/model.safetensors", seed=step)
        torch.save({"epoch": 7, "iteration": step * 100}, tmp_path / f"step_{step}/trainer.pt")
        torch.save({"value": torch.ones(2)}, tmp_path / f"step_{step}/critic.pt")
    opened = open_trajectory(tmp_path)
    assert sorted(named(opened)) == [*sorted(model()), "value"]
    assert opened.attrs["format"] == "safetensors, torch archive"


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("mp_rank_00_model_states.pt", "mp_rank_01_model_states.pt", "from 2 ranks.*zero_to_fp32"),
        (
            "mp_rank_00/model_optim_rng.pt",
            "mp_rank_01/model_optim_rng.pt",
            "from 2 ranks.*Megatron",
        ),
        ("pytorch_model_rank0.bin", "pytorch_model_rank1.bin", "from 2 ranks.*full state dict"),
        (
            "zero_pp_rank_0_mp_rank_00_model_states.pt",
            "zero_pp_rank_1_mp_rank_00_model_states.pt",
            "from 2 ranks.*zero_to_fp32",
        ),
    ],
)
def test_slices_of_several_ranks_are_refused_with_what_to_run(first, second, words, tmp_path):
    for step in (10, 20):
        for name in (first, second):
            path = tmp_path / f"global_step{step}" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"module": {"w": torch.ones(3)}}, path)
    with pytest.raises(TrajectoryError, match=f"(?s)slices of a model {words}"):
        open_trajectory(tmp_path)


@pytest.mark.parametrize(
    "name",
    ["global_step{}/mp_rank_00_model_states.pt", "iter_{:07d}/mp_rank_00/model_optim_rng.pt"],
)
def test_the_whole_model_of_one_rank_is_read(name, tmp_path):
    for step in (10, 20):
        path = tmp_path / name.format(step)
        path.parent.mkdir(parents=True)
        key = "module" if "states" in name else "model"
        state = {each: torch.from_numpy(values) for each, values in model(step).items()}
        torch.save({key: state, "global_steps": step, "args": object()}, path)
    (tmp_path / "latest").write_text("global_step20")
    check_model(open_trajectory(tmp_path), [10, 20])


# --- order and averages


def test_files_without_numbers_are_ordered_by_time_or_name(save, tmp_path):
    for age, name in enumerate(("third", "first", "second")):
        path = save(f"{name}.safetensors", seed=age)
        os.utime(path, ns=(age, age))
    with pytest.raises(TrajectoryError, match="--order mtime or --order name"):
        open_trajectory(tmp_path)
    by_time, by_name = (open_trajectory(tmp_path, order=order) for order in ("mtime", "name"))
    assert by_time.attrs["step_unit"] == "index"
    assert by_time.attrs["step_source"] == "order of modification times, as requested"
    for opened, seeds in ((by_time, [0, 1, 2]), (by_name, [1, 2, 0])):
        expected = np.stack([model(seed)["fc1.bias"] for seed in seeds])
        np.testing.assert_array_equal(tensor(opened, "fc1.bias"), expected)


def test_names_are_ordered_by_their_numbers_and_equal_times_are_said(save, tmp_path):
    for name in ("net_9", "net_10"):
        os.utime(save(f"{name}.safetensors"), ns=(5, 5))
    with pytest.warns(match="1 of 2 checkpoints were written at the same time"):
        opened = open_trajectory(tmp_path, order="mtime")
    assert [path.rsplit("/")[-1] for path in opened["path"].values] == [
        "net_9.safetensors", "net_10.safetensors",
    ]  # fmt: skip


@pytest.mark.parametrize("option", [{"order": "size"}, {"weights": "best"}])
def test_an_unknown_order_or_kind_is_refused(option, save, tmp_path):
    with pytest.raises(OptionError, match="was expected"):
        open_trajectory(tmp_path, **option)


AVERAGES = {
    "a section": lambda live, ema: {"model": live, "model_ema": ema},
    "Lightning's callback": lambda live, ema: {"current_model_state": live, "state_dict": ema},
    "a module": lambda live, ema: {
        "state_dict": live | {f"model_ema.{name}": values for name, values in ema.items()}
    },
}


@pytest.mark.parametrize("layout", AVERAGES)
def test_live_weights_or_their_average_are_taken_as_asked(layout, tmp_path):
    def torched(seed):
        return {name: torch.from_numpy(values) for name, values in model(seed).items()}

    for step in (1, 2):
        content = AVERAGES[layout](torched(step), torched(step + 10))
        torch.save(content, tmp_path / f"step_{step}.pt")
    check_model(open_trajectory(tmp_path), [1, 2])
    average = open_trajectory(tmp_path, weights="ema")
    assert len(named(average)) == 3
    prefix = "model_ema." if layout == "a module" else ""
    expected = np.stack([model(seed)["fc1.bias"] for seed in (11, 12)])
    np.testing.assert_array_equal(tensor(average, f"{prefix}fc1.bias"), expected)
    assert "Weights used: averages." in average.attrs["decisions"]


def test_an_average_in_files_of_its_own_is_another_run(save, tmp_path):
    for step in (1, 2):
        save(f"model{step}.safetensors", seed=step)
        save(f"ema_0.999_{step}.safetensors", seed=step + 10)
    live = open_trajectory(tmp_path)
    check_model(live, [1, 2])
    (why,) = (reason for name, reason in reasons(live).items() if name.startswith("ema"))
    assert why == "an average of the weights, according to its name; use it with --weights ema"
    average = open_trajectory(tmp_path, weights="ema")
    expected = np.stack([model(seed)["fc1.bias"] for seed in (11, 12)])
    np.testing.assert_array_equal(tensor(average, "fc1.bias"), expected)


def test_an_average_that_is_not_there_is_refused(save, tmp_path):
    for step in (1, 2):
        save(f"model{step}.safetensors")
    with pytest.raises(TrajectoryError, match=r"--weights ema needs .* Found: fc1\.bias"):
        open_trajectory(tmp_path, weights="ema")


def test_what_was_decided_is_told(tmp_path):
    for step in (1, 2):
        torch.save({"model": {"module.w": torch.ones(2)}}, tmp_path / f"step_{step}.pt")
    assert open_trajectory(tmp_path).attrs["decisions"] == [
        "Weights are read from the section 'model'.",
        "The prefix 'module.' is removed from all names.",
    ]


# --- zarr and HDF5


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("name", ["step_{}.zarr", "run.zarr/step_{}", "{}/default"])
def test_a_zarr_group_for_each_step(zarr_format, name, tmp_path):
    if name.startswith("run"):
        zarr.open_group(tmp_path / "run.zarr", mode="w", zarr_format=zarr_format)
    for step in (10, 20):
        group = zarr.open_group(tmp_path / name.format(step), mode="w", zarr_format=zarr_format)
        group.attrs["step"] = step
        for key, values in model(step).items():
            group.create_array(key, data=values, chunks=tuple(max(n // 2, 1) for n in values.shape))
    opened = open_trajectory(tmp_path / "run.zarr" if name.startswith("run") else tmp_path)
    assert list(opened["step"].values) == [10, 20]
    assert opened.attrs["step_source"] == "metadata key 'step'"
    for key in model():
        expected = np.stack([model(step)[key] for step in (10, 20)])
        np.testing.assert_array_equal(tensor(opened, key), expected)
        np.testing.assert_array_equal(tensor(opened, key)[:, 1:], expected[:, 1:])
    before = opened.attrs["fingerprint"]
    group["fc1.bias"][:] = 7
    assert open_trajectory(find_series(tmp_path).root).attrs["fingerprint"] != before


def test_orbax_arrays_are_sections_and_its_database_is_refused_by_name(tmp_path):
    for step in (10, 20):
        folder = tmp_path / str(step) / "default"
        for key, values in {"params.w": np.full(3, step, "f4"), "opt_state.mu": np.ones(3)}.items():
            array = zarr.create_array(folder / key, shape=(3,), dtype=values.dtype, zarr_format=2)
            array[:] = values
        (folder / "_METADATA").write_text("{}")
        (folder / "_sharding").write_text("{}")
    opened = open_trajectory(tmp_path)
    assert opened.attrs["format"] == "Orbax zarr"
    assert tensor(opened, "w").values.tolist() == [[10] * 3, [20] * 3]
    for step in (10, 20):
        (tmp_path / str(step) / "default/manifest.ocdbt").write_bytes(b"x")
    with pytest.raises(TrajectoryError, match=r"OCDBT.*tensorstore.*use_ocdbt=False"):
        open_trajectory(tmp_path)


@pytest.mark.parametrize("layout", ["groups", "axis"])
def test_one_hdf5_file_of_several_steps(layout, tmp_path):
    steps = [10, 30, 20]
    with h5py.File(tmp_path / "run.h5", "w") as file:
        if layout == "groups":
            for step in steps:
                for key, values in model(step).items():
                    file[f"step_{step}/{key}"] = values
        else:
            file["step"] = steps
            file["loss"] = np.ones(3)
            for key in model():
                values = np.stack([model(step)[key] for step in steps])
                file.create_dataset(key, data=values, chunks=True, compression="gzip")
    for path in (tmp_path, tmp_path / "run.h5"):
        opened = open_trajectory(path)
        check_model(opened, [10, 20, 30])
        assert opened["weights"][1:, 3:17].shape == (2, 14)
        with pytest.raises(OptionError, match="orders files"):
            open_trajectory(path, order="name")


@pytest.mark.filterwarnings("ignore:.*values in each checkpoint")
def test_keras_numbers_in_names_are_epochs_and_not_losses(tmp_path):
    for epoch, loss in ((1, 1.8), (2, 0.77), (10, 0.75)):
        name = f"ckpt.{epoch:02d}-{loss:.2f}.weights.h5"
        with h5py.File(tmp_path / name, "w") as file:
            file["layers/dense/vars/0"] = np.full((2, 2), epoch, "f4")
            for number in range(4):
                file[f"layers/batch_normalization/vars/{number}"] = np.full(2, number, "f4")
            file["optimizer/vars/0"] = np.ones(2, "f4")
    opened = open_trajectory(tmp_path)
    assert list(opened["step"].values) == [1, 2, 10]
    assert "a running statistic" in opened.attrs["much_left_out"]
    assert named(opened) == [
        "layers/batch_normalization/vars/0",
        "layers/batch_normalization/vars/1",
        "layers/dense/vars/0",
    ]


def test_a_pack_written_by_xarray_is_still_a_trajectory(tmp_path):
    dataset = xr.Dataset({"w": (("step", "x"), np.ones((3, 2)))}, coords={"step": [1, 2, 3]})
    dataset.to_zarr(tmp_path / "run.zarr", zarr_format=2, consolidated=False)
    assert open_trajectory(tmp_path / "run.zarr").sizes["step"] == 3


def test_two_models_with_the_same_tensors_beside_one_another_stay_apart(tmp_path):
    for step in (1, 2):
        (tmp_path / f"step_{step}").mkdir()
        for name in ("a", "b"):
            save_file({"w": np.ones(2)}, tmp_path / f"step_{step}/{name}.safetensors")
    with pytest.raises(TrajectoryError, match="holds 2 runs"):
        open_trajectory(tmp_path)


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("folder", ["step-{}/model", "{}/params", "run/abc/checkpoint_{}"])
def test_arrays_of_zarr_without_a_group_are_those_of_their_step(folder, version, tmp_path):
    rng = np.random.default_rng(0)
    written = {}
    for step in (10, 20, 30):
        for name in ("embed/weight", "layers/0/weight", "layers/1/weight"):
            written[step, name] = rng.normal(size=(3, 2)).astype("f4")
            where = tmp_path / folder.format(step) / name
            zarr.create_array(where, data=written[step, name], zarr_format=version)
    opened = open_trajectory(tmp_path)
    assert opened["step"].values.tolist() == [10, 20, 30]
    assert set(opened["tensor"].values) == {name for _, name in written}
    for (step, name), values in written.items():
        own = tensor(opened, name).sel(step=step).values
        np.testing.assert_array_equal(own, values)


def test_bare_numbers_below_a_step_are_those_of_layers(tmp_path):
    for step in (10, 20):
        for layer in (0, 1):
            where = tmp_path / f"step_{step}" / "layers" / str(layer)
            where.mkdir(parents=True)
            np.save(where / "weight.npy", np.full((2, 2), step, "f4"))
            np.save(where / "bias.npy", np.full(2, step, "f4"))
    opened = open_trajectory(tmp_path)
    assert opened["step"].values.tolist() == [10, 20]
    assert sorted(opened["tensor"].values) == ["0/bias", "0/weight", "1/bias", "1/weight"]


def test_a_file_for_each_layer_of_a_pipeline_is_one_model(tmp_path):
    layer, rank = "layer_{:02d}-model_{:02d}-model_states.pt", "mp_rank_00_model_states.pt"
    for step in (100, 200):
        folder = tmp_path / f"global_step{step}"
        folder.mkdir()
        for number in (0, 2):
            state = {"mlp.weight": torch.full((2, 3), float(step + number))}
            torch.save(state, folder / layer.format(number, 0))
        torch.save({"module": None, "global_steps": step}, folder / rank)
    opened = open_trajectory(tmp_path)
    assert sorted(opened["tensor"].values) == ["layer_00/mlp.weight", "layer_02/mlp.weight"]
    for number in (0, 2):
        own = tensor(opened, f"layer_{number:02d}/mlp.weight").values
        assert own[:, 0, 0].tolist() == [100 + number, 200 + number]
    torch.save({"mlp.weight": torch.ones(2, 3)}, tmp_path / "global_step100" / layer.format(0, 1))
    with pytest.raises(TrajectoryError, match="slices of a model from 2 ranks"):
        find_series(tmp_path)


def test_a_file_without_tensors_leaves_the_names_as_they_are(tmp_path):
    for step in (10, 20):
        for name in ("model_and_optim", "train"):
            (tmp_path / f"step{step}" / name).mkdir(parents=True)
        content = {"model": {"fc.weight": torch.ones(2, 3)}, "optim": {"fc.exp_avg": torch.ones(2)}}
        torch.save(content, tmp_path / f"step{step}" / "model_and_optim" / "all.pt")
        torch.save({"global_step": step}, tmp_path / f"step{step}" / "train" / "rank0.pt")
    opened = open_trajectory(tmp_path)
    assert opened["tensor"].values.tolist() == ["fc.weight"]
    assert opened["step"].values.tolist() == [10, 20]


def test_what_holds_a_model_and_its_optimizer_is_no_optimizer(tmp_path):
    for step in (10, 20):
        for name in ("model_and_optim", "tokenizer"):
            folder = tmp_path / f"step{step}" / name
            folder.mkdir(parents=True)
            content = {"model": {f"{name}.weight": torch.ones(2, 3)}}
            torch.save({**content, "optim": {"exp_avg": torch.ones(2, 3)}}, folder / "all.pt")
    names = open_trajectory(tmp_path)["tensor"].values.tolist()
    assert "model_and_optim/model/model_and_optim.weight" in names
    assert not any("exp_avg" in name for name in names)


def test_state_of_parameters_in_arrays_beside_the_target_is_none(tmp_path):
    for step in (10, 20):
        for name in ("target.fc.kernel", "state.param_states.fc.kernel.v_row"):
            where = tmp_path / f"checkpoint_{step}" / name
            zarr.create_array(where, data=np.full((2, 3), step, "f4"), zarr_format=2)
    assert open_trajectory(tmp_path)["tensor"].values.tolist() == ["target.fc.kernel"]


def test_bare_tensors_in_a_numbered_folder_are_one_checkpoint(tmp_path):
    for step in (10, 20):
        (tmp_path / f"step_{step}").mkdir()
        for name in ("embed.weight", "head.bias"):
            torch.save(torch.full((2,), float(step)), tmp_path / f"step_{step}" / f"{name}.pt")
    opened = open_trajectory(tmp_path)
    assert opened["step"].values.tolist() == [10, 20]
    assert opened["tensor"].values.tolist() == ["embed.weight/tensor", "head.bias/tensor"]


def test_logged_numbers_beside_the_weights_are_none(save, tmp_path):
    for step in (10, 20):
        save(f"step_{step}/model.safetensors", {"fc.weight": np.ones((2, 3), "f4")})
        for name in ("losses", "train_loss", "val_acc", "lr"):
            np.save(tmp_path / f"step_{step}" / f"{name}.npy", np.arange(4.0))
    opened = open_trajectory(tmp_path)
    assert opened["tensor"].values.tolist() == ["fc.weight"]
    assert {each["reason"] for each in opened.attrs["left_out"]} == {
        "a logged number, not a weight"
    }


def test_a_bare_array_that_is_not_read_is_called_by_its_folder(tmp_path):
    for step in (10, 20):
        for name in ("a", "b"):
            where = tmp_path / f"step_{step}" / name
            zarr.create_array(where, data=np.ones(3, "f4"), zarr_format=2)
            metadata = (where / ".zarray").read_text()
            (where / ".zarray").write_text(metadata.replace("3", str(2**40)))
    with pytest.raises(TrajectoryError, match="its array is not read, since one of its chunks"):
        find_series(tmp_path)


@pytest.mark.parametrize(
    "own",
    [
        {"x": 1},
        {"rng": torch.get_rng_state(), "python": (3, (1, 2)), "numpy": np.random.get_state()},  # noqa: NPY002
    ],
    ids=["no tensors", "states of generators"],
)
def test_what_each_rank_keeps_beside_a_whole_model_is_no_slice(own, tmp_path):
    for step in (10, 20):
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        torch.save({"w": torch.full((9,), float(step))}, folder / "model.pt")
        for rank in (0, 1):
            torch.save(own, folder / f"rank{rank}.pt")
    trajectory = open_trajectory(tmp_path)
    assert trajectory["step"].values.tolist() == [10, 20]
    assert trajectory["tensor"].values.tolist() == ["w"]
    assert trajectory["weights"][:, 0].to_numpy().tolist() == [10, 20]


def test_a_rank_that_cannot_be_read_may_hold_a_slice(tmp_path):
    for step in (10, 20):
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        torch.save({"w": torch.ones(9)}, folder / "rank0.pt")
        (folder / "rank1.pt").write_bytes(b"PK\3\4 unfinished")
    with pytest.raises(TrajectoryError, match="slices of a model from 2 ranks"):
        open_trajectory(tmp_path)
