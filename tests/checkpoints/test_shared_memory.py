"""Tensors that lie in one another's memory are counted once."""

import numpy as np
import pytest
import torch

from trajscope.trajectory import open_trajectory, tensor


def read(tmp_path, state, **options):
    """What is read of two checkpoints, the tensors and the reasons for the others."""
    for step in (1, 2):
        torch.save({"model": state}, tmp_path / f"step_{step}.pt", **options)
    opened = open_trajectory(tmp_path)
    reasons = {each["name"]: each["reason"] for each in opened.attrs["left_out"]}
    for name in opened["tensor"].values.tolist():
        np.testing.assert_array_equal(tensor(opened, name)[0], state[name])
    return set(opened["tensor"].values.tolist()), reasons


@pytest.mark.parametrize("zipped", [True, False])
def test_views_of_a_tensor_are_counted_in_it(zipped, tmp_path):
    whole = torch.randn(6, 4)
    state = {
        "rows": whole[1:3], "whole": whole, "transposed": whole.T, "flat": whole.view(-1),
        "every second": whole.view(-1)[::2], "column": whole[:, 1], "other": torch.randn(6, 4),
    }  # fmt: skip
    names, reasons = read(tmp_path, state, _use_new_zipfile_serialization=zipped)
    assert names == {"whole", "other"}
    assert reasons == dict.fromkeys(
        state.keys() - names, "lies in the memory of whole, counted there"
    )


def test_a_flat_parameter_is_counted_in_the_views_that_fill_it(tmp_path):
    flat = torch.randn(24)
    state = {"flat": flat, "a": flat[:8].view(2, 4), "b": flat[8:12], "c": flat[12:].view(3, 4)}
    names, reasons = read(tmp_path, state)
    assert names == {"a", "b", "c"}
    assert reasons == {"flat": "lies in the memory of a, counted there"}


def test_tensors_that_share_a_part_of_their_memory_are_both_weights(tmp_path):
    memory = torch.randn(20)
    state = {"first": memory[:12], "second": memory[8:], "apart": torch.randn(4)}
    assert read(tmp_path, state) == (set(state), {})


def test_what_a_view_lies_in_counts_only_where_it_is_read(tmp_path):
    memory = torch.randn(20)
    state = {"running_mean": memory, "fc.weight": memory[:12]}
    names, reasons = read(tmp_path, state)
    assert names == {"fc.weight"}
    assert reasons == {"running_mean": "a running statistic, not a weight"}


@pytest.mark.parametrize("tied_at", [[1], [2, 3], [1, 2, 3]])
def test_what_shares_memory_in_some_checkpoints_only_is_no_tie(tied_at, tmp_path):
    states = {}
    for step in (1, 2, 3):
        whole = torch.randn(6, 4)
        alike = step in tied_at
        states[step] = {
            "emb": whole,
            "head": whole if alike else torch.randn(6, 4),
            "rows": whole[:2] if alike else torch.randn(2, 4),
        }
        torch.save({"model": states[step]}, tmp_path / f"step_{step}.pt")
    opened = open_trajectory(tmp_path)
    names = opened["tensor"].values.tolist()
    assert names == (["emb"] if len(tied_at) == 3 else ["emb", "head", "rows"])
    for name in names:
        expected = [states[step][name].numpy() for step in (1, 2, 3)]
        np.testing.assert_array_equal(tensor(opened, name), expected)
