"""Short trainings on the digits that ship with trajscope, whose verdicts the gallery shows."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.demo.digits import load_digits
from trajscope.demo.network import gradients, network


@dataclass(frozen=True)
class Recipe:
    """A training of the demo's network by plain SGD.

    Attributes
    ----------
    name, told :
        Of its report, and what is trained in words.
    n, every, first :
        How many checkpoints are kept, every how many steps, from which on.
    batch :
        Images of a batch, drawn with replacement; `None` for all of them at once.
    """

    name: str
    told: str
    n: int
    every: int
    first: int
    learning_rate: float
    batch: int | None


RECIPES: Final = (
    Recipe("real-late", "a checkpoint every step, late in training", 200, 1, 6000, 0.1, 32),
    Recipe("real-slow", "a learning rate of 0.001, with batches of 8", 150, 1, 3000, 1e-3, 8),
    Recipe("real-tenth", "a checkpoint every ten steps, late in training", 200, 10, 6000, 0.1, 32),
    Recipe("real-full", "all images in a batch, at a learning rate of 1", 150, 1, 300, 1.0, None),
    Recipe("real-huge", "a learning rate of 30 from the first step on", 100, 1, 0, 30.0, 32),
)


def trained(recipe: Recipe, seed: int = 0) -> NDArray[np.float32]:
    """Weights of the kept checkpoints, (step, weight)."""
    pixels, digits = load_digits()
    images = pixels.reshape(-1, 64).astype(np.float32) / np.float32(8) - np.float32(1)
    labels = digits.astype(np.intp)
    rng = np.random.default_rng(seed)
    own, kept = network(rng), []
    for step in range(recipe.first + recipe.n * recipe.every):
        everything = recipe.batch is None
        batch = (
            np.arange(len(labels)) if everything else rng.integers(len(labels), size=recipe.batch)
        )
        for name, gradient in gradients(own, images[batch], labels[batch]).items():
            own.weights[name] = own.weights[name] - np.float32(recipe.learning_rate) * gradient
        if step >= recipe.first and (step - recipe.first) % recipe.every == 0:
            kept.append(np.concatenate([each.ravel() for each in own.weights.values()]))
    return np.array(kept)
