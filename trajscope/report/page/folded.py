"""A table that may be long: the rows shown at once, and all of them where those are not all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

MOST_ROWS: Final = 40
"""With more rows than this the others unfold."""

Row = TypeVar("Row")


@dataclass(frozen=True)
class Folded(Generic[Row]):
    """Rows of a table.

    Attributes
    ----------
    all :
        What unfolds; empty where all rows are shown.
    total :
        How many rows there are; not all of a very long table are on the page.
    """

    shown: tuple[Row, ...]
    all: tuple[Row, ...]
    total: int


def folded(rows: Sequence[Row], is_main: Callable[[Row], bool], *, most: int = 2000) -> Folded[Row]:
    """All rows if they are few, else the main ones; at most so many unfold."""
    if len(rows) <= MOST_ROWS:
        return Folded(tuple(rows), (), len(rows))
    return Folded(tuple(filter(is_main, rows))[:MOST_ROWS], tuple(rows[:most]), len(rows))
