"""A tiny problem as a user writes it into a file, and checkpoints that fit it."""

import numpy as np
from safetensors.numpy import save_file

PROBLEM = """
import torch
from torch import nn

import trajscope


def loss(model, batch):
    inputs, labels = batch
    return nn.functional.cross_entropy(model(inputs), labels)


def make_problem():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))
    data = torch.randn(30, 4), torch.randint(3, (30,))
    return trajscope.Problem(network, data, loss)


def make_another():
    network = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3), nn.Linear(3, 2))
    return trajscope.Problem(network, make_problem().data, loss)


def make_nothing():
    pass
"""
SHAPES = {"0.weight": (5, 4), "0.bias": (5,), "2.weight": (3, 5), "2.bias": (3,)}


def write_problem(folder):
    path = folder / "problem.py"
    path.write_text(PROBLEM)
    return path


def write_fitting_run(folder, n_steps=11, *, shapes=SHAPES):
    """Random walks, one checkpoint every ten steps."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    tensors = {key: np.zeros(shape, np.float32) for key, shape in shapes.items()}
    for t in range(n_steps):
        tensors = {
            key: np.asarray(values + 0.3 * rng.standard_normal(values.shape), np.float32)
            for key, values in tensors.items()
        }
        save_file(tensors, folder / f"step-{10 * t}.safetensors", {"step": str(10 * t)})
    return folder
