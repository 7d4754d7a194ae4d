"""Buffers that go with the weights: of the same checkpoints, whatever way these were opened."""

import os

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from tests.gradient_noise.oracle import classify, truth
from trajscope import OptionError, Problem, TrajectoryError, diffusion, open_trajectory


def network(seed):
    """With batch norm, whose statistics differ from seed to seed as much as its weights."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Tanh(), nn.Linear(6, 3))
    model[1].running_mean.normal_()
    model[1].running_var.uniform_(0.2, 5)
    return model.eval()


def data():
    torch.manual_seed(9)
    return torch.randn(25, 4), torch.randint(3, (25,))


def problem():
    return Problem(network(0), data(), classify)


def expected(model):
    return truth(Problem(model, data(), classify))


def write(path, model, *, at=None, extra=()):
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    save_file({**state, **dict(extra)}, path)
    if at is not None:
        os.utime(path, (at, at))


def check(found, models, steps):
    for step, model in zip(steps, models, strict=True):
        known = expected(model)
        row = found.sel(step=step)
        assert row["trace"].item() == pytest.approx(np.trace(known.matrix), rel=1e-8)
        assert row["loss"].item() == pytest.approx(known.losses.mean(), rel=1e-8)


OPTIONS = {"every": 0, "dtype": "float64"}


def test_in_the_order_in_which_files_were_written(tmp_path):
    models = [network(seed) for seed in range(4)]
    # By their names they come in another order.
    for step, at, model in zip((3, 0, 2, 1), (100, 200, 300, 400), models, strict=True):
        write(tmp_path / f"step-{step}.safetensors", model, at=at)
    trajectory = open_trajectory(tmp_path, order="mtime")
    found = diffusion(trajectory, problem(), at="0%,100%", **OPTIONS)
    steps = trajectory["step"].values[[0, -1]]
    check(found, [models[0], models[-1]], steps)


def test_of_the_average_that_the_trainer_keeps(tmp_path):
    live, average = ([network(seed) for seed in seeds] for seeds in (range(3), range(5, 8)))
    for step, (one, other) in enumerate(zip(live, average, strict=True)):
        content = {"state_dict": one.state_dict(), "state_dict_ema": other.state_dict()}
        torch.save(content | {"epoch": step}, tmp_path / f"checkpoint-{step}.pth.tar")
    for weights, models in (("live", live), ("ema", average)):
        trajectory = open_trajectory(tmp_path, weights=weights)
        found = diffusion(trajectory, problem(), at=trajectory["step"].values.tolist(), **OPTIONS)
        check(found, models, trajectory["step"].values)


@pytest.mark.parametrize(
    "selection",
    [
        {"steps": "10:"},
        {"burn_in": 1},
        {"exclude": "step-0*"},
        {"exclude": ["3.bias", "1.*"]},
        {"include": "0.*"},
        {"by": "tensor"},
        {"steps": slice(10, None)},
    ],
)
def test_of_the_part_that_was_selected(tmp_path, selection):
    models = [network(seed) for seed in range(3)]
    for step, model in enumerate(models):
        write(tmp_path / f"step-{10 * step}.safetensors", model)
    trajectory = open_trajectory(tmp_path, **selection)
    found = diffusion(trajectory, problem(), at=[10, 20], **OPTIONS)
    check(found, models[1:], [10, 20])


def test_of_the_run_that_was_chosen(tmp_path):
    models = {name: [network(seed + k) for k in range(2)] for name, seed in (("a", 0), ("b", 10))}
    for name, both in models.items():
        (tmp_path / name).mkdir()
        for step, model in enumerate(both):
            write(tmp_path / name / f"step-{step}.safetensors", model)
    for name, both in models.items():
        found = diffusion(open_trajectory(tmp_path, run=name), problem(), at=[0, 1], **OPTIONS)
        check(found, both, [0, 1])


def test_checkpoints_selected_with_xarray_keep_theirs(tmp_path):
    models = [network(seed) for seed in range(4)]
    for step, model in enumerate(models):
        write(tmp_path / f"step-{step}.safetensors", model)
    some = open_trajectory(tmp_path).isel(step=[1, 3])
    check(diffusion(some, problem(), at=[1, 3], **OPTIONS), models[1::2], [1, 3])


def test_files_that_were_written_again_since_are_refused(tmp_path):
    for step in range(3):
        write(tmp_path / f"step-{step}.safetensors", network(step), at=100)
    trajectory = open_trajectory(tmp_path)
    write(tmp_path / "step-1.safetensors", network(7), at=200)
    with pytest.raises(TrajectoryError, match=r"step 1 has changed since .* Open it again"):
        diffusion(trajectory, problem(), at=[0, 1], **OPTIONS)
    diffusion(open_trajectory(tmp_path), problem(), at=[0, 1], **OPTIONS)


def test_groups_cannot_be_asked_of_what_is_open(tmp_path):
    for step in range(2):
        write(tmp_path / f"step-{step}.safetensors", network(step))
    with pytest.raises(OptionError, match=r"by='none' applies to a directory"):
        diffusion(open_trajectory(tmp_path), problem(), by="none", **OPTIONS)
    opened = open_trajectory(tmp_path, by="none")
    assert diffusion(opened, problem(), **OPTIONS)["group"].values.tolist() == ["all"]
