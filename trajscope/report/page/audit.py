"""The section of the page about the audit."""

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.audit import findings, nothing_found
from trajscope.report.page.environment import template


def audit_section(results: xr.DataTree) -> Markup:
    """HTML of the section: every finding with its steps and tensors."""
    trajectory = results["trajectory"].to_dataset()
    found = findings(trajectory)
    nothing = nothing_found(trajectory)
    return Markup(
        template("audit.html")
        .render(found=found, nothing=f"{nothing[0].upper()}{nothing[1:]}.")
        .rstrip()
    )
