"""Which elements of a checkpoint are which parameter of the user's module, strictly."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trajscope.errors import OptionError, printable
from trajscope.model.matching import (
    Arrays,
    Checkpoint,
    Match,
    Source,
    match,
    refusal,
    without_prefixes,
)
from trajscope.model.naming import Named, named_tensors, namings, unwrapped
from trajscope.model.problem import Rename, blamed

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


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
class ParameterMapping:
    """How a checkpoint fills a module.

    Attributes
    ----------
    parameters :
        Those that are trained, in the module's order but those of a group next to each other.
    sources :
        For each tensor that a checkpoint fills, by its first name in the module.
    shapes :
        Of the same, in the module.
    words :
        What was found under other names, and what keeps the module's own values, a sentence each.
    """

    parameters: tuple[Parameter, ...]
    sources: Mapping[str, Source]
    shapes: Mapping[str, tuple[int, ...]]
    words: tuple[str, ...] = ()

    @property
    def n_weights(self) -> int:
        """d, the number of weights that are trained."""
        return sum(parameter.size for parameter in self.parameters)


def map_parameters(
    model: "nn.Module", arrays: Arrays, groups: Mapping[str, str], rename: Rename | None = None
) -> ParameterMapping:
    """The places in `arrays` of everything that the module must be filled with.

    Parameters, and floating-point buffers that belong to the module's state (the running statistics
    of batch norm), all have to be there, but for what is not trained and in no checkpoint, such as
    the base of an adapter: that keeps the module's own values. Of tied parameters one name
    suffices. Names are compared without what wrappers add (``module.``, ``_orig_mod.``); where
    they differ, as transformers and peft write them, or without a beginning that all share.

    Parameters
    ----------
    arrays :
        By their names in the checkpoint: at least all of its weights.
    groups :
        For each name of a weight of the checkpoint, its group: these all have to fit.
    rename :
        As `Problem.rename`.

    Raises
    ------
    OptionError
        Something is missing, is left over or has another shape: all of it is listed.
    """
    named = named_tensors(model)
    if not any(each.tensor.requires_grad for each in named):
        raise OptionError(
            "No parameter of the problem's model is trainable: requires_grad is False for all. "
            "Set it to True for those that were trained."
        )
    names = unwrapped(arrays)
    names = names if rename is None else _renamed(names, rename)
    checkpoint = Checkpoint(arrays, names, frozenset(groups))
    ways = []
    for naming in namings(model, named):
        ways.append(naming)
        found = match(naming, checkpoint, named)
        if found.fits:
            return _mapping(found, named, groups)
    tried = [match(naming, checkpoint, named) for naming in ways]
    if not any(each.sources for each in tried):
        others = list(without_prefixes(ways[0], checkpoint, named))
        if len(others) == 1:
            return _mapping(others[0], named, groups)
    # The one that lacks least says why.
    words = refusal(min(tried, key=lambda each: each.n_faults))
    raise OptionError(f"{words}{_unknown(arrays, rename)}")


def loaded_state(
    model: "nn.Module",
    mapping: ParameterMapping,
    arrays: Arrays,
    device: "torch.device",
    dtype: "torch.dtype",
) -> "dict[str, Tensor]":
    """Every parameter and buffer of the module by name, with the values of a checkpoint.

    What no checkpoint fills (constants, counters, what is not trained) keeps the module's own
    value. Nothing of the module changes. Tied parameters are there once.
    """
    import torch

    state: dict[str, Tensor] = {}
    for name, own in [*model.named_parameters(), *model.named_buffers()]:
        if name in mapping.sources:
            values = mapping.sources[name].of(lambda stored: arrays[stored].reshape(-1))
            shaped = np.ascontiguousarray(values).reshape(mapping.shapes[name])
            tensor = torch.from_numpy(shaped)
        else:
            tensor = own.detach()
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        state[name] = tensor.to(device, kind, copy=True)
    return state


def _mapping(found: Match, named: "list[Named]", groups: Mapping[str, str]) -> ParameterMapping:
    trained = [each for each in named if each.tensor.requires_grad]
    parameters = [
        Parameter(name, tuple(each.tensor.shape), _group(name, found.sources[name], groups))
        for each in trained
        for name in each.names[:1]
    ]
    order = list(dict.fromkeys(parameter.group for parameter in parameters))
    parameters.sort(key=lambda parameter: order.index(parameter.group))
    words = [found.words] if found.words else []
    if found.kept:
        size = sum(len(each.numbers) for each in found.kept)
        words.append(
            f"{len(found.kept)} tensors ({size:,} numbers) that are not trained and not in the "
            "checkpoints keep the values of the problem's model."
        )
    shapes = {each.names[0]: tuple(each.tensor.shape) for each in named}
    return ParameterMapping(tuple(parameters), found.sources, shapes, tuple(words))


def _group(name: str, source: Source, groups: Mapping[str, str]) -> str:
    """The group that all stored parts have; of several, or unknown ones, the parameter's layer."""
    found = {groups.get(stored, "") for stored in source.names}
    only = found.pop() if len(found) == 1 else ""
    if only:
        return only
    name = source.names[0] if len(source.names) == 1 else name
    return name.rpartition(".")[0] or name


def _renamed(names: Mapping[str, str], rename: Rename) -> dict[str, str]:
    """By the name that `rename` gives, the name in the file."""
    new = {}
    for short, raw in names.items():
        if isinstance(rename, Mapping):
            new[raw] = rename.get(raw, rename.get(short, short))
        else:
            with blamed(f"The problem's rename of {printable(raw)!r}"):
                new[raw] = rename(raw)
    for raw, name in new.items():
        if not isinstance(name, str):
            raise OptionError(
                f"The problem's rename gives {printable(raw)!r} the name {printable(name)!r}, a "
                f"{type(name).__name__}; a string was expected."
            )
    twice = [name for name, count in Counter(new.values()).items() if count > 1]
    if twice:
        both = [raw for raw, name in new.items() if name == twice[0]]
        raise OptionError(
            f"The problem's rename gives {' and '.join(map(printable, both))} the same name, "
            f"{printable(twice[0])!r}; different names were expected."
        )
    return {name: raw for raw, name in new.items()}


def _unknown(arrays: Arrays, rename: Rename | None) -> str:
    """A sentence about names in a rename that the checkpoint does not have."""
    short = unwrapped(arrays)
    keys = list(rename) if isinstance(rename, Mapping) else []
    unknown = [name for name in keys if name not in short and name not in arrays]
    if not unknown:
        return ""
    return (
        f" The problem's rename has {len(unknown)} names that the checkpoint lacks, first "
        f"{printable(unknown[0])!r}: it maps names in the checkpoint to names in the model."
    )
