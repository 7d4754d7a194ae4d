"""A run that is still written, on one screen."""

from collections.abc import Sequence
from typing import Final

import xarray as xr

from trajscope.report.content.watched import seen
from trajscope.report.screen.lines import (
    Line,
    columns_within,
    console,
    fitted,
    in_ascii,
    shortened,
    shows_unicode,
    styled,
    wrapped,
)

_MARGIN: Final = 17  # "NaN or infinity  "


def watch_screen(state: xr.Dataset, *, page: str) -> str:
    """At most 30 lines: the verdict so far, the numbers, the latest alarms.

    Parameters
    ----------
    state :
        As `trajscope.analysis.watch.Watcher.look` gives it.
    page :
        Where the page is, or under which address.
    """
    from rich.text import Text

    output = console()
    columns, told = columns_within(output.width), seen(state)
    badge = f" {told.word.upper()} "
    first, *rest = wrapped(told.sentence, columns, first=" " * (len(badge) + 1))
    alarms = [(each.kind, f"{each.where}: {each.text}") for each in told.alarms[:4]]
    lines: list[Line] = [
        *styled([fitted(told.source, columns)]),
        (),
        ((badge, "bold reverse"), (first[len(badge) :], "bold")),
        *styled(shortened(rest, 3), "bold"),
        (),
        *styled(_noted(told.facts, columns)),
        *(((), *styled(_noted(alarms, columns), "yellow")) if alarms else ()),
        (),
        *styled([fitted(f"{'page':<{_MARGIN}}{page}", columns)]),
    ]
    text = Text()
    for place, line in enumerate(lines):
        text.append("\n" if place else "")
        for piece, style in line:
            shown = piece if shows_unicode(output) else in_ascii(piece)
            text.append(shown, style=style or None)
    with output.capture() as captured:
        output.print(text, end="")
    return captured.get()


def _noted(notes: Sequence[tuple[str, str]], columns: int) -> list[str]:
    """Each text in two lines at most, its name in the margin."""
    return [
        line
        for name, text in notes
        for line in shortened(
            wrapped(text, columns, first=f"{name:<{_MARGIN}}", rest=" " * _MARGIN), 2
        )
    ]
