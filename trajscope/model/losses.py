"""The loss of a batch, the module's own code kept to what gradients of single samples need."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from trajscope.errors import OptionError, printable
from trajscope.model.problem import Problem, blamed
from trajscope.model.samples import mapped

if TYPE_CHECKING:
    from torch import Tensor, nn

State = Mapping[str, "Tensor"]


def batch_loss(problem: Problem, state: State, batch: Any) -> "Tensor":
    """The mean loss of a batch at the weights in `state`, as a scalar.

    Raises
    ------
    OptionError
        As `own_loss`.
    """
    from torch.func import functional_call

    found: Tensor = functional_call(_module(problem), bound(state), (batch,))
    return found


def backward_through(problem: Problem, state: State, batch: Any) -> "Tensor":
    """The same, after a backward pass that leaves its gradients in the tensors of `state`.

    The pass lies within the call: a layer that runs again on the way back (activation
    checkpointing) still finds the weights in `state`, not those of the module.
    """
    from torch.func import functional_call

    found: Tensor = functional_call(_module(problem, backward=True), bound(state), (batch,))
    return found


def own_loss(problem: Problem, batch: Any) -> "Tensor":
    """The mean loss of a batch at the module's own weights, as a scalar.

    Raises
    ------
    OptionError
        The loss raises something, or is neither one number nor one per sample.
    """
    with blamed("The problem's loss"):
        loss: Any = problem.loss(problem.model, batch)
    shape = tuple(getattr(loss, "shape", ()))
    is_tensor = hasattr(loss, "is_floating_point")
    if not is_tensor or len(shape) > 1 or (shape and shape[0] != length(batch)):
        what = f" of shape {shape}" if is_tensor else f" ({printable(repr(loss), limit=40)})"
        raise OptionError(
            f"The problem's loss returned a {type(loss).__name__}{what} for a batch of "
            f"{length(batch)}; a tensor with one number, or with one number per sample, was "
            "expected."
        )
    if not loss.is_floating_point():
        raise OptionError(
            f"The problem's loss returned a tensor of {loss.dtype}; differentiable real numbers "
            "were expected. Is it the number of errors?"
        )
    mean: Tensor = loss.mean()
    return mean


def with_gradient(loss: "Tensor") -> "Tensor":
    """The loss, which depends on weights that have a gradient.

    Raises
    ------
    OptionError
        It does not.
    """
    if not loss.requires_grad:
        raise OptionError(
            "The problem's loss does not depend on the weights: it lacks a gradient. Is it "
            "detached, turned into a number with .item(), or computed under torch.no_grad()?"
        )
    return loss


def length(batch: Any) -> int:
    """How many samples a batch holds."""
    found: list[int] = []

    def note(tensor: "Tensor") -> "Tensor":
        found.append(len(tensor))
        return tensor

    mapped(batch, note)
    return found[0]


def each_sample(batch: Any) -> Iterator[Any]:
    """The samples of a batch one by one."""
    for position in range(length(batch)):
        yield mapped(batch, lambda tensor: tensor[position])  # noqa: B023 - used at once


def bound(state: State) -> dict[str, "Tensor"]:
    """`state` by the names that its tensors have in the module of model and loss."""
    return {f"model.{name}": tensor for name, tensor in state.items()}


@contextmanager
def at_work(model: "nn.Module", mode: str) -> Iterator[None]:
    """The module in "eval" or "train" mode, run as it is written, with dense gradients.

    Compiled code runs uncompiled, and embeddings give dense gradients instead of sparse ones, which
    torch cannot map over samples: the same numbers. Afterwards each part is as it was.
    """
    import torch

    modes = [(module, module.training) for module in model.modules()]
    # Of torch's own alone: elsewhere the word may mean another thing.
    embeddings = (torch.nn.Embedding, torch.nn.EmbeddingBag)
    sparse = [each for each in model.modules() if isinstance(each, embeddings) and each.sparse]
    with ExitStack() as stack:
        for module, was in modes:
            stack.callback(setattr, module, "training", was)
        for module in sparse:
            stack.callback(setattr, module, "sparse", True)
            module.sparse = False
        model.train(mode == "train")
        stack.enter_context(torch.compiler.set_stance("force_eager"))
        yield


def _module(problem: Problem, *, backward: bool = False) -> "nn.Module":
    """Model and loss as one module, whose weights can be exchanged for a call."""
    from torch import autograd, nn

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = problem.model

        def forward(self, batch: Any) -> "Tensor":
            loss = own_loss(problem, batch)
            if backward and loss.requires_grad:  # else it depends on none of those asked for
                autograd.backward(loss)
            return loss.detach() if backward else loss

    return Loss()
