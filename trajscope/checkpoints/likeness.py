"""Whether two candidates are checkpoints of one model, whatever its tensors are called."""

from collections import Counter
from collections.abc import Mapping

from trajscope.checkpoints.base import Candidate
from trajscope.checkpoints.composed import composed
from trajscope.checkpoints.sections import select
from trajscope.checkpoints.stored import Stored

Shape = tuple[int, ...]


class Models:
    """What models candidates hold; what files with one header hold is found out once."""

    def __init__(self) -> None:
        self._weights: dict[tuple[object, ...], Mapping[str, Shape]] = {}
        self._tables: dict[tuple[object, ...], dict[str, Shape]] = {}

    def equal(self, first: Candidate, second: Candidate) -> bool:
        """Whether two candidates hold arrays of the same names and shapes."""
        return self._table(first) == self._table(second)

    def alike(self, first: Candidate, second: Candidate) -> bool:
        """Whether the weights are those of one model, some of which may have been resized.

        At least half of them have the same names and shapes, or all have the same shapes.
        """
        one, other = self.weights(first), self.weights(second)
        if one is other:
            return True
        shared = sum(1 for name, shape in one.items() if other.get(name) == shape)
        if 2 * shared >= max(len(one), len(other)) > 0:
            return True
        return bool(one) and Counter(one.values()) == Counter(other.values())

    def weights(self, candidate: Candidate) -> Mapping[str, Shape]:
        """Names and shapes of the weights of a candidate."""
        key = _key(candidate)
        if key not in self._weights:
            arrays = {
                part.shown(name): Stored(index, name, spec)
                for index, part in enumerate(candidate.parts)
                for name, spec in part.header.tensors.items()
            }
            kept, _ = select([composed(arrays).arrays])[0] if arrays else ({}, {})
            self._weights[key] = {name: stored.spec.shape for name, stored in kept.items()}
        return self._weights[key]

    def _table(self, candidate: Candidate) -> dict[str, Shape]:
        key = _key(candidate)
        if key not in self._tables:
            self._tables[key] = {
                name: spec.shape
                for part in candidate.parts
                for name, spec in part.header.tensors.items()
            }
        return self._tables[key]


def _key(candidate: Candidate) -> tuple[object, ...]:
    """The same for candidates whose readers share the table of tensors, as for equal headers."""
    return tuple((id(part.header.tensors), part.prefix) for part in candidate.parts)
