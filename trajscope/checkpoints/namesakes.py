"""Layers that are called as what trainers keep beside the model: ``opt_proj``, ``swa_attn``.

The name of a container says that it may hold an optimizer's state, an average or a trainer's own
state. What lies inside says whether it does: state follows the weights array by array, or has the
names that optimizers give; a layer has neither.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice

from trajscope.readers.base import TensorSpec, widened_dtype

Parts = tuple[str, ...]

# A hostile file may have many containers that are called so; outer ones are looked at first.
_MOST = 1000
_MOST_PARTNERS = 100
DEEPEST = 32
"""Levels of names at which something is called so; names may have thousands of them."""
_OF_LAYERS = re.compile(
    r"(.*_)?(weights?|bias(es)?|kernel|embeddings?|scale|offset|gamma|beta|[wb])(_?\w?\d+)?"
)
_OF_STATE = frozenset({
    "state", "states", "param_groups", "mu", "nu", "trace", "count", "inner_state", "inner_states",
    "inner_opt_state", "hyperparams", "slots", "slot_variables", "moments", "momentum", "velocity",
})  # fmt: skip
# What names of containers have besides that says nothing of whose state it is.
_GENERIC = frozenset({
    "model", "module", "net", "network", "params", "parameters", "param", "weights", "variables",
    "state", "states", "dict", "live", "online", "student", "base", "main", "shadow",
})  # fmt: skip
_STATEFUL = frozenset({
    "optimizer", "optimizers", "optim", "optims", "opt", "opts", "ema", "swa", "average",
    "averaged", "averaging", "teacher", "scheduler", "schedulers", "lr", "scaler", "grad", "amp",
    "random", "rng", "callbacks", "loops", "args", "config", "cfg", "epoch", "step",
})  # fmt: skip
# A teacher that is no average of the student is another network, and none that is trained.
_OTHER_NETWORK = "teacher"
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|\d+(?:\.\d+)?")
# The dot of a decay does not part the name of a section: "ema_0.999/fc.weight".
_BETWEEN = re.compile(r"/|(?<!(?<![\d.])0)\.|\.(?!\d+/)")


@dataclass(frozen=True)
class _Array:
    """An array by the parts of its name: those up to its container, and those below."""

    above: Parts
    below: Parts
    shape: tuple[int, ...]


def namesakes(
    specs: Mapping[str, TensorSpec], is_called_so: Callable[[str], bool]
) -> frozenset[Parts]:
    """Containers of layers that are called like state, by the parts of their names.

    Parameters
    ----------
    is_called_so :
        Whether one part of a name is that of a container of state.
    """
    inside: dict[Parts, list[_Array]] = defaultdict(list)
    outside: list[Parts] = []
    shapes: dict[Parts, tuple[int, ...]] = {}
    for raw, spec in specs.items():
        if widened_dtype(spec.dtype) is None:
            continue
        parts = parts_of(raw)
        shapes[parts] = spec.shape
        levels = parts[: min(len(parts) - 1, DEEPEST)]
        place = next((at for at, part in enumerate(levels) if is_called_so(part)), None)
        if place is None:
            outside.append(parts)
        elif spec.size > 1:
            inside[parts[: place + 1]].append(
                _Array(parts[: place + 1], parts[place + 1 :], spec.shape)
            )
    if not inside:
        return frozenset()
    containers = sorted(inside, key=len)[:_MOST]
    house = _House(shapes, outside, {each[:-1] for each in containers})
    return frozenset(each for each in containers if house.is_layer(each, inside[each]))


def parts_of(raw: str) -> Parts:
    """The parts of a stored name, between dots and slashes."""
    return tuple(_BETWEEN.split(raw))


class _House:
    """All arrays of a checkpoint, among which those of a container find what they follow."""

    def __init__(
        self,
        shapes: Mapping[Parts, tuple[int, ...]],
        outside: Collection[Parts],
        above: Collection[Parts],
    ) -> None:
        self.shapes = shapes
        self.ends = {(parts[-2:], shapes[parts]) for parts in outside if len(parts) > 1}
        self.beside: dict[tuple[Parts, Parts], dict[str, None]] = defaultdict(dict)
        depths = sorted({len(each) for each in above})
        for parts in shapes:
            for depth in depths:
                if depth < len(parts) - 1 and parts[:depth] in above:
                    self.beside[parts[:depth], own_words(parts[depth])][parts[depth]] = None
        self.is_empty = not outside

    def is_layer(self, container: Parts, arrays: list[_Array]) -> bool:
        """Whether these arrays, all of a container, are those of a layer and no state."""
        words = words_of(container[-1])
        own = own_words(container[-1])
        if _OTHER_NETWORK in words and (not own or any(len(a.below) > 1 for a in arrays)):
            return False
        if not own and self.is_empty:
            return False
        numbered = {array.below for array in arrays}
        for array in arrays:
            *path, leaf = array.below
            if not _OF_STATE.isdisjoint(array.below):
                return False
            of_keras = bool(own) and path[-1:] == ["vars"] and (*path, "0") in numbered
            if not of_keras and _OF_LAYERS.fullmatch(leaf.partition(":")[0]) is None:
                return False
        followed = sum(self.is_followed(array, own) for array in arrays)
        return 2 * followed < len(arrays)

    def is_followed(self, array: _Array, own: Parts) -> bool:
        """Whether an array has the name and shape of one that its container would follow."""
        above, name = array.above[:-1], array.above[-1]
        partners = [above] if not own else []
        partners += [
            (*above, other)
            for other in islice(self.beside.get((above, own), ()), _MOST_PARTNERS)
            if other != name and (own or _STATEFUL.isdisjoint(words_of(other)))
        ]
        if any(self.shapes.get((*each, *array.below)) == array.shape for each in partners):
            return True
        deep = len(array.below) > 1
        return not own and deep and (array.below[-2:], array.shape) in self.ends


@lru_cache(maxsize=2**16)
def own_words(name: str) -> Parts:
    """The words of a container's name, sorted, without those for state and for any network.

    A decay is none either: "ema_0.999".
    """
    return tuple(
        sorted(
            word
            for word in words_of(name)
            if word not in _STATEFUL and word not in _GENERIC and "." not in word
        )
    )


@lru_cache(maxsize=2**16)
def words_of(name: str) -> Parts:
    """The words of a name, in lower case: of "netG_ema" net, g and ema."""
    return tuple(word.lower() for word in _WORDS.findall(name))
