"""The section of the page about windows of the run."""

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.cases import overview
from trajscope.report.figures.record import Obstacle
from trajscope.report.figures.windows import WINDOWS
from trajscope.report.page.environment import template
from trajscope.report.page.folded import folded
from trajscope.report.page.panels import absent, part_panel
from trajscope.schema import ALL_WEIGHTS, cases_of


def windows_section(results: xr.DataTree) -> Markup:
    """HTML of the section, of a run whose result holds windows."""
    panel = part_panel("", WINDOWS, results)
    if panel.obstacle is not None:  # there are windows
        panel = absent("", WINDOWS, Obstacle("No weight moved.", WINDOWS.to_see))
    return Markup(
        template("windows.html")
        .render(
            panel=panel,
            n_windows=len(cases_of(results)),
            rows=folded(overview(results), lambda row: row.group == ALL_WEIGHTS),
        )
        .rstrip()
    )
