"""A run as its segments: stretches of candidates whose steps are counted in one way."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from trajscope.checkpoints.base import Candidate
from trajscope.checkpoints.clocks import Value
from trajscope.checkpoints.sources import Source

# Never part of a word: "schema" is none.
_AVERAGED = re.compile(r"(^|[-_./])(ema|swa|averaged?|teacher)(?![a-z])")


@dataclass(frozen=True)
class Segment:
    """Candidates whose steps have one source.

    Attributes
    ----------
    sources :
        Where their names say the step, the best first, in the order of the candidates.
    coordinates, amounts :
        As in `Clocks`.
    stage :
        The stage of training that they are, "" where there are none.
    """

    candidates: tuple[Candidate, ...]
    sources: tuple[Source, ...] = ()
    coordinates: Mapping[str, tuple[Value | None, ...]] = field(default_factory=dict)
    amounts: Mapping[str, tuple[Value | None, ...]] = field(default_factory=dict)
    stage: Value = ""

    def at(self, rows: Sequence[int]) -> "Segment":
        """The segment with only some of its candidates."""
        return Segment(
            tuple(self.candidates[row] for row in rows),
            tuple(source.at(rows) for source in self.sources),
            _rows_of(self.coordinates, rows),
            _rows_of(self.amounts, rows),
            self.stage,
        )


@dataclass(frozen=True)
class Run:
    """Segments that follow one another, or one store; `name` is what ``--run`` asks for.

    Attributes
    ----------
    trunk :
        Name of the run that this one branches off from, "" where it is no branch.
    parts :
        The names of the runs that were joined to this one.
    """

    name: str
    place: str
    pattern: str
    segments: tuple[Segment, ...]
    in_store: int = 0
    trunk: str = ""
    parts: tuple[str, ...] = ()

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Those of all segments."""
        return tuple(each for segment in self.segments for each in segment.candidates)

    @property
    def readable(self) -> int:
        """Number of checkpoints whose header could be read."""
        return self.in_store + sum(1 for candidate in self.candidates if candidate.parts)

    @property
    def is_average(self) -> bool:
        """Whether the files are averages of the weights by their name ("model_ema_*.pt")."""
        return names_average(self.place, self.pattern)


def names_average(place: str, pattern: str) -> bool:
    """Whether a pattern names averages of the weights."""
    return _AVERAGED.search(f"{place}/{pattern}".lower()) is not None


def _rows_of(
    columns: Mapping[str, tuple[Value | None, ...]], rows: Sequence[int]
) -> dict[str, tuple[Value | None, ...]]:
    return {name: tuple(values[row] for row in rows) for name, values in columns.items()}
