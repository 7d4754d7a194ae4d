"""Files of one model that only a number in their names tells apart, without a word for shards."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations

from trajscope.checkpoints.base import Candidate
from trajscope.checkpoints.clocks import clocks_of
from trajscope.checkpoints.columns import columns_of
from trajscope.checkpoints.counters import Step
from trajscope.checkpoints.likeness import Models
from trajscope.errors import printable

_MOST = 1000


def with_shards_joined(pieces: Sequence[list[Candidate]], models: Models) -> list[list[Candidate]]:
    """The pieces of one pattern, made one if at each step they hold different tensors of a model.

    They do if no two of them share a tensor name, as files beside one another in a numbered folder
    ("hf_model_0001_0.pt" and "hf_model_0002_0.pt" at epoch 0). A checkpoint of which a piece lacks
    its file is damaged.
    """
    if not 1 < len(pieces) <= _MOST:
        return list(pieces)
    firsts = [next((each for each in piece if each.parts), None) for piece in pieces]
    names = [set(models.weights(first)) for first in firsts if first is not None]
    apart = all(one.isdisjoint(other) for one, other in combinations(names, 2))
    by_step = [_by_step(piece) for piece in pieces]
    if len(names) < len(pieces) or not all(names) or not apart or not all(by_step):
        return list(pieces)
    steps = sorted({step for own in by_step for step in own})
    return [[_whole([own.get(step) for own in by_step], step) for step in steps]]


def _by_step(piece: Sequence[Candidate]) -> dict[Step, Candidate]:
    """The candidates by what their names say is the step; nothing if they do not say."""
    sources = clocks_of(columns_of([candidate.name for candidate in piece])).sources
    if not sources or (sources[0].unit == "index" and not sources[0].words.startswith("number")):
        return {}
    pairs = zip(sources[0].values, piece, strict=True)
    found = {step: candidate for step, candidate in pairs if step is not None}
    return found if len(found) == len(piece) else {}


def _whole(shards: Sequence[Candidate | None], step: Step) -> Candidate:
    """The checkpoint at one step."""
    there = [shard for shard in shards if shard is not None]
    whole = replace(there[0], parts=tuple(part for shard in there for part in shard.parts))
    damage = next((shard.damage for shard in there if shard.damage), "")
    if len(there) < len(shards):
        damage = damage or (
            f"{printable(there[0].relative)} is one of {len(shards)} files of a checkpoint, but "
            f"only {len(there)} exist at step {step}. Copy the others, or leave it out with "
            "--exclude."
        )
    return replace(whole, parts=(), damage=damage) if damage else whole
