"""What the arrays of one checkpoint, seen together, say of one another: which are no weights."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from trajscope.checkpoints.averages import copies
from trajscope.checkpoints.namesakes import DEEPEST, Parts, namesakes, parts_of
from trajscope.checkpoints.neighbours import why_beside
from trajscope.checkpoints.optimizer_state import (
    OPTIMIZER_STATE,
    is_optimizer_word,
    optimizer_state,
)
from trajscope.checkpoints.reasons import CENTRE, of_section
from trajscope.readers.base import TensorSpec

_STATE = ("optim", "scheduler", "lr_scheduler")


@dataclass(frozen=True)
class Evidence:
    """What is known of arrays by their neighbours.

    Attributes
    ----------
    reasons :
        Why an array is no weight, by stored name.
    copies :
        For each array of an average, a teacher or a target network, the part that it copies.
    layers :
        Containers of layers that are called like state, by the parts of their names.
    """

    reasons: Mapping[str, str]
    copies: Mapping[str, str]
    layers: frozenset[Parts] = frozenset()

    def in_layer(self, raw: str) -> bool:
        """Whether an array belongs to a layer that is called like state."""
        return is_inside(raw, self.layers)


def evidence(specs: Mapping[str, TensorSpec]) -> Evidence:
    """What is known of the arrays of a checkpoint, by their stored names."""
    layers = namesakes(specs, _is_called_like_state)
    kept = optimizer_state(specs, {raw for raw in specs if is_inside(raw, layers)})
    model = {raw: spec for raw, spec in specs.items() if raw not in kept}
    found = copies(model)
    reasons = {raw: why for raw in model if (why := _why_first(raw, layers))}
    reasons |= why_beside(model) | dict.fromkeys(kept, OPTIMIZER_STATE)
    return Evidence(reasons | dict.fromkeys(found.centres, CENTRE), found.live, layers)


def is_inside(raw: str, containers: frozenset[Parts]) -> bool:
    """Whether an array lies in one of these containers."""
    if not containers:
        return False
    parts = parts_of(raw)
    deepest = min(len(parts) - 1, DEEPEST)
    return any(parts[:depth] in containers for depth in range(1, deepest + 1))


@lru_cache(maxsize=2**14)
def _is_called_like_state(part: str) -> bool:
    return bool(of_section(part)) or is_optimizer_word(part)


def _why_first(raw: str, layers: frozenset[Parts]) -> str:
    """Why an array is no weight by the first part of its dotted name."""
    first = parts_of(raw)[0] if raw.startswith(_STATE) else ""
    # "opt." may be a language model; as a section "opt" is the optimizer.
    return of_section(first) if first and not is_inside(raw, layers) else ""
