"""The section of the page about phases of the run."""

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.numbers import exact
from trajscope.report.content.phases import phases
from trajscope.report.figures.windows import PHASES
from trajscope.report.page.environment import template
from trajscope.report.page.panels import part_panel


def phases_section(results: xr.DataTree) -> Markup | None:
    """HTML of the section; `None` where the verdict names no phases."""
    found = phases(results)
    if not found:
        return None
    rows = [(f"{exact(each.first)} to {exact(each.last)}", each) for each in found]
    return Markup(
        template("phases.html")
        .render(
            panel=part_panel("", PHASES, results),
            rows=rows,
        )
        .rstrip()
    )
