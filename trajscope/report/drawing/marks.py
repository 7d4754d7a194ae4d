"""Lines, marks and words of axes, and how their looks are told."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from trajscope.report.drawing.shapes import Floats, markers, polyline

_SHORT: Final = {
    "lw": "linewidth", "ms": "markersize", "mfc": "face", "mec": "edge", "mew": "edge_width",
    "linestyles": "linestyle", "markeredgewidth": "edge_width",
}  # fmt: skip
_PATTERNS: Final = {":": (1.0, 1.65), "dashed": (3.7, 1.6)}
"""Lengths of strokes and gaps, in widths of the line."""


@dataclass(frozen=True)
class Mark:
    """Something drawn within axes.

    Attributes
    ----------
    zorder :
        Higher ones cover lower ones.
    draw :
        ``axes -> d`` of a path, or of a line all its elements.
    style :
        CSS of the path.
    """

    zorder: float
    draw: Callable[[Any], Any]
    style: Mapping[str, Any]


@dataclass
class Line:
    """A line, marks, or both."""

    x: Floats
    y: Floats
    told: dict[str, Any]

    def get_data(self) -> tuple[Floats, Floats]:
        """Its points."""
        return self.x, self.y

    def set_dashes(self, lengths: tuple[float, ...]) -> None:
        """Strokes and gaps, in widths of the line."""
        self.told["dashes"] = lengths

    def drawn(self, axes: Any) -> list[tuple[str, dict[str, Any]]]:
        """Paths with their CSS."""
        told, x, y = self.told, axes.xaxis.at(self.x), axes.yaxis.at(self.y)
        parts = []
        if told.get("linestyle") != "none":
            style = stroke(told)
            if style["stroke-dasharray"] is None:
                style["stroke-linecap"] = told.get("solid_capstyle", "square")
            parts.append((polyline(x, y), style))
        if "marker" in told:
            size = float(told.get("markersize", 6.0))
            style = {
                "fill": told.get("face", told.get("color")),
                "stroke": told.get("edge", told.get("color")),
                "stroke-width": float(told.get("edge_width", 1.0)),
            }
            parts.append((markers(x, y, told["marker"], size), style))
        return parts


@dataclass(frozen=True)
class Word:
    """A word at a point; the rest as matplotlib has it."""

    x: float
    y: float
    text: str
    color: str
    ha: str = "left"
    va: str = "baseline"
    fontweight: str = "normal"
    fontsize: float | None = None
    zorder: float = 3.0
    transform: tuple[bool, bool] = (True, True)
    away: tuple[float, float] = (0.0, 0.0)


def names_as_told(how: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of lines by their long names."""
    return {_SHORT.get(name, name): value for name, value in how.items()}


def stroke(told: Mapping[str, Any]) -> dict[str, Any]:
    """CSS of a line, with strokes and gaps in pixels where it has gaps."""
    width = float(told.get("linewidth", 1.5))
    pattern = told.get("dashes") or _PATTERNS.get(told.get("linestyle", ""))
    return {
        "fill": "none",
        "stroke": told["color"],
        "stroke-width": width,
        "stroke-dasharray": pattern and ",".join(f"{width * each:.4g}" for each in pattern),
    }


def fill(told: Mapping[str, Any]) -> dict[str, Any]:
    """CSS of an area."""
    return {"fill": told["color"], "fill-opacity": told.get("alpha")}
