"""Checkpoints that trajscope writes itself, read back by the safetensors library and by itself."""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from trajscope.errors import CheckpointError, OptionError
from trajscope.saving import save_checkpoint
from trajscope.trajectory import open_trajectory, tensor


def test_a_series_is_written_and_read_back(tmp_path):
    net = torch.nn.Linear(3, 2)
    for step in (0, 5, 10):
        with torch.no_grad():
            net.weight.fill_(step)
        path = save_checkpoint(tmp_path / "run", net, step=step, epoch=step / 5, seed=3)
    assert path == tmp_path / "run/step-10.safetensors"
    with safe_open(path, "pt") as file:
        assert file.metadata() == {"step": "10", "epoch": "2.0", "seed": "3"}
    opened = open_trajectory(tmp_path / "run", strict=True)
    assert list(opened["step"].values) == [0, 5, 10]
    assert opened.attrs["step_source"] == "metadata key 'step'"
    assert tensor(opened, "weight").values[:, 0, 0].tolist() == [0, 5, 10]


@pytest.mark.parametrize(
    "dtype",
    [torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.int64,
     torch.bool, torch.complex64],
)  # fmt: skip
def test_every_dtype_of_torch_is_kept_bit_for_bit(dtype, tmp_path):
    values = torch.arange(6).reshape(2, 3).to(dtype)
    state = {"w": values, "t": values.t(), "s": values[0, 0], "e": values[:0]}
    read = load_file(save_checkpoint(tmp_path / "x.safetensors", state, step=1))
    for name, expected in state.items():
        assert read[name].dtype == dtype
        assert read[name].shape == expected.shape
        assert bytes(read[name].untyped_storage()) == bytes(
            expected.contiguous().clone().untyped_storage()
        )


def test_arrays_of_numpy_are_kept(tmp_path):
    state = {
        "big": np.arange(3, dtype=">f4"),
        "turned": np.arange(6.0).reshape(2, 3).T,
        "scalar": np.float32(2),
        "brain": np.arange(3).astype(ml_dtypes.bfloat16),
    }
    read = load_file(save_checkpoint(tmp_path / "x.safetensors", state, step=1))
    for name, expected in state.items():
        np.testing.assert_array_equal(read[name].float(), np.asarray(expected).astype("f4"))
        assert tuple(read[name].shape) == np.shape(expected)


def test_tied_weights_are_written_once(tmp_path):
    shared = torch.ones(4)
    state = {"a": shared, "b": shared, "c": shared[:2], "d": torch.zeros(0), "e": torch.zeros(0)}
    assert set(load_file(save_checkpoint(tmp_path, state, step=1))) == {"a", "c", "d", "e"}


@pytest.mark.parametrize("step", [-1, 1.5, True, "7"])
def test_a_step_that_is_none_is_refused(step, tmp_path):
    with pytest.raises(OptionError, match="a whole number of at least 0"):
        save_checkpoint(tmp_path, {}, step=step)


@pytest.mark.parametrize(
    "state", [{"w": [1, 2]}, {"w": np.array(["a"])}, {"__metadata__": np.ones(1)}]
)
def test_what_has_no_place_in_the_file_is_refused(state, tmp_path):
    with pytest.raises(OptionError, match="The entry"):
        save_checkpoint(tmp_path, state, step=1)
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = save_checkpoint(tmp_path, {"w": np.ones(2)}, step=1)
    before = path.read_bytes()

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(CheckpointError, match=r"step-1\.safetensors cannot be written.*No space"):
        save_checkpoint(tmp_path, {"w": np.zeros(2)}, step=1)
    assert path.read_bytes() == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "file/run", {"w": np.ones(2)}, step=1)


def test_what_is_being_written_has_a_name_that_is_never_read(tmp_path, monkeypatch):
    for step in (1, 2):
        save_checkpoint(tmp_path, {"w": np.ones(2)}, step=step)
    seen = []

    def look(_):
        seen.append(open_trajectory(tmp_path).sizes["step"])

    monkeypatch.setattr(os, "fsync", look)
    save_checkpoint(tmp_path, {"w": np.zeros(2)}, step=3)
    assert seen == [2, 3]  # the file before it is renamed, the folder afterwards
    assert len(list(Path(tmp_path).iterdir())) == 3


def test_numbers_that_torch_negates_when_they_are_used_are_saved_so(tmp_path):
    negated = torch._neg_view(torch.tensor([1.0, -2.0]))
    assert negated.is_neg()
    path = save_checkpoint(tmp_path, {"w": negated}, step=0)
    assert load_file(path)["w"].tolist() == [-1.0, 2.0]
