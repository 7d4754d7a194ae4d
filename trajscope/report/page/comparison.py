"""The page of several runs side by side."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import xarray as xr
from markupsafe import Markup

from trajscope.errors import printable
from trajscope.report.content.cases import differences, label_of, overview
from trajscope.report.content.comparison import (
    PairFound,
    alike,
    not_compared,
    opening,
    p_in_words,
    pairs_found,
    verdicts_in_words,
)
from trajscope.report.content.curves import MOST_POINTS
from trajscope.report.content.headline import (
    Headline,
    KeyNumber,
    blind_spots,
    headline,
    key_numbers,
)
from trajscope.report.content.input import Omission, reading, step_word
from trajscope.report.content.laws import laws, trained
from trajscope.report.content.numbers import number
from trajscope.report.content.pooled import POOLED, energy_in_words, pooled, pooled_tests
from trajscope.report.figures import apart, joint
from trajscope.report.figures.overlay import (
    Overlay,
    drawn,
    hindrances,
    overlay_svg,
    overlay_title,
)
from trajscope.report.figures.overlays import OVERLAYS
from trajscope.report.figures.record import Columns
from trajscope.report.figures.runs import dashes_of, role_of
from trajscope.report.figures.several import Several, several
from trajscope.report.page.environment import template
from trajscope.report.page.folded import Folded, folded
from trajscope.report.page.joint import joint_panels
from trajscope.report.page.methods import frame, methods, timings
from trajscope.report.page.panels import Panel, absent, part_tables
from trajscope.schema import ALL_WEIGHTS, cases_of, check_results

_MOST_PAIRS: Final = 12
"""Pairs whose sentence is shown at once."""
_MOST_TESTS: Final = 400
"""Rows of tests on the page; all of them are in summary.json."""
_FEWEST_ROWS: Final = 50
"""Rows of a curve in the CSV, however many runs there are."""


@dataclass(frozen=True)
class Run:
    """A run: its colour in the figures, and what its own page would say first."""

    label: str
    colour: str
    dashes: str
    headline: Headline
    blind_spots: tuple[str, ...]
    key_numbers: tuple[KeyNumber, ...]
    facts: tuple[tuple[str, str], ...]
    left_out: tuple[Omission, ...]
    warnings: tuple[str, ...]


def render_comparison(results: xr.DataTree) -> str:
    """The page of runs that are compared: everything inline, nothing fetched.

    Raises
    ------
    ResultsError
        `results` is not a finished comparison.
    """
    check_results(results)
    cases = cases_of(results)
    runs = several(results)
    panels = list(_panels(results, runs))
    tests = differences(results)
    by_p = sorted(tests, key=lambda one: (one.group != ALL_WEIGHTS, one.p_value))
    has_pool = "ensemble" in results.children
    rows = max(4 * MOST_POINTS // max(len(cases), 4), _FEWEST_ROWS)
    return template("comparison.html").render(
        title=" · ".join(runs.labels[:4]) + (" …" if len(cases) > 4 else ""),
        navigation=[
            ("comparison", "Comparison"), ("overview", "Overview"), ("tests", "Tests"),
            ("laws", "Stationary laws"), ("evidence", "Evidence"), ("runs", "Runs"),
            ("methods", "Methods"),
        ],
        opening=opening(results),
        verdicts=verdicts_in_words(results),
        found=_findings(results),
        rows=folded(overview(results), lambda row: row.group == ALL_WEIGHTS),
        pooled=folded(pooled(results), lambda row: row.group == ALL_WEIGHTS) if has_pool else None,
        energy=energy_in_words(results),
        pooled_numbers=[heading for _, heading in POOLED],
        pooled_tests=pooled_tests(results) if has_pool else (),
        tests=folded(by_p, lambda one: one.group == ALL_WEIGHTS, most=_MOST_TESTS),
        quantities=list({one.quantity: one for one in tests}.values()),
        laws=folded(laws(results), lambda one: one.group == ALL_WEIGHTS, most=_MOST_TESTS),
        trained=trained(results),
        whole=ALL_WEIGHTS,
        number=number,
        p_in_words=p_in_words,
        not_compared=not_compared(results),
        panels=panels,
        runs=[_run(place, case) for place, case in enumerate(cases)],
        methods=_methods(results),
        evidence=(),
        csv_note="Of each curve figure.1 is that of the first run, figure.2 of the second.",
        **frame(
            results, {**_tables(runs), **part_tables(results)}, _definitions(), rows=rows, runs=True
        ),
    )  # fmt: skip


def _findings(results: xr.DataTree) -> Folded[PairFound]:
    """One sentence a pair, pairs of which the same is said together; all of them where not."""
    found = pairs_found(results)
    together = alike(found)
    shown = together[:_MOST_PAIRS]
    is_all = len(shown) == len(found)
    return Folded(shown, () if is_all else found[:_MOST_TESTS], len(found))


def _panels(results: xr.DataTree, runs: Several) -> Iterator[Panel]:
    yield from joint_panels(results)
    for place, overlay in enumerate(OVERLAYS, 3):
        yield _overlaid(place, overlay, runs)


def _overlaid(place: int, overlay: Overlay, runs: Several) -> Panel:
    missing = hindrances(overlay, runs)
    if not drawn(overlay, runs):
        return absent(str(place), overlay.plot, missing[0][1])
    caption = overlay.caption
    if missing:
        label, why = missing[0]
        more = f" And {len(missing) - 1} more." if len(missing) > 1 else ""
        caption = f"{caption} Not drawn: {label}. {why.reason}{more}"
    return Panel(
        number=str(place),
        name=overlay.plot.name,
        title=overlay_title(overlay, runs),
        svg=Markup(overlay_svg(overlay, runs)),
        caption=caption,
        compare=overlay.compare,
        obstacle=None,
    )


def _tables(runs: Several) -> Mapping[str, Columns]:
    return {
        f"{overlay.plot.name}.{place + 1}": overlay.plot.columns(runs.curves[place])
        for overlay in OVERLAYS
        for place in drawn(overlay, runs)
    }


def _definitions() -> list[tuple[str, str]]:
    curves = [(overlay.plot.quantity, overlay.plot.definition) for overlay in OVERLAYS]
    return [joint.DEFINITION, apart.DEFINITION, *curves]


def _run(place: int, case: xr.DataTree) -> Run:
    seen = reading(case["trajectory"].to_dataset(), case.attrs.get("warnings", ()))
    facts = (
        ("read from", seen.source),
        ("checkpoints", f"{seen.window.checkpoints:,}"),
        (step_word(seen.window.unit), seen.steps),
        ("weights", seen.weights),
        ("stored as", seen.stored),
        ("input fingerprint", printable(case.attrs.get("fingerprint", ""))),
    )
    dashes = dashes_of(place)
    return Run(
        label=label_of(case),
        colour=role_of(place),
        dashes=" ".join(f"{1.7 * length:g}" for length in dashes) if dashes else "none",
        headline=headline(case),
        blind_spots=tuple(spot[0].upper() + spot[1:] for spot in blind_spots(case)),
        key_numbers=key_numbers(case),
        facts=tuple((name, value) for name, value in facts if value),
        left_out=(*seen.left_out, *seen.skipped),
        warnings=(*filter(None, [seen.first]), *seen.warnings),
    )


def _methods(results: xr.DataTree) -> list[tuple[str, str]]:
    time = timings(results)
    return [*methods(results), *([("time", time)] if time else [])]
