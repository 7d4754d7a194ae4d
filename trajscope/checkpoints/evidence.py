"""What the arrays of one checkpoint, seen together, say of one another: which are no weights."""

from collections.abc import Mapping
from dataclasses import dataclass

from trajscope.checkpoints.averages import copies
from trajscope.checkpoints.neighbours import why_beside
from trajscope.checkpoints.optimizer_state import OPTIMIZER_STATE, optimizer_state
from trajscope.checkpoints.reasons import CENTRE
from trajscope.readers.base import TensorSpec


@dataclass(frozen=True)
class Evidence:
    """What is known of arrays by their neighbours.

    Attributes
    ----------
    reasons :
        Why an array is no weight, by stored name.
    copies :
        For each array of an average, a teacher or a target network, the part that it copies.
    """

    reasons: Mapping[str, str]
    copies: Mapping[str, str]


def evidence(specs: Mapping[str, TensorSpec]) -> Evidence:
    """What is known of the arrays of a checkpoint, by their stored names."""
    kept = optimizer_state(specs)
    model = {raw: spec for raw, spec in specs.items() if raw not in kept}
    found = copies(model)
    reasons = why_beside(model) | dict.fromkeys(kept, OPTIMIZER_STATE)
    return Evidence(reasons | dict.fromkeys(found.centres, CENTRE), found.live)
