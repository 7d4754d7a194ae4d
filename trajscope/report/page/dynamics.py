"""The section of the page about the theory of the steady state."""

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.dynamics import (
    COLUMNS,
    direction_rows,
    dynamics_of,
    refusals,
)
from trajscope.report.content.theory_holds import dynamics_sentences
from trajscope.report.figures.theory import THEORY
from trajscope.report.page.environment import template
from trajscope.report.page.folded import folded
from trajscope.report.page.panels import part_panel


def dynamics_section(results: xr.DataTree) -> Markup:
    """HTML of the section below its heading; one sentence where the theory was not tested."""
    found = dynamics_of(results)
    if found is None:
        return Markup(
            "<p>The theory was not tested: it needs the model, the data and the loss, and the "
            "settings of the optimizer. Run <code>trajscope analyze</code> with "
            "<code>--problem</code>, <code>--lr</code>, <code>--batch-size</code> and "
            "<code>--momentum</code>; without <code>--problem</code> there is what the trajectory "
            "alone says.</p>"
        )
    rows = direction_rows(found)
    return Markup(
        template("dynamics.html").render(
            sentences=dynamics_sentences(found),
            refusals=refusals(found),
            panel=part_panel("", THEORY, results) if THEORY.part(results) is not None else None,
            columns=[label for _, label in COLUMNS],
            rows=folded(rows, lambda row: row.is_main) if rows else None,
        )
    )
