"""A finished result on one screen, and what was read in a few lines."""

import os
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import xarray as xr

from trajscope.errors import printable
from trajscope.report.opening import blind_spots, headline, key_numbers
from trajscope.report.reading import Omission, Reading, reading, step_word
from trajscope.report.words import counted, listed, number
from trajscope.schema import GROUP

if TYPE_CHECKING:
    from rich.text import Text

FEWEST_COLUMNS, MOST_COLUMNS = 60, 100
_MARGIN = 10  # "Left out  "
_MOST_WARNINGS = 2

# What an encoding without Unicode gets instead; anything else there becomes a question mark.
_ASCII = str.maketrans({"·": "-", "−": "-", "…": "~", "√": "sqrt", "×": "x", "–": "-"})


def screen(
    results: xr.DataTree,
    *,
    page: str | os.PathLike[str] = "",
    width: int | None = None,
    unicode: bool | None = None,
) -> str:
    """One screen: what was read, the headline, what could not have been seen, the key numbers.

    At most 30 lines of at most 100 columns, without trailing blanks. It is made for standard
    output: with bold, reverse and the terminal's own colours where that is a terminal, as plain
    text where it is a file or a pipe. The environment variable NO_COLOR leaves bold.

    Parameters
    ----------
    page :
        The report to point at; none when empty.
    width :
        Columns; those of the terminal by default.
    unicode :
        Whether more than ASCII can be shown; by default what the encoding of the output says.
    """
    from rich.console import Console

    console = Console(markup=False, highlight=False, emoji=False, soft_wrap=True)
    if unicode is None:
        unicode = console.encoding.lower().startswith("utf")
    text = screen_text(
        results, page=page, width=console.width if width is None else width, unicode=unicode
    )
    with console.capture() as shown:
        console.print(text, end="")
    return shown.get()


def screen_text(
    results: xr.DataTree, *, page: str | os.PathLike[str], width: int, unicode: bool
) -> "Text":
    """The screen as styled text; the styles are bold, reverse, and names of ANSI colours."""
    from rich.text import Text

    columns = max(FEWEST_COLUMNS, min(width, MOST_COLUMNS))
    seen = reading(results["trajectory"].to_dataset(), results.attrs.get("warnings", ()))
    lines = [
        *_what_was_read(results, seen, columns),
        *_headline(results, columns),
        *_not_seen(seen, columns),
        *_numbers(results),
        *_margin_notes(results, seen, os.fspath(page), columns),
    ]
    text = Text()
    for place, line in enumerate(lines):
        text.append("\n" if place else "")
        for piece, style in line:
            text.append(piece if unicode else _ascii(piece), style=style or None)
    text.rstrip()
    return text


def reading_lines(trajectory: xr.Dataset, *, width: int = 80, unicode: bool = True) -> list[str]:
    """What was found and taken, what was left out and why, and every warning, as plain lines.

    Takes a trajectory as it was opened, or the part of a result; reads no weight. Omissions are
    grouped by reason, with counts and the first names.
    """
    seen = reading(trajectory)
    columns = max(FEWEST_COLUMNS, min(width, MOST_COLUMNS))
    found = counted(seen.window.checkpoints, "checkpoint")
    counted_only = seen.window.unit == "index"
    about = [
        ("Found", f"{found}, {seen.format}" if seen.format else found),
        ("Run", seen.run),
        ("Steps", seen.steps + ("" if counted_only else f" {step_word(seen.window.unit)}")),
        ("From", seen.step_source),
        ("Weights", f"{seen.weights}, {seen.stored}"),
        *(("Left out", _omission(one, "tensor")) for one in seen.left_out),
        *(("Skipped", _omission(one, "file")) for one in seen.skipped),
        *(("Warning", text) for text in seen.warnings),
    ]
    lines = [seen.source, *_labelled([(label, text) for label, text in about if text], columns)]
    return [line if unicode else _ascii(line) for line in lines]


Line = tuple[tuple[str, str], ...]
"""Pieces of text, each with its rich style."""

_BLANK: Line = ()


def _what_was_read(results: xr.DataTree, seen: Reading, columns: int) -> list[Line]:
    name = f"trajscope {printable(results.attrs['trajscope'], limit=20)}"
    place = _fitted(seen.source, columns - len(name) - 2)
    steps = "" if seen.window.unit == "index" else f", {step_word(seen.window.unit)} {seen.steps}"
    read = f"{counted(seen.window.checkpoints, 'checkpoint')}{steps}; {seen.weights}, {seen.stored}"
    return [*_styled([f"{name}  {place}", *_shortened(_wrapped(read, columns), 2)]), _BLANK]


def _headline(results: xr.DataTree, columns: int) -> list[Line]:
    found = headline(results)
    badge = f" {found.word.upper()} "
    indent = " " * (len(badge) + 1)
    first, *rest = _wrapped(found.sentence, columns, first=indent, rest=indent)
    return [
        ((badge, "bold reverse"), (first[len(badge) :], "bold")),
        *_styled(rest, "bold"),
        *_styled(_wrapped(found.caution, columns)),
        _BLANK,
    ]


def _not_seen(seen: Reading, columns: int) -> list[Line]:
    # The page gives the reason after the colon; the screen has room for the length alone.
    spots = [spot.split(":")[0] for spot in blind_spots(seen.window)]
    bullets = [_wrapped(spot, columns, first=" · ", rest="   ") for spot in spots]
    return [
        *_styled(["Could not have been seen"], "bold"),
        *_styled([line for bullet in bullets for line in bullet]),
        _BLANK,
    ]


def _numbers(results: xr.DataTree) -> list[Line]:
    head = f"{'':<28}{'this run':>10}{'random walk':>13}{'straight':>9}"
    rows = [
        f"{row.name:<28}{row.value:>10}{row.random_walk:>13}{row.straight_line:>9}"
        for row in key_numbers(results)
    ]
    return [*_styled([head], "bold"), *_styled(rows), _BLANK]


def _margin_notes(results: xr.DataTree, seen: Reading, page: str, columns: int) -> list[Line]:
    left = sum(len(one.names) for one in seen.left_out)
    skipped = sum(len(one.names) for one in seen.skipped)
    hidden = len(seen.warnings) - _MOST_WARNINGS
    notes = [
        ("Layers", _layers(results)),
        ("Left out", f"{counted(left, 'tensor')}: {_reasons(seen.left_out)}" if left else ""),
        ("Skipped", f"{counted(skipped, 'file')}: {_reasons(seen.skipped)}" if skipped else ""),
        *(("Warning", text) for text in seen.warnings[:_MOST_WARNINGS]),
        ("", f"and {counted(hidden, 'more warning')}, in the report" if hidden > 0 else ""),
        ("Report", f"{printable(page)}   {_timings(results)}".rstrip() if page else ""),
    ]
    # One line each, two for a warning, keep the screen in its height; the page has all of it.
    return [
        line
        for label, text in notes
        if text
        for line in _styled(
            _shortened(_labelled([(label, text)], columns), 2 if label == "Warning" else 1),
            "yellow" if label == "Warning" else "",
        )
    ]


def _layers(results: xr.DataTree) -> str:
    exponents = results["observables"]["diffusion_exponent"].isel({GROUP: slice(1, None)})
    exponents = exponents.dropna(GROUP)
    if exponents.sizes[GROUP] < 2:
        return ""
    ordered = exponents.sortby(exponents)
    low, high = ordered[0], ordered[-1]
    return (
        f"{ordered.sizes[GROUP]} groups; exponent {number(float(low), 2)} "
        f"({printable(low[GROUP].item(), limit=24)}) to {number(float(high), 2)} "
        f"({printable(high[GROUP].item(), limit=24)})"
    )


def _timings(results: xr.DataTree) -> str:
    seconds = results.attrs.get("timings", {})
    return ", ".join(
        f"{printable(name).removesuffix('_s')} {number(float(time), 2)} s"
        for name, time in seconds.items()
    )


def _reasons(omissions: Sequence[Omission]) -> str:
    return listed([one.reason for one in omissions])


def _omission(one: Omission, noun: str) -> str:
    return f"{counted(len(one.names), noun)}, {one.reason}: {listed(one.names)}"


def _labelled(notes: Iterable[tuple[str, str]], columns: int) -> list[str]:
    return [
        line
        for label, text in notes
        for line in _wrapped(text, columns, first=f"{label:<{_MARGIN}}", rest=" " * _MARGIN)
    ]


def _styled(lines: Iterable[str], style: str = "") -> list[Line]:
    return [((line, style),) for line in lines]


def _fitted(text: str, columns: int) -> str:
    """`text` with its middle cut out where it is too long: of a path both ends tell most."""
    if len(text) <= columns:
        return text
    tail = (columns - 1) // 2
    return f"{text[: columns - 1 - tail]}…{text[-tail:]}"


def _shortened(lines: list[str], most: int) -> list[str]:
    if len(lines) <= most:
        return lines
    return [*lines[: most - 1], f"{lines[most - 1][:-1].rstrip()}…"]


def _wrapped(text: str, columns: int, *, first: str = "", rest: str = "") -> list[str]:
    return textwrap.wrap(
        text, columns, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _ascii(line: str) -> str:
    return line.translate(_ASCII).encode("ascii", "replace").decode("ascii")
