"""Axes, lines and words as SVG: as much of matplotlib's interface as the figures use."""
