"""A finished result as one self-contained page."""

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import xarray as xr
from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from trajscope.errors import printable
from trajscope.report.content.curves import MOST_POINTS, Curves, curves
from trajscope.report.content.headline import blind_spots, headline, key_numbers
from trajscope.report.content.input import Reading, reading, step_word
from trajscope.report.content.layers import layers
from trajscope.report.content.numbers import exact, number, percent
from trajscope.report.content.summary import plain
from trajscope.report.content.verdict import Verdict, layers_in_words, verdict
from trajscope.report.figures.catalogue import FIGURES, caption, in_order, known_processes_svg, svg
from trajscope.report.figures.palette import declarations
from trajscope.report.figures.record import Obstacle, Plot, obstacle
from trajscope.report.page.sections import SECTIONS
from trajscope.schema import check_results

PAPER = (
    "P. Chaudhari, S. Soatto. Stochastic gradient descent performs variational inference, "
    "converges to limit cycles for deep networks. ICLR 2018. arXiv:1710.11029"
)


@dataclass(frozen=True)
class Panel:
    """A figure in its place on the page: drawn, or the reason why not.

    Attributes
    ----------
    svg :
        Our own drawing, hence safe to put on the page as it is; empty where there is an obstacle.
    """

    number: int
    name: str
    title: str
    svg: Markup
    caption: str
    compare: str
    obstacle: Obstacle | None


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
    panels = [_panel(place, plot, measured) for place, plot in enumerate(in_order(measured), 1)]
    seen = reading(results["trajectory"].to_dataset(), results.attrs.get("warnings", ()))
    script = _asset("script.js")
    return _template().render(
        title=printable(seen.source),
        headline=headline(results),
        blind_spots=[spot[0].upper() + spot[1:] for spot in blind_spots(results)],
        key_numbers=key_numbers(results),
        gates=judged.gates if judged else (),
        share=percent(1 - judged.alpha) if judged else "",
        first=panels[0],
        panels=panels[1:],
        known=Markup(known_processes_svg()),
        facts=_facts(results, seen, measured),
        reading=seen,
        layers=layers(results),
        layers_summary=layers_in_words(results),
        sections=[(section, section.html(results)) for section in SECTIONS],
        command=printable(results.attrs.get("command") or "", limit=2000),
        methods=_methods(results, seen),
        evidence=_evidence(judged) if judged else [],
        definitions=[(plot.quantity, plot.definition) for plot in FIGURES],
        paper=PAPER,
        version=printable(results.attrs["trajscope"]),
        embedded=Markup(_embedded(measured)),
        style=Markup(_stylesheet()),
        script=Markup(script),
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _panel(place: int, plot: Plot, measured: Curves) -> Panel:
    hindrance = obstacle(plot, measured)
    if hindrance is not None:
        title = f"{plot.quantity}: not drawn"
        return Panel(place, plot.name, title, Markup(""), "", "", hindrance)
    return Panel(
        number=place,
        name=plot.name,
        title=plot.title(measured),
        svg=Markup(svg(plot, measured)),
        caption=caption(plot, measured),
        compare=plot.compare,
        obstacle=None,
    )


def _evidence(judged: Verdict) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), number(value)) for name, value in judged.evidence.items()]


def _facts(results: xr.DataTree, seen: Reading, measured: Curves) -> list[tuple[str, str]]:
    still = measured.number("n_weights") - measured.number("n_moving")
    zero = percent(measured.number("zero_increment_fraction"), 1)
    floor, rms = measured.number("rounding_floor"), measured.number("increment_rms")
    facts = [
        ("run", seen.run),
        ("checkpoints", f"{seen.window.checkpoints:,}"),
        (step_word(seen.window.unit), seen.steps),
        ("taken from", seen.step_source),
        ("weights", f"{seen.weights}; {exact(still)} never move"),
        ("stored as", f"{seen.stored}; {zero} of increments are zero"),
        ("rounding", f"about {number(floor, 2)}, beside increments of {number(rms, 2)} (rms)"),
        ("format", seen.format),
        ("time", _timings(results)),
    ]
    return [(name, value) for name, value in facts if value]


def _methods(results: xr.DataTree, seen: Reading) -> list[tuple[str, str]]:
    told = results.attrs
    versions = _pairs(told.get("versions", {}), " ")
    rows = [
        ("trajscope", printable(told["trajscope"])),
        ("made", printable(told.get("created", ""))),
        ("with", versions),
        ("seed", printable(told.get("seed", ""))),
        ("options", _pairs(told.get("config", {}), " = ")),
        ("input fingerprint", printable(told.get("fingerprint", ""))),
        ("pass", printable(told.get("path", ""))),
        ("window", f"T = {seen.window.checkpoints:,}, n = {seen.window.checkpoints - 1:,}"),
    ]
    return [(name, value) for name, value in rows if value]


def _timings(results: xr.DataTree) -> str:
    seconds = results.attrs.get("timings", {})
    return ", ".join(
        f"{printable(name).removesuffix('_s')} {number(float(time), 2)} s"
        for name, time in seconds.items()
    )


def _pairs(values: Mapping[str, object], between: str) -> str:
    return ", ".join(f"{printable(k)}{between}{printable(v)}" for k, v in values.items())


def _embedded(measured: Curves) -> str:
    """The drawn curves as JSON that cannot end its script element."""
    tables = {
        plot.name: {
            name: [
                plain(float(f"{value:.6g}")) for value in column[:: -(-column.size // MOST_POINTS)]
            ]
            for name, column in plot.columns(measured).items()
        }
        for plot in FIGURES
        if obstacle(plot, measured) is None
    }
    text = json.dumps(tables, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _stylesheet() -> str:
    light, dark = declarations(dark=False), declarations(dark=True)
    return (
        f":root{{color-scheme:light;{light}}}"
        f':root[data-theme="dark"]{{color-scheme:dark;{dark}}}'
        "@media screen and (prefers-color-scheme:dark){"
        f':root:not([data-theme="light"]){{color-scheme:dark;{dark}}}}}'
        f"@media print{{:root,:root[data-theme]{{color-scheme:light;{light}}}}}"
        + _asset("style.css")
    )


@cache
def _template() -> Template:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(_asset("template.html"))


def _asset(name: str) -> str:
    return files("trajscope.report.page").joinpath(name).read_text(encoding="utf-8")
