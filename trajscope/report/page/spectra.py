"""The section of the page about the singular values of weight matrices."""

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.spectra import (
    COLUMNS,
    matrix_rows,
    spectra_of,
    spectra_sentences,
)
from trajscope.report.figures.spectra import MATRIX_SPECTRUM
from trajscope.report.page.environment import template
from trajscope.report.page.folded import folded
from trajscope.report.page.panels import part_panel

_LARGEST = 20


def spectra_section(results: xr.DataTree) -> Markup:
    """HTML of the section below its heading; one sentence where they were not asked for."""
    found = spectra_of(results)
    if found is None:
        return Markup(
            "<p>Singular values were not computed: run <code>trajscope analyze</code> with "
            "<code>--spectra 20%,100%</code>.</p>"
        )
    rows = matrix_rows(found)
    sizes = sorted((row.size for row in rows), reverse=True)
    least = sizes[min(_LARGEST, len(sizes)) - 1]
    return Markup(
        template("spectra.html").render(
            rows=folded(rows, lambda row: row.size >= least),
            columns=[label for _, label in COLUMNS],
            sentences=spectra_sentences(found),
            panel=part_panel("", MATRIX_SPECTRUM, results),
        )
    )
