"""Train tiny-fc to a plateau, then on from there at several learning rates and batch sizes.

Around one minimum a stationary law should be proportional to learning rate over batch size
(arXiv:1710.11029). The network and images are tiny-fc's, trained by plain SGD
with weight decay, every batch drawn with replacement; all branches start at the same weights, and
what they need to settle is thrown away.

    export MNIST_DIR=MNIST/raw
    python examples/paper/branches.py --out branches
    trajscope compare branches/same-1 branches/same-2 --lr 0.1 --batch-size 50 \
        --sampling replacement
    trajscope compare branches/same-1 branches/half --lr 0.1 --lr 0.05 --batch-size 50 \
        --sampling replacement

Some 700,000 updates, about six minutes of one core.
"""

import argparse
import os
import sys
from pathlib import Path

import torch
from data import tiny
from torch import Tensor, nn

import trajscope

BRANCHES = {
    "same-1": (0.1, 50),
    "same-2": (0.1, 50),
    "both": (0.2, 100),
    "half": (0.05, 50),
    "double": (0.2, 50),
}
"""Learning rate and batch size; the plateau has those of the first."""
DECAY = 1e-3


def main(arguments: list[str] | None = None) -> None:
    """Train the plateau, then every branch."""
    options = parse(arguments)
    options.out.mkdir(parents=True, exist_ok=True)
    if any(options.out.iterdir()):
        sys.exit(f"{options.out} is not empty. Name another folder with --out, or remove it.")
    images, labels = map(torch.from_numpy, tiny(options.data, "train"))
    torch.set_num_threads(1)  # the matrices are too small to share
    torch.manual_seed(options.seed)
    model = nn.Sequential(nn.Linear(49, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))
    descend(model, images, labels, *BRANCHES["same-1"], updates=options.warm_up)
    plateau = {name: value.clone() for name, value in model.state_dict().items()}
    for number, (name, settings) in enumerate(BRANCHES.items(), 1):
        folder = options.out / name
        folder.mkdir()
        model.load_state_dict(plateau)
        torch.manual_seed(options.seed + number)
        descend(model, images, labels, *settings, updates=options.settle)
        for step in range(0, options.every * options.checkpoints, options.every):
            trajscope.save_checkpoint(folder, model.state_dict(), step=step)
            descend(model, images, labels, *settings, updates=options.every)


def descend(
    model: nn.Module, images: Tensor, labels: Tensor, rate: float, batch: int, *, updates: int
) -> None:
    """Updates of plain SGD, each on a batch drawn with replacement."""
    optimizer = torch.optim.SGD(model.parameters(), lr=rate, weight_decay=DECAY, fused=True)
    for _ in range(updates):
        chosen = torch.randint(len(labels), (batch,))
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
        optimizer.step()


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        default=os.environ.get("MNIST_DIR"),
        required="MNIST_DIR" not in os.environ,
        help="folder of MNIST's IDX files, or of a folder 'raw' with them; MNIST_DIR does too",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", default="branches", help="checkpoints")
    parser.add_argument("--warm-up", type=int, default=400_000, help="updates to the plateau")
    parser.add_argument("--settle", type=int, default=40_000, help="updates before checkpoints")
    parser.add_argument("--checkpoints", type=int, default=2000, help="how many of each branch")
    parser.add_argument("--every", type=int, default=10, help="updates between checkpoints")
    parser.add_argument("--seed", type=int, default=0, help="of first weights and batches")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
