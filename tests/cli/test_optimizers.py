"""Real torch runs through the commands: what each says of the optimizer, and of its budget."""

import json

import numpy as np
import pytest
import torch

from tests.gradient_noise.test_optimizer import BATCH, train

pytestmark = pytest.mark.slow  # processes, problems, pages: seconds each

PROBLEM = """
import torch
from torch import nn

import trajscope


def squared(model, batch):
    return (model(batch[0])[:, 0] - batch[1]).square().mean() / 2


def make():
    torch.manual_seed(0)
    data = 0.3 * torch.randn(200, 6), torch.randn(200)  # as in training
    return trajscope.Problem(nn.Linear(6, 1), data, squared)
"""

SGD = {
    "constant": (lambda p: torch.optim.SGD(p, lr=0.01), lambda _: 1.0),
    "steps": (lambda p: torch.optim.SGD(p, lr=0.01), lambda step: 1 if step < 400 else 0.1),
    "nesterov": (
        lambda p: torch.optim.SGD(p, lr=0.003, momentum=0.8, nesterov=True), lambda _: 1.0,
    ),
}  # fmt: skip
ADAPTIVE = {
    "adam": (lambda p: torch.optim.Adam(p, lr=0.003), lambda _: 1.0),
    "adamw": (
        lambda p: torch.optim.AdamW(p, lr=0.003), lambda step: (1 + np.cos(np.pi * step / 801)) / 2,
    ),
}  # fmt: skip


@pytest.fixture
def told(trajscope, tmp_path):
    """What a command says of a run, on the screen and as the budget of summary.json."""
    (tmp_path / "problem.py").write_text(PROBLEM)

    def of(run, *options, command="diffusion"):
        folder = train(tmp_path / "run", *run[:1], steps=800, rate=run[1])
        done = trajscope(
            command, folder, "--problem", f"{tmp_path / 'problem.py'}:make", "--at", "100%",
            "--every", "0", "--by", "none", "--batch-size", BATCH, "-o", tmp_path / "out", *options,
        )  # fmt: skip
        assert done.code == 0, done.err
        summary = json.loads((tmp_path / "out" / "summary.json").read_text())
        return " ".join(done.out.split()), summary["diffusion"]["budget"]

    return of


@pytest.mark.parametrize("name", SGD)
def test_a_run_by_sgd_has_a_budget_near_one(name, told):
    screen, budget = told(SGD[name], "--sampling", "replacement")
    assert budget["ratio"]["with"] == pytest.approx(1, abs=0.3)
    assert budget["guard"] == []
    rate = {"constant": "0.01", "steps": "0.001 to 0.01", "nesterov": "0.003"}[name]
    said = f"From step-800.pt of the checkpoints: optimizer sgd, learning rate {rate}"
    assert budget["optimizer"].startswith(said)
    assert said in screen
    assert ("Nesterov momentum 0.8" in screen) == (name == "nesterov")


@pytest.mark.filterwarnings("ignore::trajscope.errors.TrajscopeWarning")
@pytest.mark.parametrize("name", ADAPTIVE)
def test_a_run_by_adam_has_none_whatever_is_given(name, told):
    screen, budget = told(
        ADAPTIVE[name], "--lr", "0.003", "--momentum", "0", "--sampling", "replacement"
    )
    assert budget["guard"] == ["adaptive_optimizer"]
    assert "ratio" not in budget
    assert "an adaptive optimizer (adam)" in screen
    assert "--momentum" not in screen


def test_the_analysis_with_a_problem_says_the_same(told):
    _, budget = told(
        SGD["constant"], "--surrogates", "199", "--sampling", "replacement", command="analyze"
    )
    assert budget["ratio"]["with"] == pytest.approx(1, abs=0.3)
