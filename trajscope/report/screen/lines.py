"""Lines of text for a terminal: wrapped, labelled, shortened, and in ASCII if necessary."""

import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_FEWEST_COLUMNS, _MOST_COLUMNS = 60, 100
_MARGIN = 10  # "Left out  "

# What an encoding without Unicode gets instead; anything else there becomes a question mark.
_ASCII = str.maketrans(
    {"·": "-", "−": "-", "…": "~", "√": "sqrt ", "×": "x", "–": "-", "─": "-", "┤": "|", "●": "o"}
    | {"◆": "#", "α": "alpha", "ε": "eps", "η": "eta", "²": "^2"}
)


Line = tuple[tuple[str, str], ...]
"""Pieces of text, each with its rich style."""


def console() -> "Console":
    """Standard output as rich sees it: its width, its colours, its encoding."""
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False, soft_wrap=True)


def columns_within(width: int) -> int:
    """Columns to fill on a terminal of `width`: longer lines are hard to read."""
    return max(_FEWEST_COLUMNS, min(width, _MOST_COLUMNS))


def shows_unicode(output: "Console") -> bool:
    """Whether the encoding of `output` certainly covers more than ASCII."""
    return output.encoding.lower().startswith("utf")


def in_ascii(line: str) -> str:
    """`line` with the package's own signs in ASCII, and a question mark for any other."""
    return line.translate(_ASCII).encode("ascii", "replace").decode("ascii")


def labelled(notes: Iterable[tuple[str, str]], columns: int) -> list[str]:
    """Lines with each label in the margin, once, and its text beside it."""
    return [
        line
        for label, text in notes
        for line in wrapped(text, columns, first=f"{label:<{_MARGIN}}", rest=" " * _MARGIN)
    ]


def fitted(text: str, columns: int) -> str:
    """`text` without its middle if it is too long: both ends of a path are informative."""
    if len(text) <= columns:
        return text
    tail = (columns - 1) // 2
    return f"{text[: columns - 1 - tail]}…{text[-tail:]}"


def shortened(lines: list[str], most: int) -> list[str]:
    """The first lines, and a sign where more were cut."""
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"{lines[most - 1][:-1].rstrip()}…"]


def sentences(text: str, columns: int, most: int) -> list[str]:
    """Lines of as many whole sentences as fit; of the first, where it is too long, a part."""
    kept = text
    while len(wrapped(kept, columns)) > most and ". " in kept:
        kept = kept[: kept.rindex(". ") + 1]
    return shortened(wrapped(kept, columns), most)


def wrapped(text: str, columns: int, *, first: str = "", rest: str = "") -> list[str]:
    """`text` in lines of so many columns, with what the first and the others start with."""
    return textwrap.wrap(
        text, columns, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def styled(lines: Iterable[str], style: str = "") -> list[Line]:
    """Each line as one piece in a style."""
    return [((line, style),) for line in lines]
