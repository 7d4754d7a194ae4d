"""The paper's networks, their images, how they are trained, and trajscope's problems of them.

`trajscope diffusion RUN --problem examples/paper/networks.py:small_lenet_problem` builds one of
them. The folders of the images are what the environment variables MNIST_DIR and CIFAR_DIR name;
without the first, MNIST's networks see the digits that ship with trajscope.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import data
import torch
from torch import Tensor, nn

import trajscope


@dataclass(frozen=True)
class Recipe:
    """How a network is trained: SGD as `torch.optim.SGD` has it.

    The rate falls from `first_rate` to `last_rate` by the same factor in each of the first `anneal`
    epochs, and stays there for the others.

    Attributes
    ----------
    momentum :
        Nesterov's; 0 for plain SGD.
    heavy_ball :
        The momentum does not look ahead.
    decay :
        Factor of the weights that is added to the gradient.
    every :
        Steps from checkpoint to checkpoint; 0 for one after each epoch.
    replace :
        Images of a batch are drawn one by one, not from a new order in every epoch.
    """

    epochs: int
    anneal: int
    batch: int
    first_rate: float = 0.1
    last_rate: float = 1e-3
    momentum: float = 0.9
    decay: float = 0.0
    every: int = 0
    replace: bool = False
    heavy_ball: bool = False

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, the first of which is 1."""
        share = min(epoch / self.anneal, 1.0) if self.anneal else 1.0
        return float(self.first_rate * (self.last_rate / self.first_rate) ** share)


@dataclass(frozen=True)
class Network:
    """One of the paper's networks.

    Attributes
    ----------
    load :
        A folder (or none) and ``train`` or ``t10k`` to images and labels.
    recipe :
        How its full-length run is trained.
    paper :
        The paper's words on D: mean and standard deviation of all eigenvalues, rank over d.
    folder :
        Environment variable that names the folder of the images.
    """

    name: str
    n_weights: int
    build: Callable[[], nn.Module]
    load: Callable[[Path | None, str], tuple[data.Floats, data.Labels]]
    recipe: Recipe
    paper: tuple[float, float, float] | None = None
    folder: str = "MNIST_DIR"


def small_lenet() -> nn.Module:
    """Two convolutions and a layer of 128 units, each with batch normalisation and dropout."""
    return nn.Sequential(
        *(nn.Conv2d(1, 8, 5), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3), nn.Dropout(0.1)),
        *(nn.Conv2d(8, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)),
        nn.Flatten(),
        *(nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Dropout(0.1)),
        nn.Linear(128, 10),
    )


def small_fc() -> nn.Module:
    """What "two layers" says if the output is one of them."""
    return nn.Sequential(
        *(nn.Linear(49, 64), nn.BatchNorm1d(64), nn.ReLU()),
        nn.Linear(64, 10),
    )


def deep_fc() -> nn.Module:
    """What "two layers" says if both are hidden."""
    return nn.Sequential(
        *(nn.Linear(49, 64), nn.BatchNorm1d(64), nn.ReLU()),
        *(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()),
        nn.Linear(64, 10),
    )


def tiny_fc() -> nn.Module:
    """The network of the long run; `fast` has its gradient."""
    return nn.Sequential(nn.Linear(49, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 5))


def small_allcnn(classes: int = 10) -> nn.Module:
    """Eight convolutions of 3 x 3 and one of 1 x 1, batch normalisation, a mean over places."""
    widths, strides = (3, 12, 12, 12, 24, 24, 24, 24, 24), (1, 1, 2, 1, 1, 2, 1, 1)
    layers: list[nn.Module] = []
    for before, after, stride in zip(widths, widths[1:], strides, strict=False):
        layers += [nn.Conv2d(before, after, 3, stride, padding=1), nn.BatchNorm2d(after), nn.ReLU()]
    layers += [nn.Conv2d(widths[-1], classes, 1), nn.BatchNorm2d(classes)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())


ANNEALED = Recipe(epochs=100, anneal=100, batch=500)
NETWORKS = (
    Network("small-lenet", 13_338, small_lenet, data.large, ANNEALED, (0.3e-3, 2.11e-3, 0.018)),
    Network("small-fc", 3_978, small_fc, data.pooled, ANNEALED, (0.9e-3, 18.5e-3, 0.006)),
    Network("deep-fc", 8_266, deep_fc, data.pooled, ANNEALED, (0.9e-3, 18.5e-3, 0.006)),
    Network("tiny-fc", 917, tiny_fc, data.tiny, Recipe(epochs=100_000, anneal=1_000, batch=500)),
    Network(
        *("small-allcnn", 26_982, small_allcnn, data.cifar),
        ANNEALED, (0.27, 0.84, 0.0034), "CIFAR_DIR",
    ),
)  # fmt: skip


def named(name: str) -> Network:
    """The network of that name."""
    return next(each for each in NETWORKS if each.name == name)


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss that is minimised."""
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels)


def tensors(network: Network, part: str) -> tuple[Tensor, Tensor]:
    """Images and labels from the folder that the environment names."""
    return _tensors(network, part, os.environ.get(network.folder))


@cache
def _tensors(network: Network, part: str, folder: str | None) -> tuple[Tensor, Tensor]:
    images, labels = network.load(Path(folder) if folder else None, part)
    return torch.from_numpy(images), torch.from_numpy(labels)


def problem(name: str) -> trajscope.Problem:
    """What `--problem` asks for."""
    network = named(name)
    return trajscope.Problem(network.build(), tensors(network, "train"), cross_entropy)


small_lenet_problem = partial(problem, "small-lenet")
small_fc_problem = partial(problem, "small-fc")
deep_fc_problem = partial(problem, "deep-fc")
tiny_fc_problem = partial(problem, "tiny-fc")
small_allcnn_problem = partial(problem, "small-allcnn")
