"""How the tensors of a module may be called, and cut, in a checkpoint.

Every element of a module's tensors gets a number of its own. A naming says which numbers a stored
tensor of some name holds; the libraries' own ways to save are read off by saving the numbers.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from torch import Tensor, nn

_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)


@dataclass(frozen=True)
class Named:
    """A tensor of the module that a checkpoint may have to fill.

    Attributes
    ----------
    names :
        All of its names in the module, more than one where it is tied.
    first :
        The number of its first element.
    is_kept :
        Whether it may keep the module's own values where no checkpoint holds it: it is not trained,
        or belongs to a layer of which nothing is.
    """

    names: tuple[str, ...]
    tensor: "Tensor"
    first: int
    is_kept: bool

    @property
    def short_names(self) -> list[str]:
        """Without what wrappers add."""
        return list(unwrapped(self.names))

    @property
    def numbers(self) -> range:
        """Those of its elements."""
        return range(self.first, self.first + self.tensor.numel())


@dataclass(frozen=True)
class Stored:
    """What a stored tensor holds: the numbers of its elements, (weight,), and its shape."""

    numbers: "range | NDArray[np.int64]"
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Naming:
    """One way to name, and cut, the tensors of a module.

    Attributes
    ----------
    words :
        Whose way it is, as the end of a sentence; ``""`` for the module's own.
    tensors :
        By the name in a checkpoint.
    """

    words: str
    tensors: Mapping[str, Stored]


def named_tensors(model: "nn.Module") -> list[Named]:
    """Every parameter, and every floating-point buffer of the module's state, each once."""
    names: dict[int, list[str]] = {}
    tensors: dict[int, Tensor] = {}
    state = model.state_dict()
    buffers = [
        (name, buffer)
        for name, buffer in model.named_buffers(remove_duplicate=False)
        if name in state and buffer.is_floating_point() and buffer.numel()
    ]
    for name, tensor in [*model.named_parameters(remove_duplicate=False), *buffers]:
        names.setdefault(id(tensor), []).append(name)
        tensors[id(tensor)] = tensor
    found, first = [], 0
    for key, tensor in tensors.items():
        kept = not tensor.requires_grad and _is_frozen(model, names[key][0])
        found.append(Named(tuple(names[key]), tensor, first, kept))
        first += tensor.numel()
    return found


def namings(model: "nn.Module", named: Sequence[Named]) -> Iterator[Naming]:
    """The ways to name the module's tensors, the module's own first.

    A library that is not there, or whose way to save fails on numbers, has none.
    """
    own = {
        name: Stored(each.numbers, tuple(each.tensor.shape))
        for each in named
        for name in each.names
    }
    short = {name: own[raw] for name, raw in unwrapped(own).items()}
    yield Naming("", short)
    numbers = {id(each.tensor): each.numbers for each in named}
    for library in LIBRARIES:
        parts = {prefix: library.saved(part, numbers) for prefix, part in library.find(model)}
        parts = {prefix: part for prefix, part in parts.items() if part}
        for with_prefix in (True, False) if any(parts) else (True,):
            tensors = {
                (prefix if with_prefix else "") + name: stored
                for prefix, part in parts.items()
                for name, stored in part.items()
            }
            if tensors:
                yield Naming(f"as {library.name} writes them", {**short, **tensors})


def unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Names without what wrappers add, and the name as it was; as they are if two became one."""
    raw = list(names)
    short = [_WRAPPERS.sub("", name) for name in raw]
    return dict(zip(short if len(set(short)) == len(raw) else raw, raw, strict=True))


@dataclass(frozen=True)
class Library:
    """A library that saves a module's tensors under names of its own.

    Attributes
    ----------
    find :
        ``model -> (prefix, module)`` of the parts that it saves.
    save :
        ``(module, {name: numbers}) -> {name in the file: numbers}``.
    """

    name: str
    find: "Callable[[nn.Module], list[tuple[str, nn.Module]]]"
    save: "Callable[[Any, dict[str, Tensor]], Mapping[str, Tensor]]"

    def saved(self, part: "nn.Module", numbers: Mapping[int, range]) -> dict[str, Stored]:
        """What it writes, by the name in the file; nothing where it cannot write numbers."""
        import torch

        state = {
            name: torch.arange(here.start, here.stop).reshape(tensor.shape)
            for name, tensor in part.state_dict(keep_vars=True).items()
            for here in [numbers.get(id(tensor))]
            if here is not None
        }
        try:
            written = self.save(part, state)
        except Exception:  # another version of the library, or a module it has no rule for
            return {}
        return {
            name: Stored(_as_range(tensor.flatten().numpy()), tuple(tensor.shape))
            for name, tensor in written.items()
            if isinstance(tensor, torch.Tensor) and tensor.dtype == torch.int64
        }


def _transformers_parts(model: "nn.Module") -> "list[tuple[str, nn.Module]]":
    try:
        from transformers import PreTrainedModel
    except ImportError:
        return []
    found: list[tuple[str, nn.Module]] = []
    for name, module in model.named_modules():
        inside = any(name.startswith(prefix) for prefix, _ in found)
        if isinstance(module, PreTrainedModel) and not inside:
            found.append((f"{name}." if name else "", module))
    return found


def _transformers_save(model: Any, state: "dict[str, Tensor]") -> "Mapping[str, Tensor]":
    from transformers.core_model_loading import revert_weight_conversion

    found: Mapping[str, Tensor] = revert_weight_conversion(model, state)
    return found


def _peft_parts(model: "nn.Module") -> "list[tuple[str, nn.Module]]":
    try:
        from peft import PeftModel
    except ImportError:
        return []
    modules = model.named_modules()
    return [(f"{name}." if name else "", m) for name, m in modules if isinstance(m, PeftModel)]


def _peft_save(model: Any, state: "dict[str, Tensor]") -> "Mapping[str, Tensor]":
    from peft import get_peft_model_state_dict

    found: Mapping[str, Tensor] = get_peft_model_state_dict(
        model, state, adapter_name=model.active_adapter, save_embedding_layers=False
    )
    return found


LIBRARIES = (
    Library("transformers", _transformers_parts, _transformers_save),
    Library("peft", _peft_parts, _peft_save),
)


def _as_range(numbers: NDArray[np.int64]) -> "range | NDArray[np.int64]":
    """The same without an array where the numbers follow each other."""
    if len(numbers) and numbers[-1] - numbers[0] == len(numbers) - 1:
        first = int(numbers[0])
        if np.array_equal(numbers, np.arange(first, first + len(numbers))):
            return range(first, first + len(numbers))
    return numbers


def _is_frozen(model: "nn.Module", name: str) -> bool:
    """Whether a tensor's layer has parameters and none of them is trained."""
    layer = model.get_submodule(name.rpartition(".")[0])
    own = list(layer.parameters(recurse=False))
    return bool(own) and not any(parameter.requires_grad for parameter in own)
