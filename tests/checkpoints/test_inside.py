"""One file that holds the state dicts of many steps."""

import h5py
import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from torch.nn.utils import prune

from trajscope.analysis.run import analyze
from trajscope.checkpoints.series import find_series
from trajscope.errors import TrajectoryError
from trajscope.trajectory import open_trajectory, tensor

STEPS = (0, 100, 200)


def states(n=3):
    """State dicts with a statistic in each."""
    torch.manual_seed(0)
    return [
        {
            "fc.weight": torch.randn(4, 5),
            "fc.bias": torch.randn(4),
            "bn.running_mean": torch.zeros(2),
        }
        for _ in range(n)
    ]


def check(path, found, steps=STEPS, names=("fc.weight", "fc.bias")):
    opened = open_trajectory(path)
    assert opened["step"].values.tolist() == list(steps)
    assert sorted(opened["tensor"].values) == sorted(names)
    for row, state in enumerate(found):
        for name in names:
            np.testing.assert_array_equal(tensor(opened, name)[row], np.asarray(state[name]))
    assert len(set(opened["fingerprint"].values) - {""}) in (0, len(steps))
    return opened


@pytest.mark.parametrize("place", ["file", "folder"])
@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("key", ["{}", "step_{}", "iter{}", "ckpt-{}"])
def test_a_dict_of_state_dicts_is_a_trajectory(tmp_path, key, place, legacy):
    found = states()
    content = {key.format(step): state for step, state in zip(STEPS, found, strict=True)}
    path = tmp_path / "run.pt"
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    opened = check(path if place == "file" else tmp_path, found)
    assert opened.attrs["step_unit"] == "step"
    assert "run.pt holds 3 entries with the same tensors" in opened.attrs["decisions"][0]
    assert analyze(opened)["observables"].sizes["step"] == 3


def test_keys_may_be_whole_numbers(tmp_path):
    found = states()
    torch.save(dict(zip(STEPS, found, strict=True)), tmp_path / "run.pth")
    check(tmp_path / "run.pth", found)


def test_a_list_of_state_dicts_is_numbered_by_place(tmp_path):
    found = states()
    torch.save(found, tmp_path / "run.pt")
    assert check(tmp_path, found, (0, 1, 2)).attrs["step_unit"] == "index"


@pytest.mark.parametrize("steps", [list(STEPS), torch.tensor(STEPS), [0.0, 100.0, 200.0]])
def test_a_list_of_steps_beside_the_states_numbers_them(tmp_path, steps):
    found = states()
    torch.save({"steps": steps, "states": found, "lr": 0.1}, tmp_path / "run.pt")
    check(tmp_path, found)


def test_a_counter_in_each_entry_numbers_it(tmp_path):
    found = states()
    entries = [
        {"step": step, "model": state, "optimizer": {"state": {0: {"m": torch.ones(4, 5)}}}}
        for step, state in zip(STEPS, found, strict=True)
    ]
    torch.save(entries, tmp_path / "run.pt")
    check(tmp_path, found)


def test_other_formats_with_slashes_in_names_are_split_too(tmp_path):
    found = states()
    arrays = {
        f"step_{step}/{name}": each.numpy()
        for step, state in zip(STEPS, found, strict=True)
        for name, each in state.items()
    }
    np.savez(tmp_path / "run.npz", **arrays)
    check(tmp_path / "run.npz", found)
    save_file(arrays, tmp_path / "run.safetensors")
    check(tmp_path / "run.safetensors", found)
    with h5py.File(tmp_path / "run.h5", "w") as file:
        for name, each in arrays.items():
            file[name] = each
    check(tmp_path / "run.h5", found)


def test_whole_modules_and_pruned_layers_may_lie_in_it(tmp_path):
    torch.manual_seed(0)
    layers = [torch.nn.Linear(3, 2) for _ in STEPS]
    for layer in layers:
        prune.random_unstructured(layer, "weight", 0.5)
    torch.save(dict(zip(STEPS, layers, strict=True)), tmp_path / "run.pt")
    found = [{"weight": each.weight.detach(), "bias": each.bias.detach()} for each in layers]
    check(tmp_path, found, names=("weight", "bias"))


def test_a_file_of_many_steps_that_is_written_again_is_noticed(tmp_path):
    found = states()
    path = tmp_path / "run.npz"

    def save(shift):
        arrays = {
            f"{step}/{name}": np.full((4, 5) if name == "w" else 20, shift, "f4")
            for step in STEPS
            for name in (("w", "v") if shift else ("v", "w"))
        }
        np.savez(path, **arrays)

    save(0)
    opened = open_trajectory(path)
    save(1)
    with pytest.raises(Exception, match="written again after the trajectory was opened"):
        opened["weights"][0].to_numpy()
    assert found


LINEAR = {"weight": torch.ones(3, 3), "bias": torch.ones(3)}


@pytest.mark.parametrize(
    "content",
    [
        {"G": LINEAR, "D": LINEAR},
        {"model": LINEAR, "ema": LINEAR},
        {"params": [LINEAR, LINEAR, LINEAR]},
        {"layers": {"0": LINEAR, "1": LINEAR}},
        torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)).state_dict(),
        torch.nn.ModuleList([torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)]),
        {"model": LINEAR, "optimizer": {"state": {0: LINEAR, 1: LINEAR}}},
        {"model": LINEAR, "history": {0: LINEAR}},
        {"model": {str(i): torch.ones(3, 3) for i in range(3)}, "states": [LINEAR, LINEAR]},
        {"0": LINEAR, "100": {"other": torch.ones(2)}},
        {"0": LINEAR},
        [LINEAR],
    ],
)
def test_one_checkpoint_is_not_taken_for_several(tmp_path, content):
    torch.save(content, tmp_path / "model.pt")
    with pytest.raises(TrajectoryError, match="is a file; a folder of checkpoints was expected"):
        find_series(tmp_path / "model.pt")
    with pytest.raises(TrajectoryError, match=r"holds one checkpoint, model\.pt"):
        find_series(tmp_path)


def test_files_of_one_run_are_checkpoints_whatever_their_entries_are_called(tmp_path):
    for step in (0, 10):
        torch.save({"0": LINEAR, "1": LINEAR}, tmp_path / f"step_{step}.pt")
    series = find_series(tmp_path)
    assert [each.step for each in series.checkpoints] == [0, 10]
    assert len(series.checkpoints[0].parts[0].header.tensors) == 4


@pytest.mark.slow
def test_a_long_list_is_opened_in_little_time(tmp_path):
    found = [{"w": torch.full((2,), float(i))} for i in range(20_000)]
    torch.save(found, tmp_path / "run.pt")
    opened = open_trajectory(tmp_path)
    np.testing.assert_array_equal(opened["weights"][:, 1].to_numpy(), np.arange(20_000))
