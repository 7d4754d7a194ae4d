"""A finished result as one self-contained page."""

import xarray as xr
from markupsafe import Markup

from trajscope.errors import printable
from trajscope.report.content.curves import Curves, curves
from trajscope.report.content.headline import blind_spots, headline, key_numbers
from trajscope.report.content.input import Reading, reading, step_word
from trajscope.report.content.layers import layers
from trajscope.report.content.numbers import exact, number, percent
from trajscope.report.content.verdict import Verdict, layers_in_words, verdict
from trajscope.report.figures.catalogue import FIGURES, in_order, known_processes_svg
from trajscope.report.figures.record import Columns, obstacle
from trajscope.report.page.environment import template
from trajscope.report.page.methods import frame, methods, timings
from trajscope.report.page.panels import panel, part_tables
from trajscope.report.page.phases import phases_section
from trajscope.report.page.sections import SECTIONS
from trajscope.report.page.windows import windows_section
from trajscope.schema import cases_of, check_results


def render(results: xr.DataTree) -> str:
    """The page: everything inline, nothing fetched, the same bytes for the same result.

    Names from files are escaped, control characters in them are shown as escapes. Scripts are
    allowed by their hash alone, and everything reads without them.

    Raises
    ------
    ResultsError
        `results` is not a finished result, or it cannot be said what its window could have shown.
    """
    check_results(results)
    measured = curves(results)
    judged = verdict(results)
    panels = [panel(place, plot, measured) for place, plot in enumerate(in_order(measured), 1)]
    seen = reading(results["trajectory"].to_dataset(), results.attrs.get("warnings", ()))
    sections = [(section, section.html(results)) for section in SECTIONS]
    parts = phases_section(results)
    windows = windows_section(results) if cases_of(results) else None
    return template("template.html").render(
        title=printable(seen.source),
        navigation=[
            ("verdict", "Verdict"),
            *([("phases", "Phases")] if parts else []),
            *([("windows", "Windows")] if windows else []),
            *(("read", "Read"), ("evidence", "Evidence"), ("layers", "Layers")),
            *((section.name, section.short) for section, _ in sections),
            ("methods", "Methods"),
        ],
        headline=headline(results),
        blind_spots=[spot[0].upper() + spot[1:] for spot in blind_spots(results)],
        key_numbers=key_numbers(results),
        gates=judged.gates if judged else (),
        share=percent(1 - judged.alpha) if judged else "",
        first=panels[0],
        panels=panels[1:],
        phases=parts,
        windows=windows,
        known=Markup(known_processes_svg()),
        facts=_facts(results, seen, measured),
        reading=seen,
        layers=layers(results),
        layers_summary=layers_in_words(results),
        sections=sections,
        methods=methods(results, seen),
        evidence=_evidence(judged) if judged else [],
        **frame(
            results,
            _tables(measured) | part_tables(results),
            [(plot.quantity, plot.definition) for plot in FIGURES],
            runs=windows is not None,
        ),
    )


def _tables(measured: Curves) -> dict[str, Columns]:
    return {
        plot.name: plot.columns(measured) for plot in FIGURES if obstacle(plot, measured) is None
    }


def _evidence(judged: Verdict) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), number(value)) for name, value in judged.evidence.items()]


def _facts(results: xr.DataTree, seen: Reading, measured: Curves) -> list[tuple[str, str]]:
    still = measured.number("n_weights") - measured.number("n_moving")
    zero = percent(measured.number("zero_increment_fraction"), 1)
    floor, rms = measured.number("rounding_floor"), measured.number("increment_rms")
    facts = [
        ("run", seen.run),
        ("checkpoints", f"{seen.window.checkpoints:,}"),
        ("numbered" if seen.window.unit == "index" else step_word(seen.window.unit), seen.steps),
        ("taken from", seen.step_source),
        ("also counted", "; ".join(seen.counts)),
        ("weights", f"{seen.weights}; {exact(still)} never change"),
        ("stored as", f"{seen.stored}; {zero} of increments are zero"),
        ("rounding", f"about {number(floor, 2)}, beside increments of {number(rms, 2)} (rms)"),
        ("format", seen.format),
        ("time", timings(results)),
    ]
    return [(name, value) for name, value in facts if value]
