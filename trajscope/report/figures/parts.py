"""Figures of parts of a result that are there only where they were asked for."""

from typing import Final

from trajscope.report.figures.apart import DISTANCE
from trajscope.report.figures.gradient_noise import FIGURES as NOISE
from trajscope.report.figures.joint import JOINT
from trajscope.report.figures.record import PartPlot
from trajscope.report.figures.spectra import MATRIX_SPECTRUM
from trajscope.report.figures.theory import THEORY
from trajscope.report.figures.windows import PHASES, WINDOWS

PARTS: Final[tuple[PartPlot, ...]] = (
    PHASES, WINDOWS, MATRIX_SPECTRUM, *NOISE, THEORY, JOINT, DISTANCE,
)  # fmt: skip
"""In the order of the pages."""
