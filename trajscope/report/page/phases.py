"""The section of the page about phases of the run."""

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.numbers import exact
from trajscope.report.content.phases import phases
from trajscope.report.figures.windows import timeline_of_phases, timeline_svg, timeline_title
from trajscope.report.page.environment import template


def phases_section(results: xr.DataTree) -> Markup | None:
    """HTML of the section; `None` where the verdict names no phases."""
    found = phases(results)
    if not found:
        return None
    drawn = timeline_of_phases(results)
    rows = [(f"{exact(each.first)} to {exact(each.last)}", each) for each in found]
    return Markup(
        template("phases.html")
        .render(
            title=timeline_title(drawn),
            svg=Markup(timeline_svg(drawn) if drawn.moves else ""),
            rows=rows,
        )
        .rstrip()
    )
