"""The lines below the numbers on the screen: layers, omissions, warnings, the report."""

from collections.abc import Sequence
from typing import Final

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.input import Omission, Reading
from trajscope.report.content.numbers import counted, listed, number
from trajscope.report.content.verdict import layers_in_words
from trajscope.report.screen.lines import Line, labelled, shortened, styled
from trajscope.schema import GROUP

_STRESSED: Final = ("Audit", "Warning")


def margin_notes(
    results: xr.DataTree, seen: Reading, page: str, columns: int, most_warnings: int
) -> list[Line]:
    """Notes with their labels in the margin, one line each, and where the report is."""
    left = sum(len(one.names) for one in seen.left_out)
    skipped = sum(len(one.names) for one in seen.skipped)
    hidden = len(seen.warnings) - most_warnings
    notes = [
        ("Layers", _layers(results)),
        ("Left out", f"{counted(left, 'tensor')}: {_reasons(seen.left_out)}" if left else ""),
        ("Skipped", f"{counted(skipped, 'file')}: {_reasons(seen.skipped)}" if skipped else ""),
        ("Audit", _findings(seen)),
        *(("Warning", text) for text in seen.warnings[:most_warnings]),
        ("" if most_warnings else "Warnings", _more(hidden, most_warnings)),
    ]
    # One line each, two for what spoils a run, keep the screen in its height; the page has all.
    lines = [
        line
        for label, text in notes
        if text
        for line in styled(
            shortened(labelled([(label, text)], columns), 2 if label in _STRESSED else 1),
            "yellow" if label in _STRESSED else "",
        )
    ]
    # Whole, however long: a path that is cut cannot be opened.
    report = f"Report    {printable(page, limit=4096)}   {_timings(results)}".rstrip()
    return [*lines, *styled([report] if page else [])]


def _findings(seen: Reading) -> str:
    if not seen.audit:
        return ""
    return f"{counted(len(seen.audit), 'finding')}: {seen.audit[0]}"


def _more(hidden: int, shown: int) -> str:
    if hidden <= 0:
        return ""
    noun = "more warning" if shown else "warning"
    return f"{'and ' if shown else ''}{counted(hidden, noun)}, see the report"


def _layers(results: xr.DataTree) -> str:
    decided = layers_in_words(results)
    if decided:
        return decided
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
