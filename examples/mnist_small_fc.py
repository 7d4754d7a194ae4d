"""The small-fc of arXiv:1710.11029 on MNIST, and the eigenvalues of its diffusion matrix.

The network sees MNIST averaged down to 7 x 7 pixels. The paper says "two layers" and 64 hidden
units with batch normalisation: 49-64-10, 3,978 weights. With --deep it has two hidden layers and
8,266 weights, which the words may mean as well.

    python examples/mnist_small_fc.py --data MNIST/raw

trains for ten epochs (a minute on one core), runs `trajscope analyze` with the problem below at
20%, 40% and 100% of training (the paper's Fig. 1), and prints the paper's table beside ours. There
are fewer weights than images, so D is from all 60,000, which takes four minutes more.
"""

import sys
from dataclasses import replace
from pathlib import Path

from small_networks import Experiment, main, problem
from torch import nn

import trajscope


def small_fc() -> nn.Module:
    """The network, with fresh weights."""
    model = nn.Sequential(
        *(nn.Flatten(), nn.Linear(49, 64), nn.BatchNorm1d(64), nn.ReLU()),
        nn.Linear(64, 10),
    )
    assert sum(weights.numel() for weights in model.parameters()) == 3_978
    return model


def deep_fc() -> nn.Module:
    """The same with a second hidden layer."""
    model = nn.Sequential(
        *(nn.Flatten(), nn.Linear(49, 64), nn.BatchNorm1d(64), nn.ReLU()),
        *(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()),
        nn.Linear(64, 10),
    )
    assert sum(weights.numel() for weights in model.parameters()) == 8_266
    return model


SMALL_FC = Experiment(
    name="small-fc",
    script=Path(__file__),
    model=small_fc,
    images=lambda images: nn.functional.avg_pool2d(images[:, None], 4)[:, 0],
    paper=("0.9 ± 18.5", "0.6%"),
    samples=60_000,
)


DEEP_FC = replace(
    SMALL_FC, name="deep-fc", model=deep_fc, function="make_deep_problem", samples=6_000
)


def make_problem() -> trajscope.Problem:
    """What `trajscope analyze --problem` asks for."""
    return problem(SMALL_FC)


def make_deep_problem() -> trajscope.Problem:
    """The same for the deeper network."""
    return problem(DEEP_FC)


if __name__ == "__main__":
    words = sys.argv[1:]
    main(DEEP_FC if "--deep" in words else SMALL_FC, [word for word in words if word != "--deep"])
