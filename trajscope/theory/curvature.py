"""Leading eigenvectors of the Hessian of training, and the gradient noise along them."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import OptionError
from trajscope.kernels.gram import Floats
from trajscope.model.batches import variance_scale
from trajscope.model.checkpoints import Checkpoints
from trajscope.model.eigenvectors import leading_eigenvectors
from trajscope.model.gradients import Gradients
from trajscope.model.hessian import Hessian, Place
from trajscope.model.losses import at_work
from trajscope.model.mapping import loaded_state, map_parameters
from trajscope.model.memory import activation_bytes, exact_arithmetic
from trajscope.model.modes import difference_of_modes
from trajscope.model.problem import Problem
from trajscope.model.samples import Samples, n_samples_of
from trajscope.schema import TENSOR
from trajscope.theory.forward import Noise
from trajscope.theory.options import DIRECTIONS, Options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

N_PLACES: Final = 20
"""Checkpoints over which H and D are averaged: at the mean weights D is too small by a sixth, and
it differs from one place to the next."""
_HESSIAN_SAMPLES: Final = 20_000
_GRADIENT_SAMPLES: Final = 100_000
_MOST_BATCHES: Final = 100
"""At every checkpoint, of the noise."""
_FEWEST_BATCHES: Final = 4
_SHARPNESS_BATCHES: Final = 10
_VECTORS_HELD: Final = 16
"""Of the wanted number: basis, products, residuals, and copies."""


@dataclass(frozen=True)
class Subject:
    """What H and D are computed of; nothing of it is refused any more.

    Attributes
    ----------
    steps :
        Checkpoints over which they are averaged.
    mode :
        Of the network, as computed.
    differs :
        In words how the modes differ, where they do.
    batch_size, weight_decay :
        Of training.
    """

    problem: Problem
    checkpoints: Checkpoints
    gradients: Gradients
    samples: Samples
    options: Options
    steps: list[int | float]
    mode: str
    differs: str
    batch_size: int
    weight_decay: float

    @property
    def mixes(self) -> bool:
        """Whether the loss of a batch is not the mean of its samples' losses."""
        return bool(self.differs) and self.mode == "train"


@dataclass(frozen=True)
class Curvature:
    """What was found.

    Attributes
    ----------
    vectors : (direction, weight)
        Leading eigenvectors of H, in the order of the trajectory's weights.
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


def subject_of(
    problem: Problem,
    checkpoints: Checkpoints,
    options: Options,
    *,
    rows: tuple[int, int],
    batch_size: int,
    weight_decay: float,
) -> Subject:
    """The subject, checked: the checkpoints fit.

    Parameters
    ----------
    rows :
        Positions of the first and the last checkpoint of the window.

    Raises
    ------
    TrajscopeError
    """
    places = np.linspace(*rows, N_PLACES + 2)[1:-1].round().astype(int)
    steps = [checkpoints.steps[row].item() for row in np.unique(places)]
    arrays = checkpoints.read(steps[-1])
    mapping = map_parameters(problem.model, arrays, checkpoints.groups, problem.rename)
    n = n_samples_of(problem.data)
    samples = Samples(problem.data, np.arange(n), options.torch_device(), options.torch_dtype)
    gradients = Gradients(problem, mapping)
    with exact_arithmetic():
        differs = difference_of_modes(gradients, samples, arrays, batch_size)
    return Subject(
        problem, checkpoints, gradients, samples, options, steps, options.mode or "train", differs,
        batch_size, weight_decay,
    )  # fmt: skip


def refusal(subject: Subject) -> tuple[str, str] | None:
    """Code and detail of the guard that keeps H from being computed, where one does."""
    lacking = _lacking_memory(subject)
    if lacking:
        return "memory", lacking
    with computing(subject):
        try:
            _hessian(subject, stream=0).check()
        except OptionError as error:
            return "no_second_derivative", str(error)
    return None


@contextmanager
def computing(subject: Subject) -> "Iterator[None]":
    """The module in its mode, arithmetic exact, torch's random numbers kept."""
    import torch

    with ExitStack() as stack:
        stack.enter_context(at_work(subject.problem.model, subject.mode))
        stack.enter_context(exact_arithmetic())
        stack.enter_context(torch.random.fork_rng())
        yield


def curvature(subject: Subject, advance: Callable[[int], None]) -> Curvature:
    """Eigenvectors of H from some batches, H along them from others, and D.

    Parameters
    ----------
    advance :
        Called with the number of vectors that were multiplied.
    """
    with computing(subject):
        first, second = (_hessian(subject, stream=number) for number in (0, 1))
        like = next(iter(first.places[0].state.values())).new_empty(first.mapping.n_weights)

        def product(vectors: "Tensor") -> "Tensor":
            found = first.product(vectors)
            advance(len(vectors))
            return found

        found = leading_eigenvectors(product, like, _count(subject), seed=subject.options.seed)
        curvatures, errors = _along(second, found.vectors)
        noise = _noise(subject, found.vectors)
        sharpness = _batches_of_training(subject, _SHARPNESS_BATCHES, 3).batch_sharpness()
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
    )


def _count(subject: Subject) -> int:
    n_weights = subject.gradients.mapping.n_weights
    return min(DIRECTIONS, max(n_weights // 2, 1), _affordable(subject))


def _affordable(subject: Subject) -> int:
    n_weights = subject.gradients.mapping.n_weights
    per_vector = n_weights * subject.samples.dtype.itemsize * _VECTORS_HELD
    return int(subject.options.room() // max(2 * per_vector, 1))


def _lacking_memory(subject: Subject) -> str:
    """What there is too little of, in words."""
    if _affordable(subject) < 2:
        needed = 4 * subject.gradients.mapping.n_weights * subject.samples.dtype.itemsize
        return (
            f"Eigenvectors of the Hessian of {subject.gradients.mapping.n_weights:,} weights need "
            f"at least {needed * _VECTORS_HELD >> 20} MiB."
        )
    return ""


def _hessian(subject: Subject, *, stream: int) -> Hessian:
    """The Hessian at all places, from batches of one of several independent streams."""
    n, b = len(subject.samples), subject.batch_size
    per_place = (subject.options.samples or _HESSIAN_SAMPLES) // len(subject.steps)
    rng = np.random.default_rng([subject.options.seed, stream])
    rows: Sequence[NDArray[np.int64]]
    if subject.mixes:
        n_batches = max(per_place // b, _FEWEST_BATCHES)
        rows = [_drawn(rng, n, b, n_batches) for _ in subject.steps]
    else:
        wanted = min(per_place, n)
        parts = -(-wanted // _at_once(subject))
        size = wanted // parts
        rows = [
            _drawn(rng, n, wanted, 1)[0, : parts * size].reshape(parts, size) for _ in subject.steps
        ]
    return _at(subject, rows)


def _at(subject: Subject, rows: "Sequence[NDArray[np.int64]]") -> Hessian:
    mapping, samples = subject.gradients.mapping, subject.samples
    places = []
    for step, own in zip(subject.steps, rows, strict=True):
        arrays = subject.checkpoints.read(step)
        state = loaded_state(subject.problem.model, mapping, arrays, samples.device, samples.dtype)
        places.append(Place(state, own))
    seed = subject.options.seed
    return Hessian(subject.problem, mapping, samples, tuple(places), subject.weight_decay, seed)


def _at_once(subject: Subject) -> int:
    """Samples that are passed backward together, for all vectors of a block."""
    mapping, samples = subject.gradients.mapping, subject.samples
    arrays = subject.checkpoints.read(subject.steps[-1])
    state = loaded_state(subject.problem.model, mapping, arrays, samples.device, samples.dtype)
    with at_work(subject.problem.model, "eval"):
        each = activation_bytes(subject.gradients, state, samples.batch(0, 1))
    per_sample = max(each, 1) * 4 * DIRECTIONS
    return int(min(max(subject.options.room() // 4 // per_sample, 1), 2000))


def _drawn(
    rng: np.random.Generator, n_samples: int, size: int, n_batches: int
) -> NDArray[np.int64]:
    """Batches of different samples each, (batch, sample)."""
    rows = [rng.choice(n_samples, min(size, n_samples), replace=False) for _ in range(n_batches)]
    return np.stack(rows)


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
    least = max(4 * len(vectors) // len(subject.steps), _FEWEST_BATCHES)
    most = max(_GRADIENT_SAMPLES // (len(subject.steps) * b), least)
    n_batches = 2 * (min(most, max(_MOST_BATCHES, least)) // 2)
    hessian = _batches_of_training(subject, n_batches, 2)
    rows: list[list[Floats]] = [[] for _ in subject.steps]
    at_once = 1 if subject.mixes else max(_at_once(subject) * DIRECTIONS // b, 1)
    for number, gradients in hessian.gradients(at_once):
        rows[number].append((gradients @ vectors.T).double().cpu().numpy())
    found = np.empty((len(rows), 2, len(vectors), len(vectors)))
    for place, each in enumerate(rows):
        for half, part in enumerate(np.split(np.concatenate(each), 2)):
            centred = part - part.mean(axis=0)
            found[place, half] = variance_scale(n, b, len(part)) / len(part) * centred.T @ centred
    return Noise(found.mean(axis=0), np.diagonal(found.mean(axis=1), axis1=1, axis2=2))


def _batches_of_training(subject: Subject, n_batches: int, stream: int) -> Hessian:
    """The Hessian of so many batches of training's size at every place."""
    rng = np.random.default_rng([subject.options.seed, stream])
    n, b = len(subject.samples), subject.batch_size
    return _at(subject, [_drawn(rng, n, b, n_batches) for _ in subject.steps])


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
