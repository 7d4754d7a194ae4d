"""Masks that are stored as floats are told by their values; frozen weights are weights."""

import numpy as np
import pytest
import torch
from torch import nn

from trajscope import open_trajectory

LENGTH = 40
LEAST = torch.finfo(torch.float32).min
MASKS = {
    "attn.bias": torch.ones(1, 1, LENGTH, LENGTH).tril(),
    "attn.tril": torch.ones(LENGTH, LENGTH).tril(),
    "attn.future": torch.full((LENGTH, LENGTH), -torch.inf).triu(1),
    "attn.hidden": torch.full((LENGTH, LENGTH), LEAST).triu(1),
    "attn.large": torch.ones(300, 300).tril(),
    "attn.allowed": torch.ones(3, LENGTH, LENGTH).triu(),
    "attn.causalmask": torch.ones(LENGTH, 3).tril(),
    "fc.weight_mask": torch.ones(9),
    "swin.attn_mask": torch.full((2, 9, 9), -100.0).triu(1),
    "graph.adjacency": (torch.arange(LENGTH**2).reshape(LENGTH, -1) % 3 == 0).float(),
}
FROZEN = {
    "norm.weight": torch.ones(LENGTH),
    "norm.bias": torch.zeros(LENGTH),
    "lora_B": torch.zeros(LENGTH, LENGTH),
    "all_ones": torch.ones(LENGTH, LENGTH),
    "rotation": torch.eye(LENGTH),
    "fc.weight": torch.ones(LENGTH, LENGTH).tril(),
    "dense.kernel": torch.ones(LENGTH, LENGTH).tril(),
    "triangle": torch.randn(LENGTH, LENGTH).tril(),
    "adj": torch.zeros(LENGTH),
    "halves": torch.full((LENGTH, LENGTH), 0.5).tril(),
}


def read(tmp_path, tensors, moving=lambda tensors, step: tensors, **options):
    for step in (1, 2, 3):
        content = {"w": torch.full((9,), float(step)), **moving(tensors, step)}
        torch.save({"model": content, "step": step}, tmp_path / f"step_{step}.pt")
    return open_trajectory(tmp_path, **options)


def test_constant_masks_are_left_out(tmp_path):
    trajectory = read(tmp_path, MASKS)
    assert list(trajectory["tensor"].values) == ["w"]
    reasons = {each["name"]: each["reason"] for each in trajectory.attrs["left_out"]}
    assert reasons.keys() == MASKS.keys()
    assert set(reasons.values()) == {
        "a mask: nothing but 0 and one other value, the same at the first and the last checkpoint"
    }
    assert np.isfinite(trajectory["weights"]).all()
    assert trajectory.attrs["warnings"] == []


def test_frozen_weights_of_zeros_and_ones_are_weights(tmp_path):
    assert set(read(tmp_path, FROZEN)["tensor"].values) == {"w", *FROZEN}


def test_what_changes_is_no_mask(tmp_path):
    def moving(tensors, step):
        return {name: each if step < 3 else each * 0 for name, each in tensors.items()}

    finite = {name: each for name, each in MASKS.items() if bool(each.isfinite().all())}
    assert set(read(tmp_path, finite, moving)["tensor"].values) == {"w", *finite}


def test_include_takes_masks_too(tmp_path):
    assert set(read(tmp_path, MASKS, include="*")["tensor"].values) == {"w", *MASKS}


def test_a_mask_that_is_learned_is_a_weight(tmp_path):
    learned = {"soft_mask": torch.rand(6, 8), "fc.weight_mask": torch.rand(9)}

    def moving(tensors, step):
        return {name: each * step for name, each in tensors.items()}

    trajectory = read(tmp_path, learned, moving)
    assert set(trajectory["tensor"].values) == {"w", *learned}
    assert trajectory.attrs["left_out"] == []
    assert set(read(tmp_path, learned)["tensor"].values) == {"w", *learned}


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.proj = nn.Linear(8, 8)
        self.register_buffer("bias", torch.ones(8, 8).tril().view(1, 1, 8, 8))
        self.register_buffer("masked_bias", torch.tensor(-1e4))


@pytest.mark.parametrize("suffix", ["safetensors", "npz", "zarr"])
def test_the_old_buffers_of_gpt2_are_left_out_in_every_format(suffix, save, tmp_path):
    import zarr

    for step in (1, 2):
        torch.manual_seed(step)
        state = {name: each.numpy() for name, each in Attention().state_dict().items()}
        if suffix == "safetensors":
            save(f"step_{step}.safetensors", state)
        elif suffix == "npz":
            np.savez(tmp_path / f"step_{step}.npz", **state)
        else:
            group = zarr.open_group(tmp_path / f"step_{step}.zarr", mode="w")
            for name, values in state.items():
                group.create_array(name, data=values)
    names = set(open_trajectory(tmp_path)["tensor"].values)
    assert names == {"proj.weight", "proj.bias"}
