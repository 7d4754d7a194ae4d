"""That much of a model is left out is said before everything else, with the way to take it."""

import shlex
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from trajscope import TrajscopeWarning, open_trajectory


def opened(tmp_path, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TrajscopeWarning)
        return open_trajectory(tmp_path, **options)


def saved(tmp_path, content):
    for step in (1, 2):
        torch.save(content(step) | {"step": step}, tmp_path / f"step_{step}.pt")


def remedy(text):
    """The globs of the options that a message names, as a shell would hand them on."""
    words = shlex.split(text.partition("To take them as well: ")[2].removesuffix("."))
    assert words[::2] == ["--include"] * (len(words) // 2)
    return words[1::2]


def test_a_share_of_statistics_above_a_tenth_is_told_and_its_remedy_works(tmp_path):
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    saved(tmp_path, lambda step: {"model": net.state_dict()})
    trajectory = open_trajectory(tmp_path)  # no warning: nobody expects statistics to be weights
    first = trajectory.attrs["much_left_out"]
    assert first == (
        "25% of the model's values in each checkpoint are left out: a running statistic, not a "
        "weight (1.running_mean and 1 more). To take them as well: --include '*'."
    )
    everything = opened(tmp_path, include=remedy(first))
    assert everything.sizes["weight"] == trajectory.sizes["weight"] + 8
    assert everything.attrs["much_left_out"] == ""


def test_another_section_than_the_models_is_told_of_and_can_be_taken(tmp_path):
    saved(
        tmp_path,
        lambda step: {"model": {"w": torch.randn(9)}, "my encoder": {"w": torch.randn(30)},
                      "optimizer": {"state": {0: {"exp_avg": torch.randn(99)}}}},
    )  # fmt: skip
    trajectory = opened(tmp_path)
    (first, *_) = trajectory.attrs["warnings"]
    assert first.startswith("77% of the model's values in each checkpoint are left out: a diff")
    globs = remedy(first)
    assert globs == ["*", "my encoder/*"]
    taken = opened(tmp_path, include=globs)
    assert set(taken["tensor"].values) == {"w", "my encoder/w"}


@pytest.mark.parametrize(
    "beside",
    [
        {"bn.running_mean": torch.ones(8)},
        {"steps": torch.ones(99, dtype=torch.int64)},
        {"seen": torch.ones(99, dtype=torch.bool)},
        {"attn.bias": torch.ones(1, 1, 9, 9, dtype=torch.uint8)},
    ],
    ids=lambda beside: next(iter(beside)),
)
def test_a_tenth_or_what_is_no_value_of_the_model_is_not_told_first(beside, tmp_path):
    saved(tmp_path, lambda step: {"model": {"w": torch.randn(72)} | beside})
    assert not any("values in each" in text for text in opened(tmp_path).attrs["warnings"])


@pytest.mark.parametrize(
    "content",
    [
        lambda w: {"model": {"w": w}, "optimizer": {"state": {0: {"exp_avg": w.clone()}}}},
        lambda w: {"model": {"w": w}, "ema": {"w": w.clone()}},
        lambda w: {"model": {"critic.w": w, "critic_target.w": w.clone()}},
        lambda w: {"model": {"w": w, "tied": w}},
    ],
    ids=["optimizer", "average", "target", "tied"],
)
def test_state_copies_and_ties_are_not_the_models_own(content, tmp_path):
    saved(tmp_path, lambda step: content(torch.randn(9) + step))
    assert opened(tmp_path).attrs["warnings"] == []


@pytest.mark.parametrize(
    "beside",
    [
        {"torch_rng_state": torch.get_rng_state()},
        {"rng": torch.stack([torch.get_rng_state()] * 2)},
        {"cuda_rng_states": [torch.get_rng_state()] * 2},
        {"state of the generator": torch.get_rng_state()},
        {"model": {"generator.rng_state": torch.get_rng_state()}},
    ],
    ids=lambda beside: next(iter(beside)),
)
def test_the_state_of_a_random_generator_is_not_the_models_own(beside, tmp_path):
    model = {"w": torch.randn(72)} | beside.get("model", {})
    saved(tmp_path, lambda step: beside | {"model": model})
    trajectory = opened(tmp_path)
    assert trajectory.attrs["much_left_out"] == ""
    (left,) = trajectory.attrs["left_out"]
    assert left["reason"].startswith("the trainer's own state") or "rng" not in left["name"]


def test_what_the_user_leaves_out_is_not_told_again(tmp_path):
    saved(tmp_path, lambda step: {"model": {"w": torch.randn(9), "v": torch.randn(9)}})
    assert opened(tmp_path, exclude="v").attrs["warnings"] == []
    assert opened(tmp_path, include="w").attrs["warnings"] == []


def test_codes_that_cannot_be_read_are_told_of_without_a_remedy(tmp_path):
    codes = torch.ones(90, dtype=torch.int8)
    saved(tmp_path, lambda step: {"model": {"w": torch.randn(10), "codes": codes}})
    first = opened(tmp_path).attrs["warnings"][0]
    assert first.startswith("90% of the model's values in each checkpoint are left out: int8")
    assert "--include" not in first


def test_tensors_that_change_their_shape_count_too(save, tmp_path):
    for step in (1, 2, 3):
        shape = (8, 4 + (step == 3))
        save(f"step_{step}.safetensors", {"a": np.ones(9, "f4"), "b": np.ones(shape, "f4")})
    first, second = opened(tmp_path).attrs["warnings"]
    assert first.startswith("78% of the model's values")
    assert second.startswith("Tensor 'b' is left out")


def test_a_hostile_name_in_it_is_shown_harmlessly(tmp_path):
    name = "\x1b[31m\n'; rm" + "x" * 900
    saved(tmp_path, lambda step: {"model": {"w": torch.randn(3)}, name: {"w": torch.randn(30)}})
    first = opened(tmp_path).attrs["warnings"][0]
    assert first.isprintable()
    assert len(first) < 400


def test_several_reasons_are_told_with_a_share_each(tmp_path):
    state = {"w": torch.randn(6), "bn.running_mean": torch.ones(3), "inv_freq": torch.ones(1)}
    saved(tmp_path, lambda step: {"model": state})
    assert opened(tmp_path).attrs["much_left_out"] == (
        "40% of the model's values in each checkpoint are left out: 30% a running statistic, not a "
        "weight (bn.running_mean); 10% a constant of the architecture, not a weight (inv_freq). To "
        "take them as well: --include '*'."
    )


@pytest.mark.parametrize("layout", ["to_sparse", "to_sparse_csr"])
@pytest.mark.filterwarnings("ignore:Sparse")
def test_sparse_tensors_are_told_of_with_their_size(layout, tmp_path):
    state = {"w": torch.randn(6), "s": getattr(torch.eye(4, 5), layout)()}
    for step in (1, 2):
        torch.save(state, tmp_path / f"step_{step}.pt")
    with pytest.warns(TrajscopeWarning, match=r"77% of .* a sparse tensor.* to_dense\(\) \(s\)"):
        trajectory = open_trajectory(tmp_path)
    assert trajectory["tensor"].values.tolist() == ["w"]
