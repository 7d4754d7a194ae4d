"""Classification: the gradient noise of the network that `trajscope demo` trains.

    trajscope demo
    trajscope diffusion trajscope-demo/checkpoints --problem examples/digits.py:make_problem

Less than a minute each. A file like this is all that trajscope needs beside the checkpoints.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

import trajscope
from trajscope.demo.digits import load_digits


def make_problem() -> trajscope.Problem:
    """What `--problem` asks for: the network, the training data, the loss."""
    pixels, digits = load_digits()
    images = torch.from_numpy(pixels).reshape(-1, 64) / 8.0 - 1.0
    return trajscope.Problem(network(), (images, torch.from_numpy(digits).long()), cross_entropy)


def network() -> nn.Module:
    """The demo's network; parameters have the names that they have in the checkpoints."""
    fc1, fc2 = nn.Linear(64, 16), nn.Linear(16, 10)
    return nn.Sequential(OrderedDict(fc1=fc1, bn1=nn.BatchNorm1d(16), relu=nn.ReLU(), fc2=fc2))


def cross_entropy(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss that was minimised."""
    images, labels = batch
    return nn.functional.cross_entropy(model(images), labels)
