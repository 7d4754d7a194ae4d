"""What each real trainer is asked to do, and the weights that its model had when it saved."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

Weights = dict[str, np.ndarray]
"""By the name that trajscope shows."""

Saved = dict[int, Weights]
"""By step."""


@dataclass(frozen=True)
class Trainer:
    """One way of one trainer to write checkpoints.

    Attributes
    ----------
    name, on_disk :
        For the table: the trainer and setting, and what it leaves.
    needs :
        Packages without which it is skipped.
    train :
        ``folder -> Saved``: trains, lets the trainer save below the folder, and returns the live
        weights at each save.
    options :
        What `open_trajectory` is told.
    below :
        The folder that is opened, under the one that was trained in.
    refusal :
        What the error says, where the checkpoints cannot be read.
    """

    name: str
    on_disk: str
    needs: tuple[str, ...]
    train: Callable[[Path], Saved]
    options: Mapping[str, object] = field(default_factory=dict)
    below: str = "."
    refusal: str = ""


def network() -> torch.nn.Sequential:
    """Two linear layers with batch norm between them."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Linear(4, 3), torch.nn.BatchNorm1d(3), torch.nn.ReLU(), torch.nn.Linear(3, 2)
    )


def batch() -> torch.Tensor:
    """Five inputs of `network`."""
    return torch.randn(5, 4)


def parameters(module: torch.nn.Module, prefix: str = "") -> Weights:
    """The parameters of a module as they are now."""
    return {
        prefix + name: values.detach().cpu().float().numpy().copy()
        for name, values in module.named_parameters()
    }


def step_with(module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """One optimizer step on random inputs."""
    optimizer.zero_grad()
    module(batch()).square().mean().backward()
    optimizer.step()
