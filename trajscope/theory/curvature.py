"""Leading eigenvectors of the Hessian of training, and the gradient noise along them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.model.batches import variance_scale
from trajscope.model.eigenvectors import BLOCK, leading_eigenvectors
from trajscope.model.hessian import Hessian
from trajscope.schema import TENSOR
from trajscope.theory.forward import Noise
from trajscope.theory.subject import (
    DIRECTIONS,
    FEWEST_BATCHES,
    Subject,
    batches_of_training,
    computing,
    hessian_of,
    n_directions,
    samples_at_once,
)

if TYPE_CHECKING:
    from torch import Tensor

_GRADIENT_SAMPLES: Final = 100_000
_MOST_BATCHES: Final = 100
"""At every checkpoint, of the noise."""
_SHARPNESS_BATCHES: Final = 10
_BLOCK_MAPPED: Final = 28
"""Vectors that go back through small batches together cost little more than one."""


@dataclass(frozen=True)
class Curvature:
    """What was found.

    Attributes
    ----------
    vectors : (direction, weight)
        Leading eigenvectors of H, in the order of the trajectory's weights; empty in a finished
        result.
    ritz, residuals : (direction,)
        As `Eigenpairs` has them.
    curvatures : (direction,)
        ``v' H v`` from other batches, weight decay included: free of what the choice of v adds.
    errors : (direction,)
        Their standard errors, from the batches.
    lowest :
        An upper bound of the smallest eigenvalue of H.
    noise :
        D along the vectors.
    batch_sharpness :
        As `Hessian.batch_sharpness`, of batches of training.
    steps :
        Checkpoints at which it was computed.
    mode :
        Of the network, as computed.
    modes_differ :
        In words how the modes differ, where they do.
    """

    vectors: Floats
    ritz: Floats
    residuals: Floats
    curvatures: Floats
    errors: Floats
    lowest: float
    noise: Noise
    n_products: int
    batch_sharpness: float
    steps: list[int | float]
    mode: str
    modes_differ: str


def curvature(subject: Subject, advance: Callable[[int], None]) -> Curvature:
    """Eigenvectors of H from some batches, H along them from others, and D.

    Parameters
    ----------
    advance :
        Called with the number of vectors that were multiplied.
    """
    with computing(subject):
        first, second = (hessian_of(subject, stream=number) for number in (0, 1))
        like = next(iter(first.places[0].state.values())).new_empty(first.mapping.n_weights)

        def product(vectors: "Tensor") -> "Tensor":
            found = first.product(vectors)
            advance(len(vectors))
            return found

        block = _BLOCK_MAPPED if first.maps else BLOCK
        count, seed = n_directions(subject), subject.options.seed
        found = leading_eigenvectors(product, like, count, block=block, seed=seed)
        curvatures, errors = _along(second, found.vectors)
        noise = _noise(subject, found.vectors)
        sharpness = batches_of_training(subject, _SHARPNESS_BATCHES, 3).batch_sharpness()
    return Curvature(
        _as_stored(subject, found.vectors.double().cpu().numpy()),
        found.values,
        found.residuals,
        curvatures,
        errors,
        found.lowest,
        noise,
        found.n_products,
        sharpness,
        subject.steps,
        subject.mode,
        subject.differs,
    )


def _along(hessian: Hessian, vectors: "Tensor") -> tuple[Floats, Floats]:
    """``v' H v`` of every vector, and its standard error over batches."""
    rows = np.array(
        [
            (vectors.double() * product.double()).sum(1).cpu().numpy()
            for product in hessian.products(vectors)
        ]
    )
    error = rows.std(axis=0, ddof=min(len(rows) - 1, 1)) / np.sqrt(len(rows))
    return rows.mean(axis=0) + hessian.weight_decay, error


def _noise(subject: Subject, vectors: "Tensor") -> Noise:
    """D along the vectors from gradients of batches, centred at every place; two halves."""
    n, b = len(subject.samples), subject.batch_size
    least = max(4 * len(vectors) // len(subject.steps), FEWEST_BATCHES)
    most = max(_GRADIENT_SAMPLES // (len(subject.steps) * b), least)
    n_batches = 2 * (min(most, max(_MOST_BATCHES, least)) // 2)
    hessian = batches_of_training(subject, n_batches, 2)
    rows: list[list[Floats]] = [[] for _ in subject.steps]
    at_once = 1 if subject.mixes else max(samples_at_once(subject) * DIRECTIONS // b, 1)
    for number, gradients in hessian.gradients(at_once):
        rows[number].append((gradients @ vectors.T).double().cpu().numpy())
    found = np.empty((len(rows), 2, len(vectors), len(vectors)))
    for place, each in enumerate(rows):
        for half, part in enumerate(np.split(np.concatenate(each), 2)):
            centred = part - part.mean(axis=0)
            found[place, half] = variance_scale(n, b, len(part)) / len(part) * centred.T @ centred
    return Noise(found.mean(axis=0), np.diagonal(found.mean(axis=1), axis1=1, axis2=2))


def _as_stored(subject: Subject, vectors: Floats) -> Floats:
    """Vectors by the module's parameters as vectors by the weights of the trajectory."""
    trajectory, mapping = subject.checkpoints.trajectory, subject.gradients.mapping
    sizes = trajectory["row_size"].to_numpy()
    ends = np.cumsum(sizes)
    place = {
        str(name): np.arange(end - size, end)
        for name, size, end in zip(trajectory[TENSOR].to_numpy(), sizes, ends, strict=True)
    }
    stored = np.zeros((len(vectors), int(ends[-1])))
    start = 0
    for parameter in mapping.parameters:
        source = mapping.sources[parameter.name]
        columns = source.of(lambda name: place[name])
        stored[:, columns] = vectors[:, start : start + parameter.size]
        start += parameter.size
    return stored
