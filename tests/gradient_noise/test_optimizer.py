"""The optimizer of a run: read from what real trainers write, held against what the user says."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from trajscope import Problem, TrajscopeWarning, diffusion, open_trajectory
from trajscope.checkpoints.training import recorded
from trajscope.errors import OptionError
from trajscope.gradient_noise.budget.noise_gain import overlap
from trajscope.gradient_noise.budget.ratio import rate_change
from trajscope.optimizer import ADAPTIVE, Optimizer
from trajscope.readers.torch.optimizer import param_groups

N, BATCH = 200, 4
OPTIMIZERS = {
    "plain": lambda p: torch.optim.SGD(p, lr=0.01),
    "momentum": lambda p: torch.optim.SGD(p, lr=0.003, momentum=0.8),
    "nesterov": lambda p: torch.optim.SGD(p, lr=0.003, momentum=0.8, nesterov=True),
    "dampened": lambda p: torch.optim.SGD(p, lr=0.01, momentum=0.8, dampening=0.5),
    "adam": lambda p: torch.optim.Adam(p, lr=0.003),
}
SETTINGS = {"batch_size": BATCH, "sampling": "replacement", "every": 0, "at": "100%", "by": "none"}


def wide():
    """Flat enough that nothing pulls back, as a budget needs: least squares with small inputs."""
    torch.manual_seed(0)
    data = 0.3 * torch.randn(N, 6), torch.randn(N)
    return nn.Linear(6, 1), data


def squared(model, batch):
    return (model(batch[0])[:, 0] - batch[1]).square().mean() / 2


def train(folder, make, *, steps=500, every=5, rate=lambda step: 1.0, whole=True):
    """A run with replacement, its optimizer in the same file, or not."""
    model, (inputs, targets) = wide()
    optimizer = make(model.parameters())
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, rate)
    folder.mkdir(exist_ok=True)
    torch.manual_seed(1)
    for step in range(-200, steps + 1):  # first to where the loss is flat
        if step >= 0 and step % every == 0:
            content = {"model": model.state_dict(), "step": step}
            content |= {"optimizer": optimizer.state_dict()} if whole else {}
            torch.save(content, folder / f"step-{step}.pt")
        batch = torch.randint(N, (BATCH,))
        optimizer.zero_grad()
        squared(model, (inputs[batch], targets[batch])).backward()
        optimizer.step()
        if step >= 0:
            schedule.step()
    return folder


def budget(folder, **options):
    model, data = wide()
    return diffusion(folder, Problem(model, data, squared), **SETTINGS | options)


@pytest.mark.parametrize("name", ["plain", "momentum", "nesterov", "dampened"])
def test_sgd_needs_nothing_but_the_batch_size(name, tmp_path):
    found = budget(train(tmp_path / "run", OPTIMIZERS[name]))
    assert found.attrs["budget_guard"] == []
    assert found["budget_ratio_low"] < 1.1
    assert found["budget_ratio_high"] > 0.9
    assert found["budget_ratio"].item() == pytest.approx(1, abs=0.3)
    assert "optimizer sgd, learning rate 0.0" in found.attrs["budget_optimizer"]
    wanted = 0.0 if name == "plain" else 0.8
    assert found.attrs["budget_momentum"] == wanted
    assert ("Nesterov momentum 0.8" in found.attrs["budget_optimizer"]) == (name == "nesterov")


def test_nesterov_taken_for_heavy_ball_would_be_wrong():
    responses = {
        nesterov: Optimizer(momentum=0.5, nesterov=nesterov).response()
        for nesterov in (False, True)
    }
    for nesterov, response in responses.items():
        weight, velocity, path = 0.0, 0.0, []
        for step in range(len(response)):
            gradient = 1.0 if step == 0 else 0.0
            velocity = 0.5 * velocity + gradient
            weight += gradient + 0.5 * velocity if nesterov else velocity
            path.append(weight)
        np.testing.assert_allclose(np.diff(path, prepend=0), response, atol=1e-12)
    gains = [overlap(1, Optimizer(momentum=0.5, nesterov=n))[0] for n in (False, True)]
    assert gains[1] > 1.2 * gains[0]
    half = Optimizer(momentum=0.5, dampening=0.5)
    np.testing.assert_allclose(overlap(3, half), overlap(3, Optimizer(momentum=0.5)) / 4)


def test_adam_has_no_budget_and_is_named(tmp_path):
    folder = train(tmp_path / "run", OPTIMIZERS["adam"])
    with pytest.warns(TrajscopeWarning, match=r"defined for SGD, .* adaptive optimizer \(adam\)"):
        found = budget(folder, lr=0.003, momentum=0.0)
    assert found.attrs["budget_guard"] == ["adaptive_optimizer"]
    assert "an adaptive optimizer (adam)" in found.attrs["budget_words"][0]
    assert "budget_ratio" not in found
    assert found["trace"].item() > 0


def test_a_rate_that_falls_in_steps_is_taken_from_the_files(tmp_path):
    folder = train(
        tmp_path / "run", OPTIMIZERS["plain"], steps=800, rate=lambda s: 1 if s < 400 else 0.1
    )
    with pytest.warns(TrajscopeWarning, match=r"changes \(0.001 to 0.01\): temperature and"):
        found = budget(folder, lr=0.01, momentum=0.0)
    assert found.attrs["budget_guard"] == ["rate_from_files"]
    assert "changes during the run (0.001 to 0.01)" in found.attrs["budget_words"][0]
    assert found["budget_ratio"].item() == pytest.approx(1, abs=0.3)
    assert found["budget_ratio_low"] < 1.1 and found["budget_ratio_high"] > 0.9  # noqa: PT018
    # Without the files the same run is seen through by its increments.
    bare = train(
        tmp_path / "bare", OPTIMIZERS["plain"], steps=800, whole=False,
        rate=lambda s: 1 if s < 400 else 0.1,
    )  # fmt: skip
    found = budget(bare, lr=0.01, momentum=0.0)
    assert found.attrs["budget_guard"][0] == "rate_changes"
    assert "changes by a factor of 0.0" in found.attrs["budget_words"][0]


def test_a_rate_that_changes_all_the_time_is_refused(tmp_path):
    cosine = lambda s: 0.5 * (1 + np.cos(np.pi * s / 501)) + 1e-3  # noqa: E731
    folder = train(tmp_path / "run", OPTIMIZERS["plain"], rate=cosine)
    with pytest.warns(TrajscopeWarning, match="use the given rate"):
        found = budget(folder, lr=0.01, momentum=0.0)
    assert found.attrs["budget_guard"] == ["schedule"]
    assert "Save checkpoints more often" in found.attrs["budget_words"][0]


def test_what_the_user_says_stands_and_a_disagreement_is_said(tmp_path):
    folder = train(tmp_path / "run", OPTIMIZERS["plain"])
    found = budget(folder, lr=0.02, momentum=0.5)
    assert "files_disagree" in found.attrs["budget_guard"]
    words = " ".join(found.attrs["budget_words"])
    assert "--lr 0.02 was given and step-500.pt has 0.01" in words
    assert "--momentum 0.5 was given and step-500.pt has 0" in words
    assert found.attrs["budget_lr"] == pytest.approx(0.02)


def test_groups_with_rates_of_their_own_have_no_budget(tmp_path):
    def make(parameters):
        weight, bias = parameters
        return torch.optim.SGD([{"params": [weight]}, {"params": [bias], "lr": 0.5}], lr=0.01)

    found = budget(train(tmp_path / "run", make, steps=100))
    assert found.attrs["budget_guard"] == ["groups_differ"]


KINDS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.1),
    "adam": lambda p: torch.optim.AdamW(p, lr=0.1),
    "rmsprop": lambda p: torch.optim.RMSprop(p, lr=0.1),
    "adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1),
    "adadelta": lambda p: torch.optim.Adadelta(p, lr=0.1),
    "rprop": lambda p: torch.optim.Rprop(p, lr=0.1),
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_kind_of_every_optimizer_of_torch_is_told(kind, legacy, tmp_path):
    model = nn.Linear(3, 2)
    optimizer = KINDS[kind](model.parameters())
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    content = {"epoch": 3, "trainer": {"optimizer": optimizer.state_dict()}}
    torch.save(content, tmp_path / "a.pt", _use_new_zipfile_serialization=not legacy)
    found = recorded(tmp_path / "a.pt", own_folder=False)
    assert (found.kind, found.lr, found.one_rate) == (kind, 0.1, True)
    # Schedules that compute with NumPy leave a number of its own.
    optimizer.param_groups[0]["lr"] = np.float64(0.3)
    content["trainer"]["optimizer"] = optimizer.state_dict()
    torch.save(content, tmp_path / "b.pt", _use_new_zipfile_serialization=not legacy)
    assert recorded(tmp_path / "b.pt", own_folder=False).lr == 0.3
    assert Optimizer(kind=kind).is_adaptive == (kind != "sgd") == (kind in ADAPTIVE)


@pytest.mark.filterwarnings("ignore")
def test_what_lightning_and_the_trainer_of_transformers_write_is_read(tmp_path):
    from tests.trainers.library_trainers import hf, lightning_default

    hf(tmp_path / "hf")
    step = next((tmp_path / "hf").glob("checkpoint-*"))
    found = recorded(step / "model.safetensors", own_folder=True)
    assert (found.kind, found.place.name) == ("adam", "optimizer.pt")
    assert recorded(step / "model.safetensors", own_folder=False) is None
    (step / "optimizer.pt").unlink()
    state = json.loads((step / "trainer_state.json").read_text())
    state["log_history"].append({"learning_rate": 0.25, "step": 5})
    (step / "trainer_state.json").write_text(json.dumps(state))
    found = recorded(step / "model.safetensors", own_folder=True)
    assert (found.kind, found.lr) == ("", 0.25)
    lightning_default(tmp_path / "lightning")
    path = next((tmp_path / "lightning").rglob("*.ckpt"))
    assert recorded(path, own_folder=False).kind == "adam"


HOSTILE = {
    "empty": b"",
    "no pickle": b"PK\x03\x04garbage",
    "cut": b"\x80\x02}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_cannot_be_read_says_nothing(name, tmp_path):
    (tmp_path / "optimizer.pt").write_bytes(HOSTILE[name])
    (tmp_path / "trainer_state.json").write_text("[" * 100_000)
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert recorded(tmp_path / "model.safetensors", own_folder=True) is None


@pytest.mark.parametrize(
    "groups",
    [
        [], [3], [{}], [{"lr": "much"}], [{"lr": float("nan")}], [{"lr": -1}], "text",
        [{"lr": 10**400}], [[["deep"]]], [{"lr": torch.tensor(0.1)}],
    ],
)  # fmt: skip
def test_senseless_settings_are_none(groups, tmp_path):
    torch.save({"optimizer": {"state": {}, "param_groups": groups}}, tmp_path / "a.pt")
    for optimizer in param_groups(tmp_path / "a.pt"):
        for group in optimizer:
            assert all(value is None or abs(value) < 2**60 for value in group.values())
    found = recorded(tmp_path / "a.pt", own_folder=False)
    assert found is None or found.lr is None


def test_changes_of_the_ratio_are_found_and_chance_is_not():
    rng = np.random.default_rng(0)
    false = sum(bool(rate_change(np.exp(0.1 * rng.standard_normal(8)))) for _ in range(2000))
    wide = sum(bool(rate_change(np.exp(0.6 * rng.standard_normal(8)))) for _ in range(2000))
    assert false == 0
    assert wide < 0.015 * 2000  # the level is 1%
    falling = np.geomspace(1, 0.1, 8) * np.exp(0.2 * rng.standard_normal(8))
    assert rate_change(falling)
    assert rate_change(1 / falling)
    assert not rate_change(falling[:3])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"learning_rate": 0}, "learning_rate=0: a positive number"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"momentum": 1}, "momentum=1"),
    ],
)
def test_settings_outside_their_range_are_refused(settings, message):
    with pytest.raises(OptionError, match=message):
        Optimizer(**settings)


def test_files_are_looked_at_only_where_a_budget_is_asked_for(tmp_path, monkeypatch):
    folder = train(tmp_path / "run", OPTIMIZERS["plain"], steps=100)

    def refuse(*_, **__):
        raise AssertionError

    monkeypatch.setattr("trajscope.checkpoints.training.param_groups", refuse)
    assert open_trajectory(folder).sizes["step"] == 21
    model, data = wide()
    diffusion(folder, Problem(model, data, squared), at=[100], every=0)
