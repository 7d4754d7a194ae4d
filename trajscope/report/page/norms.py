"""The section of the page about norms and directions."""

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.norms import equilibrium_in_words, norm_rows
from trajscope.report.content.river import river_rows
from trajscope.report.page.environment import template
from trajscope.report.page.folded import folded


def norms_section(results: xr.DataTree) -> Markup:
    """HTML of the section below its heading; one sentence where the result does not hold them."""
    observables, tests = (results[part].to_dataset() for part in ("observables", "tests"))
    rows = norm_rows(observables, tests)
    return Markup(
        template("norms.html").render(
            rows=folded(rows, lambda row: row.is_main) if rows else None,
            equilibrium=equilibrium_in_words(results),
            river=river_rows(observables, tests),
        )
    )
