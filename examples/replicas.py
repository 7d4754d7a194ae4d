"""Do ordinary runs circulate? Ask many runs that differ in nothing but the order of their batches.

A single run is a course and a rest about it; what is left of a course that was not taken off whole
could look like a current. Replicas settle it: from one state on, each sees its own batches. The
difference of two of them has no course, and pairs of replicas share nothing but the law of the
noise and the loss. So the area that one pair sweeps in every plane says nothing of what another
sweeps, unless there is a current: then their areas agree. Of every recipe of `ordinary_runs`:

    python examples/replicas.py --data MNIST/raw
    python examples/replicas.py --data MNIST/raw --recipe Adam --replicas 8

The table has the mean product of two pairs' areas over its standard deviation without a current,
its p-value among all signs of the areas, and how alike two pairs' areas are (the cosine between
them: 0 without a current, 1 where there is nothing else). Forty replicas of a recipe take two
minutes of one core.
"""

import argparse
import copy
import os
from itertools import product
from pathlib import Path

import numpy as np
import torch
from ordinary_runs import CHECKPOINTS, RECIPES, Recipe, load_images, order
from torch import Tensor
from torch.nn.functional import cross_entropy

DIRECTIONS = 96
BEFORE = 500


def main(arguments: list[str] | None = None) -> None:
    """Train replicas of what was asked for, and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--data", type=Path, default=os.environ.get("MNIST_DIR"),
        required="MNIST_DIR" not in os.environ, help="as of ordinary_runs",
    )  # fmt: skip
    parser.add_argument("--recipe", choices=[each.name for each in RECIPES], help="only this one")
    parser.add_argument("--replicas", type=int, default=20, help="an even number")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    images, labels = load_images(options.data)
    print("| recipe | batches | agreement, sd | p | cosine |\n|---|---|---|---|---|")
    for recipe in (each for each in RECIPES if options.recipe in (None, each.name)):
        for replaced in (False, True):
            paths = replicas(recipe, images, labels, options.replicas, replaced=replaced)
            agreement, p, cosine = agreeing((paths[::2] - paths[1::2]) / 2**0.5)
            drawn = "with replacement" if replaced else "by epochs"
            print(f"| {recipe.name} | {drawn} | {agreement:.1f} | {p:.3f} | {cosine:.3f} |")


def replicas(
    recipe: Recipe, images: Tensor, labels: Tensor, count: int, *, replaced: bool
) -> np.ndarray:
    """Paths in fixed random directions, from one state on, (replica, checkpoint, direction)."""
    torch.manual_seed(0)
    model = recipe.network()
    optimizer = recipe.optimizer(model.parameters(), recipe.rate)
    batches = order(replaced=replaced)

    def step(model: torch.nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
        optimizer.zero_grad()
        cross_entropy(model(images[batch]), labels[batch]).backward()
        optimizer.step()

    for _ in range(recipe.before or BEFORE):
        step(model, optimizer, next(batches))
    n_weights = sum(p.numel() for p in model.parameters())
    directions = torch.randn(n_weights, DIRECTIONS) / DIRECTIONS**0.5
    last, paths = recipe.every * (CHECKPOINTS - 1), []
    for replica in range(count):
        own = copy.deepcopy(model)
        stepped = recipe.optimizer(own.parameters(), recipe.rate)
        stepped.load_state_dict(optimizer.state_dict())
        torch.manual_seed(1 + replica)
        batches, path = order(replaced=replaced), []
        for number in range(last + 1):
            stepped.param_groups[0]["lr"] = recipe.rate * recipe.schedule(number / last)
            if number % recipe.every == 0:
                weights = torch.cat([p.detach().flatten() for p in own.parameters()])
                path.append((weights @ directions).double().numpy())
            step(own, stepped, next(batches))
        paths.append(path)
    return np.array(paths)


def agreeing(paths: np.ndarray) -> tuple[float, float, float]:
    """Sum of the products of any two paths' areas: over its sd, its p-value, and the mean cosine.

    Parameters
    ----------
    paths : (path, checkpoint, direction)
    """
    areas = []
    for path in paths:
        turned = (path - path.mean(axis=0))[:-1].T @ np.diff(path, axis=0)
        areas.append((turned - turned.T).ravel() / 2)
    products = np.array(areas) @ np.array(areas).T
    above = np.triu(products, k=1)
    signs = np.array([(1, *rest) for rest in product((1, -1), repeat=len(paths) - 1)])
    sums = ((signs @ above) * signs).sum(axis=1) / np.linalg.norm(above)
    norms = np.sqrt(np.diag(products))
    cosines = (products / np.outer(norms, norms))[np.triu_indices(len(paths), 1)]
    return float(sums[0]), float((sums >= sums[0]).mean()), float(cosines.mean())


if __name__ == "__main__":
    main()
