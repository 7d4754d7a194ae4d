"""A finished result on one screen."""

import math
import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.headline import blind_spots, headline, key_numbers
from trajscope.report.content.input import Omission, Reading, reading, step_word
from trajscope.report.content.numbers import counted, listed, number, percent
from trajscope.report.content.standings import Standing, standings, strongest
from trajscope.report.content.verdict import layers_in_words, verdict
from trajscope.report.screen.lines import (
    columns_within,
    console,
    fitted,
    in_ascii,
    labelled,
    sentences,
    shortened,
    shows_unicode,
    wrapped,
)
from trajscope.schema import GROUP

if TYPE_CHECKING:
    from rich.text import Text

_MOST_LINES = 30
_ROOM = ((4, 2), (4, 1), (2, 1), (2, 0), (1, 0))
"""Most lines of detail, and most warnings, from what is wished to what fits everywhere."""


def screen(
    results: xr.DataTree,
    *,
    page: str | os.PathLike[str] = "",
    told: xr.Dataset | None = None,
    width: int | None = None,
    unicode: bool | None = None,
) -> str:
    """One screen: what was read, the verdict, what could not have been seen, the tests.

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
    # As much as there is room for; warnings that are left out are counted.
    for detail, warnings in _ROOM:
        lines = [
            *(_what_was_read(results, seen, columns) if told is None else ()),
            *_headline(results, columns, detail),
            *_not_seen(results, columns),
            *_numbers(results, columns),
            *_margin_notes(results, seen, os.fspath(page), columns, warnings),
        ]
        if len(lines) <= _MOST_LINES:
            break
    text = Text()
    for place, line in enumerate(lines):
        text.append("\n" if place else "")
        for piece, style in line:
            text.append(piece if unicode else in_ascii(piece), style=style or None)
    text.rstrip()
    return text


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


def _headline(results: xr.DataTree, columns: int, most_detail: int) -> list[Line]:
    found = headline(results)
    badge = f" {found.word.upper()} "
    indent = " " * (len(badge) + 1)
    first, *rest = wrapped(found.sentence, columns, first=indent, rest=indent)
    return [
        ((badge, "bold reverse"), (first[len(badge) :], "bold")),
        *_styled(shortened(rest, 2), "bold"),
        *_styled(sentences(found.detail, columns, most_detail) if found.tested else []),
        *_styled(shortened(wrapped(found.caution, columns), 2)),
        _BLANK,
    ]


def _not_seen(results: xr.DataTree, columns: int) -> list[Line]:
    # The page gives the reason after the colon; the screen, where a line has room for it.
    spots = [
        spot if len(spot) <= columns - 3 else fitted(spot.split(":")[0], columns - 3)
        for spot in blind_spots(results)
    ]
    return [
        *_styled(["Could not have been seen"], "bold"),
        *_styled([f" · {spot}" for spot in spots]),
        _BLANK,
    ]


def _numbers(results: xr.DataTree, columns: int) -> list[Line]:
    judged = verdict(results)
    asked = standings(results["tests"].to_dataset(), judged.alpha) if judged else ()
    if judged is None or not asked:
        rows = [f"{row.name:<28}{row.value:>9}   {row.reference}" for row in key_numbers(results)]
        return [*_styled([fitted(row, columns) for row in rows]), _BLANK]
    cells = 10 if columns < 80 else 20
    head = f"{'null, and this run':<20}{f'{percent(1 - judged.alpha)} of draws':>{cells + 1}}"
    lines = _styled([f"{head:<{2 * cells + 22}}{'of edge':>8}{'p':>9}"], "bold")
    lines += [_standing(one, cells) for one in strongest(asked)]
    return [*lines, _BLANK]


def _standing(one: Standing, cells: int) -> Line:
    """A statistic as a dot on the band of its null, which ends at its edge."""
    band = ["─"] * cells + ["┤"] + [" "] * (cells + 1)
    if math.isfinite(one.ratio):
        # The median of the null is a quarter along the band.
        place = cells // 4 + one.ratio * (cells - cells // 4)
        beyond = one.ratio > 1
        nearest = round(place) if not beyond else max(round(place), cells + 1)
        band[min(max(nearest, 0), 2 * cells + 1)] = "◆" if one.spoke else "●"
    ratio = number(one.ratio, 2) if math.isfinite(one.ratio) else "unknown"
    style = "bold" if one.spoke else ""
    name = fitted(one.null, 19)
    return ((f"{name:<20}{''.join(band)}{ratio:>8}{f'{one.p_value:.2g}':>9}", style),)


def _margin_notes(
    results: xr.DataTree, seen: Reading, page: str, columns: int, most_warnings: int
) -> list[Line]:
    left = sum(len(one.names) for one in seen.left_out)
    skipped = sum(len(one.names) for one in seen.skipped)
    hidden = len(seen.warnings) - most_warnings
    notes = [
        ("Layers", _layers(results)),
        ("Left out", f"{counted(left, 'tensor')}: {_reasons(seen.left_out)}" if left else ""),
        ("Skipped", f"{counted(skipped, 'file')}: {_reasons(seen.skipped)}" if skipped else ""),
        *(("Warning", text) for text in seen.warnings[:most_warnings]),
        ("" if most_warnings else "Warnings", _more(hidden, most_warnings)),
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


def _more(hidden: int, shown: int) -> str:
    if hidden <= 0:
        return ""
    noun = "more warning" if shown else "warning"
    return f"{'and ' if shown else ''}{counted(hidden, noun)}, in the report"


def _layers(results: xr.DataTree) -> str:
    judged = layers_in_words(results)
    if judged:
        return judged
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


def _styled(lines: Iterable[str], style: str = "") -> list[Line]:
    return [((line, style),) for line in lines]
