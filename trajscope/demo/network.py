"""The demo's network in NumPy: its first weights, one step of SGD, and what it stores."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

HIDDEN = 16
_EPSILON = np.float32(1e-5)
"""Added to the variance of a batch, as torch does."""
_MEMORY = np.float32(0.1)
"""Share of the newest batch in the running statistics, as in torch."""


@dataclass
class Network:
    """64 pixels, 16 hidden units with batch normalisation and ReLU, 10 digits.

    Attributes
    ----------
    weights :
        By the names that torch would give them; trained.
    statistics :
        Running mean and variance of the hidden units, and the number of batches.
    """

    weights: dict[str, Floats]
    statistics: dict[str, NDArray[np.generic]]

    def state(self) -> dict[str, NDArray[np.generic]]:
        """Everything that a checkpoint holds."""
        return {**self.weights, **self.statistics}


def network(rng: np.random.Generator) -> Network:
    """An untrained network: weights and biases uniform within ``1 / sqrt(inputs)``."""
    weights: dict[str, Floats] = {}
    for name, n_inputs, n_outputs in (("fc1", 64, HIDDEN), ("fc2", HIDDEN, 10)):
        bound = n_inputs**-0.5
        shape = (n_outputs, n_inputs)
        weights[f"{name}.weight"] = rng.uniform(-bound, bound, shape).astype(np.float32)
        weights[f"{name}.bias"] = rng.uniform(-bound, bound, n_outputs).astype(np.float32)
    weights["bn1.weight"] = np.ones(HIDDEN, np.float32)
    weights["bn1.bias"] = np.zeros(HIDDEN, np.float32)
    statistics: dict[str, NDArray[np.generic]] = {
        "bn1.running_mean": np.zeros(HIDDEN, np.float32),
        "bn1.running_var": np.ones(HIDDEN, np.float32),
        "bn1.num_batches_tracked": np.zeros((), np.int64),
    }
    return Network(weights, statistics)


def gradients(own: Network, images: Floats, labels: NDArray[np.intp]) -> dict[str, Floats]:
    """Gradient of the mean cross-entropy of a batch; the running statistics follow the batch.

    With ``h = W1 x + b1``, ``n = (h - mean) / sd`` over the batch, ``a = max(g n + c, 0)`` and
    ``o = W2 a + b2``: ``dL/do = (softmax(o) - onehot) / B``, from there backwards; through the
    normalisation ``dL/dh = (dn - mean(dn) - n mean(n dn)) / sd``.

    Parameters
    ----------
    images : (image, pixel)
    labels : (image,)
    """
    w, size = own.weights, np.float32(len(labels))
    raw = images @ w["fc1.weight"].T + w["fc1.bias"]
    mean, variance = raw.mean(axis=0), raw.var(axis=0)
    _follow(own, mean, variance * size / (size - 1))
    deviation = np.sqrt(variance + _EPSILON)
    normal = (raw - mean) / deviation
    shown = normal * w["bn1.weight"] + w["bn1.bias"]
    active = np.maximum(shown, 0)
    scores = active @ w["fc2.weight"].T + w["fc2.bias"]

    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    by_score = shares / shares.sum(axis=1, keepdims=True)
    by_score[np.arange(len(labels)), labels] -= 1
    by_score /= size
    by_shown = by_score @ w["fc2.weight"] * (shown > 0)
    by_normal = by_shown * w["bn1.weight"]
    along = normal * (normal * by_normal).mean(axis=0)
    by_raw = (by_normal - by_normal.mean(axis=0) - along) / deviation
    return {
        "fc1.weight": by_raw.T @ images,
        "fc1.bias": by_raw.sum(axis=0),
        "fc2.weight": by_score.T @ active,
        "fc2.bias": by_score.sum(axis=0),
        "bn1.weight": (by_shown * normal).sum(axis=0),
        "bn1.bias": by_shown.sum(axis=0),
    }


def _follow(own: Network, mean: Floats, variance: Floats) -> None:
    """Update the running statistics."""
    for name, value in (("running_mean", mean), ("running_var", variance)):
        former = own.statistics[f"bn1.{name}"]
        own.statistics[f"bn1.{name}"] = (1 - _MEMORY) * former + _MEMORY * value  # type: ignore[operator]
    own.statistics["bn1.num_batches_tracked"] = own.statistics["bn1.num_batches_tracked"] + 1
