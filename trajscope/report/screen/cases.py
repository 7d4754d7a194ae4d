"""Several cases on one screen: runs that were compared, or the windows of one."""

import os

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.cases import Row, overview
from trajscope.report.content.comparison import alike, not_compared, opening, pairs_found
from trajscope.report.content.laws import law_lines
from trajscope.report.content.numbers import counted
from trajscope.report.content.pooled import energy_in_words
from trajscope.report.screen.lines import (
    columns_within,
    console,
    fitted,
    in_ascii,
    labelled,
    shortened,
    shows_unicode,
)
from trajscope.schema import ALL_WEIGHTS, cases_of

_MOST_CASES, _MOST_PAIRS, _MOST_GUARDS = 12, 6, 3
_HEADS = ("verdict", "moved", "exponent", "variance", "PC 1, 2, 3")
_LONGEST = 400
_NAME, _WIDTHS = 24, (19, 8, 8, 8, 13)


def comparison_screen(
    results: xr.DataTree,
    *,
    page: str | os.PathLike[str] = "",
    width: int | None = None,
    unicode: bool | None = None,
) -> str:
    """One screen: a row for each run, differences between pairs of runs, what was not compared.

    `width` and `unicode` are as in `screen`.
    """
    output = console()
    columns = columns_within(output.width if width is None else width)
    version = printable(results.attrs["trajscope"], limit=20)
    refused = not_compared(results)
    most = 6 if len(_cases(results)) < 3 else 3
    notes = [
        *_of_pairs(results),
        *(("Law", text) for text in law_lines(results)[:_MOST_PAIRS]),
        ("", _more(len(law_lines(results)) - _MOST_PAIRS, "pair")),
        ("Energy", energy_in_words(results)),
        *(("Excluded", f"{each.who} ({each.groups}): {each.reason}") for each in
          refused[:_MOST_GUARDS]),
        ("", _more(len(refused) - _MOST_GUARDS, "exclusion")),
    ]  # fmt: skip
    lines = [
        *labelled([("Warning", text) for text in _much_left_out(results)], columns),
        f"trajscope {version}  {counted(len(_cases(results)), 'run')} compared, all weights",
        "",
        *case_lines(results, columns),
        "",
        opening(results).sentence,
        *(
            line
            for label, text in notes
            if text
            for line in shortened(labelled([(label, text)], columns), most)
        ),
    ]
    if page:
        lines.append(f"Report    {printable(os.fspath(page), limit=4096)}")
    shown = shows_unicode(output) if unicode is None else unicode
    return "\n".join(line if shown else in_ascii(line) for line in lines)


def case_lines(results: xr.DataTree, columns: int) -> list[str]:
    """A table with a row for all weights of every case."""
    rows = _cases(results)
    names = min(max(len(row.case) for row in rows), _NAME)
    lines = [_line("", _HEADS, names)]
    lines += [
        _line(
            fitted(row.case, names),
            (row.verdict, row.displacement, row.exponent, row.variance, row.components),
            names,
        )
        for row in rows[:_MOST_CASES]
    ]
    more = _more(len(rows) - _MOST_CASES, "case")
    return [line[:columns].rstrip() for line in [*lines, *([more] if more else [])]]


def _much_left_out(results: xr.DataTree) -> list[str]:
    """How much is left out of the model of a run, and why; what is equal is said once."""
    found = (case["trajectory"].attrs.get("much_left_out", "") for case in cases_of(results))
    return [printable(text, limit=_LONGEST) for text in dict.fromkeys(found) if text]


def _cases(results: xr.DataTree) -> list[Row]:
    return [row for row in overview(results) if row.group == ALL_WEIGHTS]


def _line(name: str, cells: tuple[str, ...], names: int) -> str:
    return f"{name:<{names}}" + "".join(
        f"  {cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)
    )


def _of_pairs(results: xr.DataTree) -> list[tuple[str, str]]:
    """What differs between every two runs; pairs of which the same is said together."""
    pairs = [("Found", f"{each.who}: {each.sentence}") for each in alike(pairs_found(results))]
    more = _more(len(pairs) - _MOST_PAIRS, "sentence")
    return [*pairs[:_MOST_PAIRS], ("", more)]


def _more(hidden: int, noun: str) -> str:
    return f"and {counted(hidden, f'more {noun}')}, see the report" if hidden > 0 else ""
