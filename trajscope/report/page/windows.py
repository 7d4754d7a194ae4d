"""The section of the page about windows of the run."""

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.cases import overview
from trajscope.report.figures.windows import timeline, timeline_svg, timeline_title
from trajscope.report.page.environment import template
from trajscope.report.page.folded import folded
from trajscope.schema import ALL_WEIGHTS, cases_of


def windows_section(results: xr.DataTree) -> Markup:
    """HTML of the section, of a run whose result holds windows."""
    found = timeline(results)
    return Markup(
        template("windows.html")
        .render(
            title=timeline_title(found),
            svg=Markup(timeline_svg(found) if found.moves else ""),
            n_windows=len(cases_of(results)),
            rows=folded(overview(results), lambda row: row.group == ALL_WEIGHTS),
        )
        .rstrip()
    )
