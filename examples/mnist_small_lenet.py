"""The small-lenet of arXiv:1710.11029 on MNIST, and the eigenvalues of its diffusion matrix.

Two convolutions of 8 and 16 channels and a layer of 128 units, each with batch normalisation and
dropout 0.1: 13,338 weights.

    python examples/mnist_small_lenet.py --data MNIST/raw

trains for ten epochs (some minutes on one core), runs `trajscope analyze` with the problem below at
20%, 40% and 100% of training (the paper's Fig. 1), and prints the paper's table beside ours.
"""

from pathlib import Path

from small_networks import Experiment, main, problem
from torch import nn

import trajscope


def small_lenet() -> nn.Module:
    """The network, with fresh weights."""
    model = nn.Sequential(
        *(nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3), nn.Dropout(0.1)),
        *(nn.Conv2d(8, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)),
        nn.Flatten(),
        *(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.1)),
        nn.Linear(128, 10),
    )
    assert sum(weights.numel() for weights in model.parameters()) == 13_338
    return model


SMALL_LENET = Experiment(
    name="small-lenet",
    script=Path(__file__),
    model=small_lenet,
    images=lambda images: images[:, None],
    paper=("0.3 ± 2.11", "1.8%"),
    samples=4000,
)


def make_problem() -> trajscope.Problem:
    """What `trajscope analyze --problem` asks for."""
    return problem(SMALL_LENET)


if __name__ == "__main__":
    main(SMALL_LENET)
