"""Which array of a checkpoint is which parameter of the user's module, strictly."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import OptionError, printable

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

Arrays = Mapping[str, NDArray[np.floating]]

_WRAPPERS = re.compile(
    r"(?:^|(?<=\.))(?:module|_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\."
)
_LISTED = 8


@dataclass(frozen=True)
class Parameter:
    """A tensor that is trained, counted once however many names it has.

    Attributes
    ----------
    name :
        Its first name in the module.
    shape :
        As in the module.
    group :
        The name of the group of weights it belongs to.
    """

    name: str
    shape: tuple[int, ...]
    group: str

    @property
    def size(self) -> int:
        """Number of weights."""
        return int(np.prod(self.shape, dtype=np.int64))


@dataclass(frozen=True)
class Fit:
    """How a checkpoint fills a module.

    Attributes
    ----------
    parameters :
        Those that are trained, in the module's order but those of a group next to each other.
    sources :
        For each tensor that a checkpoint fills, by its name in the module, the name there.
    shapes :
        Of the same, in the module.
    """

    parameters: tuple[Parameter, ...]
    sources: Mapping[str, str]
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def n_weights(self) -> int:
        """d, the number of weights that are trained."""
        return sum(parameter.size for parameter in self.parameters)


def fit_module(model: "nn.Module", arrays: Arrays, groups: Mapping[str, str]) -> Fit:
    """The places in `arrays` of everything that the module must be filled with.

    Parameters that are trained or frozen, and floating-point buffers that belong to the module's
    state (the running statistics of batch norm) all have to be there. Of tied parameters one name
    suffices. Names are compared without what wrappers add: ``module.``, ``_orig_mod.``.

    Parameters
    ----------
    arrays :
        By their names in the checkpoint: at least all of its weights.
    groups :
        For each name of a weight of the checkpoint, its group: these all have to fit.

    Raises
    ------
    OptionError
        Something is missing, is left over or has another shape: all of it is listed.
    """
    stored = _unwrapped(arrays)
    sources: dict[str, str] = {}
    missing, wrong = [], []
    tensors = _tensors(model)
    for names, tensor in tensors:
        known = [stored[name] for name in _unwrapped(names) if name in stored]
        shapes = {arrays[name].shape for name in known}
        if not known:
            missing.append(names[0])
        elif shapes != {tuple(tensor.shape)}:
            found = " and ".join(str(shape) for shape in sorted(shapes))
            wrong.append(f"{names[0]} (module {tuple(tensor.shape)}, checkpoint {found})")
        elif any(not np.array_equal(arrays[known[0]], arrays[name]) for name in known[1:]):
            wrong.append(f"{' and '.join(names)} (one tensor in the module, two in the checkpoint)")
        else:
            sources[names[0]] = known[0]
    used = {name for names, _ in tensors for name in _unwrapped(names)}
    unexpected = [raw for name, raw in stored.items() if name not in used and raw in groups]
    if missing or unexpected or wrong:
        raise OptionError(_misfit(missing, unexpected, wrong, nothing_fits=not sources))
    parameters = tuple(
        Parameter(names[0], tuple(tensor.shape), _group(sources[names[0]], groups))
        for names, tensor in tensors
        if tensor.requires_grad
    )
    order = list(dict.fromkeys(parameter.group for parameter in parameters))
    parameters = tuple(sorted(parameters, key=lambda parameter: order.index(parameter.group)))
    if not parameters:
        raise OptionError(
            "No parameter of the problem's model is trained: requires_grad is false for all. "
            "Leave it true for those that training moved."
        )
    return Fit(parameters, sources, {names[0]: tuple(t.shape) for names, t in tensors})


def filled(
    model: "nn.Module", fit: Fit, arrays: Arrays, device: "torch.device", dtype: "torch.dtype"
) -> "dict[str, Tensor]":
    """Every parameter and buffer of the module by name, with the values of a checkpoint.

    What no checkpoint fills (constants, counters) keeps the module's own value. Nothing of the
    module changes. Tied parameters are there once.
    """
    import torch

    state: dict[str, Tensor] = {}
    everything = [*model.named_parameters(), *model.named_buffers()]
    for name, own in everything:
        if name in fit.sources:
            values = np.ascontiguousarray(arrays[fit.sources[name]]).reshape(fit.shapes[name])
            tensor = torch.from_numpy(values)
        else:
            tensor = own.detach()
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        state[name] = tensor.to(device, kind, copy=True)
    return state


def _tensors(model: "nn.Module") -> "list[tuple[list[str], Tensor]]":
    """Every tensor that a checkpoint has to fill, with all of its names in the module."""
    names: dict[int, list[str]] = defaultdict(list)
    tensors: dict[int, Tensor] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names[id(parameter)].append(name)
        tensors[id(parameter)] = parameter
    state = model.state_dict()
    for name, buffer in model.named_buffers(remove_duplicate=False):
        if name in state and buffer.is_floating_point() and buffer.numel():
            names[id(buffer)].append(name)
            tensors[id(buffer)] = buffer
    return [(names[key], tensor) for key, tensor in tensors.items()]


def _unwrapped(names: Iterable[str]) -> dict[str, str]:
    """Names without what wrappers add, and the name as it was; as they are if two became one."""
    raw = list(names)
    short = [_WRAPPERS.sub("", name) for name in raw]
    return dict(zip(short if len(set(short)) == len(raw) else raw, raw, strict=True))


def _group(stored: str, groups: Mapping[str, str]) -> str:
    """The group of a stored array; of one the trajectory does not have, its layer."""
    return groups.get(stored) or stored.rpartition(".")[0] or stored


def _misfit(
    missing: Sequence[str], unexpected: Sequence[str], wrong: Sequence[str], *, nothing_fits: bool
) -> str:
    parts = [
        f"{label} {len(names)}: {_listed(names)}"
        for label, names in (
            ("in the module but not in the checkpoint", missing),
            ("in the checkpoint but not in the module", unexpected),
            ("of another shape", wrong),
        )
        if names
    ]
    prefix = _common_prefix(unexpected)
    hint = "Does make_problem build the network that was trained?"
    if nothing_fits and prefix and prefix != _common_prefix(missing):
        hint = f"All those in the checkpoint begin with {printable(prefix)!r}: which part is it?"
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    if missing and all(name.endswith(statistics) for name in missing):
        hint += " A store made by 'trajscope pack' holds statistics only with --include '*'."
    return f"The checkpoint does not fit the problem's model: {'; '.join(parts)}. {hint}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")


def _common_prefix(names: Sequence[str]) -> str:
    firsts = {name.partition(".")[0] for name in names if "." in name}
    return f"{firsts.pop()}." if len(firsts) == 1 and all("." in name for name in names) else ""
