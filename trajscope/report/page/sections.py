"""Parts of the page below the layers: add a record to `SECTIONS`, and the page has it."""

from collections.abc import Callable
from dataclasses import dataclass

import xarray as xr
from markupsafe import Markup

from trajscope.report.page.dynamics import dynamics_section
from trajscope.report.page.gradient_noise import diffusion_section
from trajscope.report.page.norms import norms_section
from trajscope.report.page.spectra import spectra_section


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading and an entry in the navigation.

    Attributes
    ----------
    name :
        Identifier on the page; letters, digits, hyphens.
    short :
        The entry in the navigation.
    html :
        ``results -> Markup``: everything below the heading. Whatever comes from a file is escaped
        there; ids begin with `name`.
    """

    name: str
    heading: str
    short: str
    html: Callable[[xr.DataTree], Markup]


SECTIONS: tuple[Section, ...] = (
    Section("norms", "Norms and directions", "Norms", norms_section),
    Section("spectra", "Matrix spectra", "Matrices", spectra_section),
    Section("noise", "Gradient noise", "Noise", diffusion_section),
    Section("theory", "Does the theory hold here?", "Theory", dynamics_section),
)
"""In the order of the page."""
