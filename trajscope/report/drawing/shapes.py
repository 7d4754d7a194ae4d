"""What is drawn, as text: paths, discs, words."""

from collections.abc import Iterable, Mapping
from html import escape
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
ASCENT: Final = 0.76
"""Height of capitals and accents above the baseline, of the size of the font."""
DESCENT: Final = 0.24
_ADVANCES: Final = (
    32, 40, 46, 84, 64, 95, 78, 27, 39, 39, 50, 84, 32, 36, 32, 34, 64, 64, 64, 64, 64, 64, 64, 64,
    64, 64, 34, 34, 84, 84, 84, 53, 100, 68, 69, 70, 77, 63, 58, 77, 75, 29, 29, 66, 56, 86, 75, 79,
    60, 79, 69, 63, 61, 73, 68, 99, 69, 61, 69, 39, 34, 39, 84, 50, 50, 61, 63, 55, 63, 62, 35, 63,
    63, 28, 28, 58, 28, 97, 63, 61, 63, 63, 41, 52, 39, 63, 59, 82, 59, 59, 52, 64, 34, 64, 84,
)  # fmt: skip
"""Widths of the letters from the space on in DejaVu Sans, one of the wider fonts, in hundredths."""
_OTHERS: Final = 90
_FARTHEST: Final = 10_000.0
"""Pixels from the origin at which lines end that go on to infinity."""


def polyline(x: Floats, y: Floats, *, closed: bool = False) -> str:
    """A line through points in pixels, interrupted where one of them is not a number."""
    known = np.isfinite(x) & np.isfinite(y)
    x, y = (np.clip(each, -_FARTHEST, _FARTHEST).round(2).tolist() for each in (x, y))
    starts = np.flatnonzero(np.diff(known, prepend=False, append=False)).tolist()
    pieces = []
    for first, last in zip(starts[::2], starts[1::2], strict=True):
        points = zip(x[first:last], y[first:last], strict=True)
        pieces.append("M" + "L".join(f"{a:.10g} {b:.10g}" for a, b in points))
    return "".join(f"{piece}Z" if closed else piece for piece in pieces)


def segments(x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> str:
    """A straight line between each two points."""
    ends = np.clip(np.array([x0, y0, x1, y1]), -_FARTHEST, _FARTHEST).round(2)
    known = np.isfinite(ends).all(axis=0)
    rows = ends[:, known].T.tolist()
    return "".join(f"M{a:.10g} {b:.10g}L{c:.10g} {d:.10g}" for a, b, c, d in rows)


def boxes(x0: Floats, y0: Floats, x1: Floats, y1: Floats) -> str:
    """A rectangle between each two corners."""
    ends = np.clip(np.array([x0, y0, x1, y1]), -_FARTHEST, _FARTHEST).round(2)
    known = np.isfinite(ends).all(axis=0)
    rows = ends[:, known].T.tolist()
    return "".join(f"M{a:.10g} {b:.10g}H{c:.10g}V{d:.10g}H{a:.10g}Z" for a, b, c, d in rows)


def markers(x: Floats, y: Floats, kind: str, size: float) -> str:
    """A disc ("o") or a diamond ("D") at every point."""
    known = np.isfinite(x) & np.isfinite(y)
    points = zip(x[known].tolist(), y[known].tolist(), strict=True)
    if kind == "o":
        r = size / 2
        arcs = f"a{r:g} {r:g} 0 1 0 {size:g} 0a{r:g} {r:g} 0 1 0 {-size:g} 0Z"
        return "".join(f"M{a - r:.2f} {b:.2f}{arcs}" for a, b in points)
    h = size / np.sqrt(2)
    sides = f"l{h:.2f} {h:.2f}l{h:.2f} {-h:.2f}l{-h:.2f} {-h:.2f}Z"
    return "".join(f"M{a - h:.2f} {b:.2f}{sides}" for a, b in points)


def path(d: str, style: Mapping[str, object], clip: str = "") -> str:
    """An element; `clip` is the id of what cuts it off."""
    cut = f' clip-path="url(#{clip})"' if clip else ""
    return f'<path d="{d}"{cut} style="{_css(style.items())}"/>' if d else ""


def width_of(text: str, size: float) -> float:
    """About the pixels that a line of text takes; what is not ASCII is taken as wide."""
    first, last = 32, 31 + len(_ADVANCES)
    places = (ord(letter) for letter in text)
    shares = (_ADVANCES[at - first] if first <= at <= last else _OTHERS for at in places)
    return sum(shares) * size / 100


def word(x: float, y: float, text: str, anchor: str, style: Mapping[str, object]) -> str:
    """A line of text with its baseline at y."""
    css = _css([("text-anchor", anchor), *style.items()])
    return f'<text x="{x:.2f}" y="{y:.2f}" style="{css}">{escape(text, quote=False)}</text>'


def _css(style: Iterable[tuple[str, object]]) -> str:
    told = ((name, value) for name, value in style if value is not None)
    return "; ".join(
        f"{name}: {value:g}" if isinstance(value, float) else f"{name}: {value}"
        for name, value in told
    )
