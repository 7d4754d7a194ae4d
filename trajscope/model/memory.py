"""What a backward pass through one sample holds, and exact arithmetic on any device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from trajscope.model.gradients import Gradients
from trajscope.model.losses import State

if TYPE_CHECKING:
    from torch import Tensor


def activation_bytes(gradients: Gradients, state: State, sample: Any) -> int:
    """Bytes that the forward pass of one sample keeps for the backward pass.

    Parameters
    ----------
    sample :
        A batch of one.
    """
    import torch

    own = {tensor.untyped_storage().data_ptr() for tensor in state.values()}
    seen: dict[int, int] = {}

    def note(tensor: "Tensor") -> "Tensor":
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    smallest = min(gradients.mapping.parameters, key=lambda parameter: parameter.size).name
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        gradients.one_by_one(state, sample, [smallest])
    return sum(seen.values())


@contextmanager
def exact_arithmetic() -> Iterator[None]:
    """Float32 products in float32: no shorter formats, which GPUs take for convolutions unasked."""
    import torch

    before = torch.get_float32_matmul_precision()
    convolutions = torch.backends.cudnn.allow_tf32
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
        torch.backends.cudnn.allow_tf32 = convolutions
