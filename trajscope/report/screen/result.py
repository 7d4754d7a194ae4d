"""A finished result on one screen."""

import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.headline import blind_spots, headline, key_numbers
from trajscope.report.content.input import Reading, reading, step_word
from trajscope.report.content.numbers import counted, exact, number, percent
from trajscope.report.content.phases import phases
from trajscope.report.content.standings import Standing, standings, strongest
from trajscope.report.content.verdict import UNUSED, verdict
from trajscope.report.screen.cases import case_lines, comparison_screen
from trajscope.report.screen.lines import (
    Line,
    columns_within,
    console,
    fitted,
    in_ascii,
    labelled,
    sentences,
    shortened,
    shows_unicode,
    styled,
    wrapped,
)
from trajscope.report.screen.margin import margin_notes
from trajscope.schema import cases_of, is_comparison

if TYPE_CHECKING:
    from rich.text import Text

_MOST_LINES = 30
_MOST_PHASES = 5
_BLANK: Line = ()
_ROOM = ((4, 2), (4, 1), (2, 1), (2, 0), (1, 0))
"""Most lines of detail, and most warnings, in order of preference."""


def screen(
    results: xr.DataTree,
    *,
    page: str | os.PathLike[str] = "",
    told: xr.Dataset | None = None,
    width: int | None = None,
    unicode: bool | None = None,
) -> str:
    """One screen: the input, the verdict, the detection limits, the tests.

    At most 30 lines of at most 100 columns, without trailing blanks. It is made for standard
    output: with bold, reverse and the terminal's own colours where that is a terminal, as plain
    text where it is a file or a pipe. The environment variable NO_COLOR leaves bold.

    Parameters
    ----------
    page :
        The report to point at; none when empty.
    told :
        The trajectory whose `reading_lines` were printed just before: they are not repeated.
    width :
        Columns; those of the terminal by default.
    unicode :
        Whether characters beyond ASCII can be shown; by default taken from the encoding of the
        output.
    """
    if is_comparison(results):
        return comparison_screen(results, page=page, width=width, unicode=unicode)
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
            *(_much_left_out(seen, columns) if told is None else ()),
            *(_what_was_read(results, seen, columns) if told is None else ()),
            *_headline(results, columns, detail),
            *_not_seen(results, columns),
            *_numbers(results, columns),
            *_windows(results, columns),
            *_phases(results, columns),
            *margin_notes(results, seen, os.fspath(page), columns, warnings),
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


def _untold(seen: Reading, told: Reading) -> Reading:
    """What `seen` knows of omissions and warnings beyond `told`."""
    return replace(
        seen,
        left_out=tuple(one for one in seen.left_out if one not in told.left_out),
        skipped=tuple(one for one in seen.skipped if one not in told.skipped),
        warnings=tuple(text for text in seen.warnings if text not in told.warnings),
    )


def _much_left_out(seen: Reading, columns: int) -> list[Line]:
    lines = labelled([("Warning", seen.first)], columns) if seen.first else []
    return styled(lines, "yellow") if lines else []


def _what_was_read(results: xr.DataTree, seen: Reading, columns: int) -> list[Line]:
    name = f"trajscope {printable(results.attrs['trajscope'], limit=20)}"
    place = fitted(seen.source, columns - len(name) - 2)
    steps = "" if seen.window.unit == "index" else f", {step_word(seen.window.unit)} {seen.steps}"
    read = f"{counted(seen.window.checkpoints, 'checkpoint')}{steps}; {seen.weights}, {seen.stored}"
    return [*styled([f"{name}  {place}", *shortened(wrapped(read, columns), 2)]), _BLANK]


def _headline(results: xr.DataTree, columns: int, most_detail: int) -> list[Line]:
    found = headline(results)
    badge = f" {found.word.upper()} "
    indent = " " * (len(badge) + 1)
    first, *rest = wrapped(found.sentence, columns, first=indent, rest=indent)
    return [
        ((badge, "bold reverse"), (first[len(badge) :], "bold")),
        *styled(shortened(rest, max(2, most_detail - 1)), "bold"),
        *styled(sentences(found.detail, columns, most_detail) if found.tested else []),
        *styled(shortened(wrapped(found.caution, columns), 2)),
        _BLANK,
    ]


def _not_seen(results: xr.DataTree, columns: int) -> list[Line]:
    # The page gives the reason after the colon; the screen, where a line has room for it.
    spots = [
        spot if len(spot) <= columns - 3 else fitted(spot.split(":")[0], columns - 3)
        for spot in blind_spots(results)
    ]
    return [
        *styled(["Not detectable in this window"], "bold"),
        *styled([f" · {spot}" for spot in spots]),
        _BLANK,
    ]


def _numbers(results: xr.DataTree, columns: int) -> list[Line]:
    decided = verdict(results)
    tests = results["tests"].to_dataset()
    found = standings(tests, decided.alpha) if decided else ()
    if decided is None or not found:
        rows = [f"{row.name:<28}{row.value:>9}   {row.reference}" for row in key_numbers(results)]
        return [*styled([fitted(row, columns) for row in rows]), _BLANK]
    cells = 10 if columns < 80 else 20
    share = f"{percent(1 - decided.alpha)} of null"
    head = f"{'null hypothesis':<20}{share:>{cells + 1}}"
    lines = styled([f"{head:<{2 * cells + 19}}{'/ critical':>11}{'p':>9}"], "bold")
    lines += [_standing(one, cells) for one in strongest(found)]
    return [*lines, _BLANK]


def _windows(results: xr.DataTree, columns: int) -> list[Line]:
    if not cases_of(results):
        return []
    head, *rows = case_lines(results, columns)
    return [*styled([head], "bold"), *styled(rows), _BLANK]


def _phases(results: xr.DataTree, columns: int) -> list[Line]:
    """A line for each of the first phases; the page has their sentences."""
    found = phases(results)
    if not found:
        return []
    rows = [
        f"{f'{exact(each.first)} to {exact(each.last)}':<22}{each.verdict:<22}{each.opens_with}"
        for each in found[:_MOST_PHASES]
    ]
    if len(found) > len(rows):
        rows.append(f"{len(found) - len(rows)} more on the page")
    return [
        *styled([f"{'phase, steps':<22}{'verdict of it alone':<22}begins with"], "bold"),
        *styled([fitted(row.replace("\u00a0", " "), columns) for row in rows]),
        _BLANK,
    ]


def _standing(one: Standing, cells: int) -> Line:
    """A statistic as a dot on the band of its null, which ends at the critical value."""
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
    p_value = f"{one.p_value:.2g}" if one.is_used else UNUSED
    return ((f"{name:<20}{''.join(band)}{ratio:>8}{p_value:>9}", style),)
