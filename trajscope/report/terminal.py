"""A finished result on one screen, and what was read in a few lines."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from trajscope.errors import printable
from trajscope.report.lines import (
    columns_within,
    console,
    fitted,
    in_ascii,
    labelled,
    shortened,
    shows_unicode,
    wrapped,
)
from trajscope.report.opening import blind_spots, headline, key_numbers
from trajscope.report.reading import Omission, Reading, reading, step_word
from trajscope.report.words import counted, listed, number
from trajscope.schema import GROUP

if TYPE_CHECKING:
    from rich.text import Text

_MOST_WARNINGS = 2
_MOST_REASONS = 5


def screen(
    results: xr.DataTree,
    *,
    page: str | os.PathLike[str] = "",
    told: xr.Dataset | None = None,
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
    told :
        The trajectory whose `reading_lines` stand right above: what they say is not said again.
    width :
        Columns; those of the terminal by default.
    unicode :
        Whether more than ASCII can be shown; by default what the encoding of the output says.
    """
    output = console()
    text = screen_text(
        results,
        page=page,
        told=told,
        width=output.width if width is None else width,
        unicode=shows_unicode(output) if unicode is None else unicode,
    )
    with output.capture() as shown:
        output.print(text, end="")
    return shown.get()


def screen_text(
    results: xr.DataTree,
    *,
    page: str | os.PathLike[str],
    told: xr.Dataset | None = None,
    width: int,
    unicode: bool,
) -> "Text":
    """The screen as styled text; the styles are bold, reverse, and names of ANSI colours."""
    from rich.text import Text

    columns = columns_within(width)
    seen = reading(results["trajectory"].to_dataset(), results.attrs.get("warnings", ()))
    if told is not None:
        seen = _untold(seen, reading(told))
    lines = [
        *(_what_was_read(results, seen, columns) if told is None else ()),
        *_headline(results, columns),
        *_not_seen(seen, columns),
        *_numbers(results),
        *_margin_notes(results, seen, os.fspath(page), columns),
    ]
    text = Text()
    for place, line in enumerate(lines):
        text.append("\n" if place else "")
        for piece, style in line:
            text.append(piece if unicode else in_ascii(piece), style=style or None)
    text.rstrip()
    return text


def reading_lines(
    trajectory: xr.Dataset, *, width: int | None = None, unicode: bool | None = None
) -> list[str]:
    """What was found and taken, what was left out and why, and every warning, as plain lines.

    Takes a trajectory as it was opened, or the part of a result; reads no weight. Omissions are
    grouped by reason, with counts and the first names. `width` and `unicode` are as in `screen`.
    """
    output = console()
    columns = columns_within(output.width if width is None else width)
    seen = reading(trajectory)
    found = counted(seen.window.checkpoints, "checkpoint")
    about = [
        ("Found", f"{found}, {seen.format}" if seen.format else found),
        ("Run", seen.run),
        ("Steps", seen.steps),
        ("From", seen.step_source),
        ("Taken", f"{seen.weights}, {seen.stored}"),
        *(("Left out", text) for text in _omissions(seen.left_out, "tensor")),
        *(("Skipped", text) for text in _omissions(seen.skipped, "file")),
        *(("Warning", text) for text in seen.warnings),
    ]
    lines = [seen.source, *labelled([(label, text) for label, text in about if text], columns)]
    if shows_unicode(output) if unicode is None else unicode:
        return lines
    return [in_ascii(line) for line in lines]


Line = tuple[tuple[str, str], ...]
"""Pieces of text, each with its rich style."""

_BLANK: Line = ()


def _untold(seen: Reading, told: Reading) -> Reading:
    """What `seen` knows of omissions and warnings beyond `told`."""
    return replace(
        seen,
        left_out=tuple(one for one in seen.left_out if one not in told.left_out),
        skipped=tuple(one for one in seen.skipped if one not in told.skipped),
        warnings=tuple(text for text in seen.warnings if text not in told.warnings),
    )


def _what_was_read(results: xr.DataTree, seen: Reading, columns: int) -> list[Line]:
    name = f"trajscope {printable(results.attrs['trajscope'], limit=20)}"
    place = fitted(seen.source, columns - len(name) - 2)
    steps = "" if seen.window.unit == "index" else f", {step_word(seen.window.unit)} {seen.steps}"
    read = f"{counted(seen.window.checkpoints, 'checkpoint')}{steps}; {seen.weights}, {seen.stored}"
    return [*_styled([f"{name}  {place}", *shortened(wrapped(read, columns), 2)]), _BLANK]


def _headline(results: xr.DataTree, columns: int) -> list[Line]:
    found = headline(results)
    badge = f" {found.word.upper()} "
    indent = " " * (len(badge) + 1)
    first, *rest = wrapped(found.sentence, columns, first=indent, rest=indent)
    return [
        ((badge, "bold reverse"), (first[len(badge) :], "bold")),
        *_styled(rest, "bold"),
        *_styled(wrapped(found.caution, columns)),
        _BLANK,
    ]


def _not_seen(seen: Reading, columns: int) -> list[Line]:
    # The page gives the reason after the colon; the screen has room for the length alone.
    spots = [spot.split(":")[0] for spot in blind_spots(seen.window)]
    bullets = [wrapped(spot, columns, first=" · ", rest="   ") for spot in spots]
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
    ]
    # One line each, two for a warning, keep the screen in its height; the page has all of it.
    lines = [
        line
        for label, text in notes
        if text
        for line in _styled(
            shortened(labelled([(label, text)], columns), 2 if label == "Warning" else 1),
            "yellow" if label == "Warning" else "",
        )
    ]
    # Whole, however long: a path that is cut cannot be opened.
    report = f"Report    {printable(page, limit=4096)}   {_timings(results)}".rstrip()
    return [*lines, *_styled([report] if page else [])]


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


def _omissions(found: Sequence[Omission], noun: str) -> list[str]:
    """One phrase for each of the first reasons, and one for all the others."""
    phrases = [
        f"{counted(len(one.names), noun)}, {one.reason}: {listed(one.names)}"
        for one in found[:_MOST_REASONS]
    ]
    names = [name for one in found[_MOST_REASONS:] for name in one.names]
    if names:
        others = counted(len(found) - _MOST_REASONS, "other reason")
        phrases.append(f"{counted(len(names), f'more {noun}')}, {others}: {listed(names)}")
    return phrases


def _styled(lines: Iterable[str], style: str = "") -> list[Line]:
    return [((line, style),) for line in lines]
