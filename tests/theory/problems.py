"""SGD on a quadratic loss written as a network: everything about the theory is known."""

import numpy as np
import torch
from torch import nn

from trajscope import Problem, simulate
from trajscope.optimizer import Optimizer

CURVATURES = np.array([3.0, 1.6, 0.9, 0.5])
SAMPLES, BATCH, ETA, UPDATES = 60, 5, 0.1, 5
SETTINGS = {
    "plain": Optimizer(ETA, BATCH, 0.0, with_replacement=True),
    "heavy ball": Optimizer(ETA / 4, BATCH, 0.8, with_replacement=True),
    "shuffled": Optimizer(ETA, BATCH, 0.0, with_replacement=False),
}


class Weights(nn.Module):
    """Weights that are what they are, whatever comes in."""

    def __init__(self, count):
        super().__init__()
        self.x = nn.Parameter(torch.zeros(count))

    def forward(self, batch):
        return self.x.expand(len(batch), -1)


def quadratic(seed=0, curvatures=CURVATURES, *, isotropic=False, n_samples=SAMPLES):
    """The loss, with noise that does not commute with the curvature, or is the same everywhere."""
    k = len(curvatures)
    rows = np.random.default_rng(seed).standard_normal((2 * k + 1, k))
    rows += 1.5 * np.random.default_rng(seed + 1).standard_normal((2 * k + 1, 1))
    rotation = np.linalg.qr(np.random.default_rng(seed + 2).standard_normal((k, k))).Q
    diffusion = rotation @ (rows.T @ rows / len(rows)) @ rotation.T
    diffusion = np.eye(k) if isotropic else diffusion
    hessian = rotation * curvatures @ rotation.T
    return simulate.quadratic_loss(
        (hessian + hessian.T) / 2, (diffusion + diffusion.T) / 2, n_samples=n_samples, seed=seed
    )


def problem_of(loss):
    """The same loss as a problem: ``f_i(x) = x' H x / 2 + g_i' x``."""
    hessian = torch.as_tensor(loss.hessian, dtype=torch.float32)
    gradients = torch.as_tensor(loss.gradients_at_minimum, dtype=torch.float32)

    def value(model, batch):
        x = model(batch)
        return ((x @ hessian.to(x)) * x).sum(1) / 2 + (batch.to(x) * x).sum(1)

    return Problem(Weights(len(hessian)), (gradients,), lambda model, batch: value(model, batch[0]))


def run_of(loss, optimizer, *, n_steps=600, seed=0, updates=UPDATES, **options):
    """Its descent in the steady state."""
    return simulate.stochastic_gradient_descent(
        n_steps, loss=loss, optimizer=optimizer, seed=seed,
        updates_per_checkpoint=updates, **options,
    )  # fmt: skip
