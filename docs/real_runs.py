"""Short trainings on the digits that ship with trajscope, whose verdicts the gallery shows."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.demo.digits import load_digits
from trajscope.demo.network import gradients, network

Weights = NDArray[np.float32]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Recipe:
    """A training.

    Attributes
    ----------
    name, told :
        Of its report, and what is trained in words.
    trained :
        Weights of the kept checkpoints, (step, weight).
    """

    name: str
    told: str
    trained: Callable[[], Weights]


def _network(
    n: int, every: int, first: int, learning_rate: float, batch: int | None, *, seed: int = 0
) -> Weights:
    """The demo's network by plain SGD.

    Parameters
    ----------
    n, every, first :
        How many checkpoints are kept, every how many steps, from which on.
    batch :
        Images of a batch, drawn with replacement; `None` for all of them at once.
    """
    pixels, digits = load_digits()
    images = pixels.reshape(-1, 64).astype(np.float32) / np.float32(8) - np.float32(1)
    labels = digits.astype(np.intp)
    rng = np.random.default_rng(seed)
    own, kept = network(rng), []
    for step in range(first + n * every):
        chosen = np.arange(len(labels)) if batch is None else rng.integers(len(labels), size=batch)
        for name, gradient in gradients(own, images[chosen], labels[chosen]).items():
            own.weights[name] = own.weights[name] - np.float32(learning_rate) * gradient
        if step >= first and (step - first) % every == 0:
            kept.append(np.concatenate([each.ravel() for each in own.weights.values()]))
    return np.array(kept)


@cache
def _regression() -> tuple[Floats, Floats, Floats, float]:
    """Images, labels, and the minimum and the largest curvature of ridge regression on them."""
    pixels, digits = load_digits()
    images = pixels.reshape(-1, 64) / 16
    images = np.c_[images - images.mean(axis=0), np.ones(len(images))]
    labels = np.eye(10)[digits.astype(np.intp)]
    hessian = images.T @ images / len(images) + _DECAY * np.eye(65)
    minimum = np.linalg.solve(hessian, images.T @ labels / len(images))
    return images, labels, minimum, float(np.linalg.eigvalsh(hessian)[-1])


_DECAY: Final = 1e-3


def _ridge(  # noqa: PLR0913 - a training has as many settings
    n: int,
    every: int,
    first: int,
    learning_rate: float,
    batch: int | None,
    *,
    at_minimum: bool = True,
    in_order: bool = False,
    seed: int = 0,
) -> Weights:
    """Ridge regression of the digits on their pixels, by plain SGD; parameters as of `_network`.

    Parameters
    ----------
    learning_rate :
        Over the largest curvature.
    at_minimum :
        Whether training begins there, or at random.
    in_order :
        Whether the same batches are used in the same order in every epoch.
    """
    images, labels, minimum, curvature = _regression()
    rng = np.random.default_rng(seed)
    weights = minimum if at_minimum else 0.1 * rng.standard_normal(minimum.shape)
    kept = []
    for step in range(first + n * every):
        if batch is None:
            chosen = np.arange(len(images))
        elif in_order:
            start = step * batch % (len(images) - len(images) % batch)
            chosen = np.arange(start, start + batch)
        else:
            chosen = rng.integers(len(images), size=batch)
        errors = images[chosen] @ weights - labels[chosen]
        gradient = images[chosen].T @ errors / len(chosen) + _DECAY * weights
        weights = weights - learning_rate / curvature * gradient
        if step >= first and (step - first) % every == 0:
            kept.append(weights.ravel().astype(np.float32))
    return np.array(kept)


def _adversarial(n: int, every: int, first: int, *, seed: int = 0) -> Weights:
    """The smallest Wasserstein GAN: a generator g of one image against a linear critic v.

    Loss v (x - g) - 0.15 |v|^2 with x the mean of a batch of 32, by descent in g and ascent in v.
    """
    pixels, _ = load_digits()
    images = pixels.reshape(-1, 64) / 16
    rng = np.random.default_rng(seed)
    generator, critic = np.zeros(64), np.zeros(64)
    kept = []
    for step in range(first + n * every):
        mean = images[rng.integers(len(images), size=32)].mean(axis=0)
        ascent = mean - generator - 0.3 * critic
        generator, critic = generator + 0.1 * critic, critic + 0.1 * ascent
        if step >= first and (step - first) % every == 0:
            kept.append(np.r_[generator, critic].astype(np.float32))
    return np.array(kept)


def _in_turn(n: int, first: int, learning_rate: float) -> Weights:
    """The same game of all images without |v|^2, g and v in turn: it never arrives.

    ``p' = p - eta v``, ``v' = v + eta p'``, p = x - g, eta the learning rate, turns by
    ``2 arcsin(eta / 2)`` in every step and neither grows nor shrinks; Gidel et al. 2019,
    arXiv:1807.04740.
    """
    pixels, _ = load_digits()
    mean = pixels.reshape(-1, 64).mean(axis=0) / 16
    generator, critic = np.zeros(64), np.zeros(64)
    kept = []
    for step in range(first + n):
        generator = generator + learning_rate * critic
        critic = critic + learning_rate * (mean - generator)
        if step >= first:
            kept.append(np.r_[generator, critic].astype(np.float32))
    return np.array(kept)


_OWN: Final = "the demo's network, "
_RIDGE: Final = "ridge regression of the digits on their pixels, "
RECIPES: Final = (
    Recipe("real-late", f"{_OWN}a checkpoint every step, late in training",
           partial(_network, 200, 1, 6000, 0.1, 32)),
    Recipe("real-slow", f"{_OWN}a learning rate of 0.001, with batches of 8",
           partial(_network, 150, 1, 3000, 1e-3, 8)),
    Recipe("real-tenth", f"{_OWN}a checkpoint every ten steps, late in training",
           partial(_network, 200, 10, 6000, 0.1, 32)),
    Recipe("real-full", f"{_OWN}all images in a batch, at a learning rate of 1",
           partial(_network, 150, 1, 300, 1.0, None)),
    Recipe("real-huge", f"{_OWN}a learning rate of 30 from the first step on",
           partial(_network, 100, 1, 0, 30.0, 32)),
    Recipe("real-walk", f"{_RIDGE}from its minimum, at a learning rate too small to lead back in "
           "this window", partial(_ridge, 200, 10, 0, 1e-3, 8)),
    Recipe("real-well", f"{_RIDGE}long settled, a checkpoint every 100 steps",
           partial(_ridge, 80, 100, 10_000, 0.1, 32)),
    Recipe("real-scales", f"{_RIDGE}long settled, batches of 256, a checkpoint every 200 steps: "
           "its curvatures, hence its time scales, lie orders of magnitude apart",
           partial(_ridge, 64, 200, 10_000, 0.2, 256)),
    Recipe("real-settled", f"{_RIDGE}long settled, a checkpoint every 50 steps",
           partial(_ridge, 200, 50, 20_000, 0.1, 32)),
    Recipe("real-ordered", f"{_RIDGE}20 batches to an epoch, in the same order in every epoch",
           partial(_ridge, 200, 1, 3000, 0.2, 89, in_order=True)),
    Recipe("real-edge", f"{_RIDGE}at 1.9 over the largest curvature",
           partial(_ridge, 150, 1, 500, 1.9, 16)),
    Recipe("real-beyond", f"{_RIDGE}at 2.05 over the largest curvature, all images in a batch",
           partial(_ridge, 100, 1, 0, 2.05, None, at_minimum=False)),
    Recipe("real-game", "a generator of one image against a linear critic, by descent and ascent "
           "at once", partial(_adversarial, 256, 5, 2000)),
    Recipe("real-turns", "a generator of one image against a linear critic, in turn, all images in "
           "a batch, a learning rate of 0.3: its period is known, π / arcsin(0.3 / 2) = 20.9 steps",
           partial(_in_turn, 200, 1000, 0.3)),
)  # fmt: skip
