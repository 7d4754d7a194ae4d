"""What H and D are computed of: a problem at some checkpoints of the window, in training's mode."""

from collections.abc import Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import OptionError
from trajscope.model.checkpoints import Checkpoints
from trajscope.model.compute import Compute
from trajscope.model.gradients import Gradients
from trajscope.model.hessian import Hessian, Place
from trajscope.model.losses import at_work
from trajscope.model.mapping import loaded_state, map_parameters
from trajscope.model.memory import activation_bytes, exact_arithmetic
from trajscope.model.modes import difference_of_modes
from trajscope.model.problem import Problem
from trajscope.model.samples import Samples, n_samples_of

if TYPE_CHECKING:
    from collections.abc import Iterator

DIRECTIONS: Final = 50
"""Leading eigenvectors of H: currents need many planes, and 20 to 50 directions have enough."""
N_PLACES: Final = 20
"""Checkpoints over which H and D are averaged: at the mean weights D is too small by a sixth, and
it differs from one place to the next."""
_HESSIAN_SAMPLES: Final = 20_000
FEWEST_BATCHES: Final = 4
_SAME: Final = 1e-3
"""Relative, of gradients in float32, summed in another order."""
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
    mixes :
        Whether the loss of a batch is not the mean of its samples' losses: batch norm in train mode
        makes it so, or a loss that holds samples against each other.
    batch_size, weight_decay :
        Of training.
    """

    problem: Problem
    checkpoints: Checkpoints
    gradients: Gradients
    samples: Samples
    options: Compute
    steps: list[int | float]
    mode: str
    differs: str
    batch_size: int
    weight_decay: float
    mixes: bool


def subject_of(
    problem: Problem,
    checkpoints: Checkpoints,
    options: Compute,
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
    mode = options.mode or "train"
    alone = Subject(
        problem, checkpoints, gradients, samples, options, steps, mode, differs, batch_size,
        weight_decay, mixes=False,
    )  # fmt: skip
    return replace(alone, mixes=(differs != "" and mode == "train") or _mixes(alone))


def _mixes(subject: Subject) -> bool:
    """Whether the gradient of a batch is not the mean of those of its halves."""
    half = min(subject.batch_size, len(subject.samples)) // 2
    if not half:
        return False
    rows = np.arange(2 * half)
    last = replace(subject, steps=subject.steps[-1:])
    with computing(subject):
        ((_, whole),) = _at(last, [rows[None]]).gradients()
        try:
            parts = [each for _, each in _at(last, [rows.reshape(2, half)]).gradients()]
        except OptionError:  # half a batch may be too few for the loss
            return True
        apart = float((sum(parts) / 2 - whole).norm())
        return not apart <= _SAME * float(whole.norm())


def refusal(subject: Subject) -> tuple[str, str] | None:
    """Code and detail of the guard that keeps H from being computed, where one does.

    Raises
    ------
    OptionError
        The loss has no gradient.
    """
    lacking = _lacking_memory(subject)
    if lacking:
        return "memory", lacking
    with computing(subject):
        hessian = hessian_of(subject, stream=0)
        next(hessian.gradients())  # what the loss itself raises, goes on to the user
        try:
            hessian.check()
        except FloatingPointError as error:
            return "no_noise", str(error)
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


def n_directions(subject: Subject) -> int:
    """Leading eigenvectors that are looked for, as many as memory allows."""
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


def hessian_of(subject: Subject, *, stream: int) -> Hessian:
    """The Hessian at all places, from batches of one of several independent streams."""
    n, b = len(subject.samples), subject.batch_size
    per_place = max((subject.options.samples or _HESSIAN_SAMPLES) // len(subject.steps), 1)
    rng = np.random.default_rng([subject.options.seed, stream])
    rows: Sequence[NDArray[np.int64]]
    if subject.mixes:
        n_batches = max(per_place // b, FEWEST_BATCHES)
        rows = [_drawn(rng, n, b, n_batches) for _ in subject.steps]
    else:
        wanted = min(per_place, n)
        parts = -(-wanted // samples_at_once(subject))
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


def samples_at_once(subject: Subject) -> int:
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


def batches_of_training(subject: Subject, n_batches: int, stream: int) -> Hessian:
    """The Hessian of so many batches of training's size at every place."""
    rng = np.random.default_rng([subject.options.seed, stream])
    n, b = len(subject.samples), subject.batch_size
    return _at(subject, [_drawn(rng, n, b, n_batches) for _ in subject.steps])
