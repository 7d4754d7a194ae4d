"""Regression: fit a noisy wave, keep the weights, and measure the noise of the gradients.

    python examples/regression.py --out wave
    trajscope diffusion wave --problem examples/regression.py:make_problem

Less than half a minute.
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor, nn

import trajscope

BATCH, RATE, EVERY = 20, 0.1, 20


def make_problem() -> trajscope.Problem:
    """What `--problem` asks for: the network, the training data, the loss."""
    chance = torch.Generator().manual_seed(0)
    x = 6 * torch.rand((200, 1), generator=chance) - 3
    y = x.sin() + 0.1 * torch.randn((200, 1), generator=chance)
    network = nn.Sequential(nn.Linear(1, 32), nn.Tanh(), nn.Linear(32, 1))
    return trajscope.Problem(network, (x, y), squared_error)


def squared_error(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss that is minimised."""
    x, y = batch
    return nn.functional.mse_loss(model(x), y)


def main(arguments: list[str] | None = None) -> None:
    """Train by SGD, with a checkpoint every so many steps."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the checkpoints")
    parser.add_argument("--steps", type=int, default=2000, help="of the optimizer")
    options = parser.parse_args(arguments)

    torch.manual_seed(0)
    problem = make_problem()
    optimizer = torch.optim.SGD(problem.model.parameters(), lr=RATE)
    for step in range(options.steps + 1):
        if step % EVERY == 0:
            trajscope.save_checkpoint(options.out, problem.model, step=step)
        batch = torch.randint(len(problem.data[0]), (BATCH,))
        optimizer.zero_grad()
        problem.loss(problem.model, [each[batch] for each in problem.data]).backward()
        optimizer.step()


if __name__ == "__main__":
    main()
