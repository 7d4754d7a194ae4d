"""What the module itself gives for a few samples: loaded with the weights, one plain pass each."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from trajscope.errors import OptionError, printable
from trajscope.model.batches import Batches
from trajscope.model.gradients import dense_gradient
from trajscope.model.losses import State, each_sample, length, own_loss, with_gradient
from trajscope.model.mapping import ParameterMapping, loaded_state
from trajscope.model.matching import Arrays
from trajscope.model.problem import Problem, blamed
from trajscope.model.samples import MOST_LOOKED_AT, Samples, contents, mapped

if TYPE_CHECKING:
    from torch import Tensor, nn

_SAMPLES: Final = 3
_FEW_BATCHES: Final = 4
AT_ONCE: Final = 10_000_000
"""Weights whose gradients are compared together: all of a large model may not fit in memory."""


@dataclass(frozen=True)
class Few:
    """A few samples at the weights of a checkpoint, with what plain backward passes give."""

    problem: Problem
    state: State
    batch: Any
    of_batches: bool
    seed: int | None
    known: "dict[str, Tensor]" = field(default_factory=dict)

    def probe(self, names: Sequence[str]) -> None:
        """Pass the samples backward, and keep their gradients by some parameters."""
        self.known.update(self.expected(names))

    def expected(self, names: Sequence[str]) -> "dict[str, Tensor]":
        """The gradients of each sample by some parameters, (sample, weight)."""
        if names and self.known.keys() >= set(names):
            return {name: self.known[name] for name in names}
        n = length(self.batch)
        rows = {name: self.state[name].new_empty((n, self.state[name].numel())) for name in names}
        with loaded(self.problem.model, self.state) as parameters:
            for place, each in enumerate(each_sample(self.batch)):
                self.set_seed()
                _plain_backward(self.problem, self.as_batch(each), parameters.values())
                for name in names:
                    rows[name][place] = dense_gradient(parameters[name]).flatten()
        return rows

    def batches(self, *, one_by_one: bool) -> Iterator[Any]:
        """All of them together, or each as the only one."""
        if not one_by_one:
            yield self.batch
            return
        for each in each_sample(self.batch):
            yield mapped(each, lambda tensor: tensor[None])

    def as_batch(self, sample: Any) -> Any:
        """A sample as the loss takes it."""
        return sample if self.of_batches else mapped(sample, lambda tensor: tensor[None])

    def set_seed(self) -> None:
        """Let the module draw the same random numbers again."""
        import torch

        if self.seed is not None:
            torch.manual_seed(self.seed)


@contextmanager
def loaded(model: "nn.Module", state: State) -> "Iterator[dict[str, nn.Parameter]]":
    """The module itself with other weights and buffers; afterwards with its own again.

    Parameters
    ----------
    state :
        By name, as `mapping.loaded_state` makes it.

    Yields
    ------
    dict
        The module's parameters by name, those that are tied once.
    """
    parameters = dict(model.named_parameters())
    tensors = {**parameters, **dict(model.named_buffers())}
    before = {name: (tensor.data, tensor.grad) for name, tensor in tensors.items()}
    try:
        for name, tensor in tensors.items():
            tensor.grad = None
            tensor.data = state[name].clone()
        yield parameters
    finally:
        for name, (data, gradient) in before.items():
            tensors[name].grad = None
            tensors[name].data = data
            tensors[name].grad = gradient


def _plain_backward(problem: Problem, batch: Any, parameters: "Iterable[nn.Parameter]") -> None:
    """One backward pass of the module as it is, after older gradients are removed."""
    import torch

    for parameter in parameters:
        parameter.grad = None
    loss = with_gradient(own_loss(problem, batch))
    with blamed("The backward pass of the problem's loss"):
        torch.autograd.backward(loss)


def few_samples(
    problem: Problem,
    mapping: ParameterMapping,
    arrays: Arrays,
    samples: Samples | Batches,
    seed: int | None,
) -> Few:
    """Samples from the start, the middle and the end, in float64 where the module can.

    Raises
    ------
    OptionError
        The data changes from one reading to the next, or the module itself cannot be passed
        backward.
    """
    import torch

    last = len(samples) - 1
    positions = sorted({0, last // 2, last})[:_SAMPLES]
    most = _FEW_BATCHES if isinstance(samples, Batches) else MOST_LOOKED_AT
    if contents(samples, most) != contents(samples, most):
        raise OptionError(
            "The problem's data returns a different sample each time the same index is read. "
            "Every gradient is needed more than once: remove random augmentation, or seed its "
            "generator with the index."
        )
    # What is compared anyway is kept, unless it is a large model's.
    small = mapping.n_weights <= AT_ONCE // 5
    some = [each.name for each in mapping.parameters if small]
    for dtype in dict.fromkeys((torch.float64, samples.dtype)):
        few = Few(
            problem,
            loaded_state(problem.model, mapping, arrays, samples.device, dtype),
            samples.of_dtype(dtype).picked(positions),
            isinstance(samples, Batches),
            seed,
        )
        try:
            few.probe(some)
        except OptionError:
            if dtype == samples.dtype:
                _explain_batch_norm(problem.model)
                raise
        else:
            break
    return few


def _explain_batch_norm(model: "nn.Module") -> None:
    """Refuse in words where batch norm is what makes a sample alone impossible."""
    names = normalised_by_batch(model)
    if names and not model.training:
        raise OptionError(
            f"Layer {printable(names[0])!r} of the problem's model lacks running statistics, so "
            "it normalises by the batch in eval mode too, and the gradient of a single sample is "
            "undefined. Use --mode train and --batch-size, which take batches of training as "
            "samples."
        )


def normalised_by_batch(model: "nn.Module") -> list[str]:
    """Names of the layers that normalise by the batch in eval mode too."""
    from torch.nn.modules.batchnorm import _BatchNorm

    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm) and module.running_mean is None
    ]
