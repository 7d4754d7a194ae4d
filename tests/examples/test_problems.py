"""The short examples of problems: each is run, and its numbers computed again sample by sample."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from trajscope import diffusion
from trajscope.demo.training import train_demo

EXAMPLES = Path(__file__).parents[2] / "examples"


def example(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def checkpoints_of(name, folder, n_steps):
    if name == "digits":
        return train_demo(folder, epochs=1)
    example(name).main(["--out", str(folder), "--steps", str(n_steps)])
    return folder


def by_hand(problem, folder, step, indices):
    """Eigenvalues of D, descending, and mean loss: single backward passes in float64."""
    from safetensors.torch import load_file

    (path,) = (path for path in folder.iterdir() if int(path.stem.split("-")[-1]) == step)
    model = problem.model.double().eval()
    # A head that is tied to its embedding is written once.
    missing = model.load_state_dict(load_file(path), strict=False).missing_keys
    assert missing in ([], ["lm_head.weight"])
    parameters, rows, losses = list(model.parameters()), [], []
    for index in indices:
        loss = problem.loss(model, batch_of_one(problem.data, index))
        found = torch.autograd.grad(loss, parameters)
        rows.append(torch.cat([gradient.flatten() for gradient in found]))
        losses.append(loss.item())
    gradients = torch.stack(rows).numpy()
    gradients -= gradients.mean(0)
    return np.linalg.svd(gradients, compute_uv=False) ** 2 / len(rows), np.mean(losses)


def batch_of_one(data, index):
    if isinstance(data, tuple):
        inputs, targets = (each[index][None] for each in data)
        return (inputs.double(), targets.double() if targets.is_floating_point() else targets)
    return {name: each[None] for name, each in data[index].items()}


@pytest.mark.parametrize(
    ("name", "n_weights", "n_steps"),
    [("digits", 1242, None), ("regression", 97, 40), ("gpt2", 59_520, 20)],
)
def test_the_example_measures_what_single_backward_passes_give(name, n_weights, n_steps, tmp_path):
    folder = checkpoints_of(name, tmp_path / "run", n_steps)
    place = f"{EXAMPLES / name}.py:make_problem"
    found = diffusion(
        folder, place, at=["100%"], samples=12, by="none", every=0, seed=3, dtype="float64"
    )
    assert found.attrs["n_weights"] == n_weights
    problem = example(name).make_problem()
    indices = np.sort(np.random.default_rng(3).choice(found.attrs["n_data"], 12, replace=False))
    values, loss = by_hand(problem, folder, found["step"].item(), indices)
    np.testing.assert_allclose(found["eigenvalue"][0], values[:11], atol=1e-12 * values[0])
    assert found["loss"].item() == pytest.approx(loss, rel=1e-5)


def test_the_language_is_learned(tmp_path):
    folder = checkpoints_of("gpt2", tmp_path / "run", 40)
    found = diffusion(
        folder, f"{EXAMPLES / 'gpt2'}.py:make_problem", at=[0, 40], samples=20, by="none", every=0
    )
    before, after = found["loss"].to_numpy()
    assert before == pytest.approx(np.log(28), rel=0.1)  # every letter as likely as any other
    assert after < 0.8 * before
