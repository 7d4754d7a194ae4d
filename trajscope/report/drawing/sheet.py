"""An empty figure that axes are put on, and all of it as SVG."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any, Final

from trajscope.report.drawing.axes import Axes
from trajscope.report.drawing.marks import Word
from trajscope.report.drawing.shapes import ASCENT, DESCENT, path, width_of, word

_INCH: Final = 72.0
_ANCHORS: Final = {"left": "start", "center": "middle", "right": "end"}
_BEFORE: Final = {"start": 0.0, "middle": 0.5, "end": 1.0}
"""Share of a word that stands before the point it is put at."""
_ABOVE: Final = {
    "top": ASCENT, "bottom": -DESCENT, "center": (ASCENT - DESCENT) / 2, "baseline": 0.0,
}  # fmt: skip
_TICKS_AT, _SPINES_AT, _TITLES_AT = 1.5, 2.5, 3.0


class Sheet:
    """A figure of so many pixels; methods are those of matplotlib's.

    Parameters
    ----------
    line, ink :
        Colours of the lines around axes and of words.
    names :
        Colour -> what stands for it in the drawing.
    """

    dpi = _INCH

    def __init__(
        self, size: tuple[int, int], *, line: str, ink: str, font_size: float,
        names: Mapping[str, str],
    ) -> None:  # fmt: skip
        self.size = size
        self.axes: list[Axes] = []
        self.line, self.ink, self.font_size, self.names = line, ink, font_size, names

    def get_figwidth(self) -> float:
        """Inches of its width."""
        return self.size[0] / _INCH

    def get_figheight(self) -> float:
        """Inches of its height."""
        return self.size[1] / _INCH

    def add_axes(self, box: tuple[float, float, float, float]) -> Axes:
        """Axes in a box: left, bottom, width, height as shares of the sheet."""
        width, height = self.size
        left, bottom, wide, tall = box
        axes = Axes((left * width, (1 - bottom - tall) * height, wide * width, tall * height))
        self.axes.append(axes)
        return axes

    def svg(self, name: str, title: str, description: str) -> str:
        """The drawing; `name` is the beginning of every id."""
        told = f' aria-describedby="{name}-numbers"' if description else ""
        numbers = escape(description, quote=False)
        desc = f'<desc id="{name}-numbers">{numbers}</desc>' if description else ""
        drawn = "".join(
            part
            for place, axes in enumerate(self.axes)
            for part in self._drawn(axes, f"{name}-box-{place}")
        )
        return (
            f'<svg viewBox="0 0 {self.size[0]} {self.size[1]}" role="img" '
            f'aria-labelledby="{name}-title" class="drawing"{told}>'
            f'<title id="{name}-title">{escape(title, quote=False)}</title>{desc}{drawn}</svg>'
        )

    def _drawn(self, axes: Axes, clip: str) -> Iterator[str]:
        """Everything on one of the axes, what covers others last."""
        axes.settle()
        left, top, width, height = axes.box
        yield (
            f'<defs><clipPath id="{clip}"><rect x="{left:.2f}" y="{top:.2f}" '
            f'width="{width:.2f}" height="{height:.2f}"/></clipPath></defs>'
        )
        layers = [
            (mark.zorder, text) for mark in axes.marks for text in self._mark(axes, mark, clip)
        ]
        layers += [(each.zorder, self._word(axes, each)) for each in axes.words]
        if axes.is_on:
            layers += [(_TICKS_AT, text) for text in self._ticks(axes)]
            layers += [(_SPINES_AT, text) for text in self._spines(axes)]
            layers += [(_TITLES_AT, text) for text in self._titles(axes)]
        yield from (text for _, text in sorted(layers, key=lambda layer: layer[0]))

    def _mark(self, axes: Axes, mark: Any, clip: str) -> Iterator[str]:
        found = mark.draw(axes)
        for d, style in [(found, mark.style)] if isinstance(found, str) else found:
            named = {key: self.names.get(value, value) for key, value in style.items()}
            yield path(d, named, clip)

    def _word(self, axes: Axes, each: Word) -> str:
        x = float((axes.xaxis.at if each.transform[0] else axes.xaxis.part)(each.x))
        y = (axes.yaxis.at if each.transform[1] else axes.yaxis.part)(each.y)
        size = self.font_size if each.fontsize is None else each.fontsize
        weight = "700" if each.fontweight == "bold" else None
        style = {"font-weight": weight, **self._style(each.color, size)}
        down = _ABOVE[each.va] * size - each.away[1]
        anchor, x = _ANCHORS[each.ha], x + each.away[0]
        x = x if any(each.away) else self._inside(x, each.text, anchor, size)
        return word(x, float(y) + down, each.text, anchor, style)

    def _inside(self, x: float, text: str, anchor: str, size: float) -> float:
        """Where a word stands that would else leave the sheet at its left or its right."""
        width = width_of(text, size)
        left = x - _BEFORE[anchor] * width
        return x + (min(self.size[0] - left - width, 0.0) or max(-left, 0.0))

    def _style(self, colour: str, size: float) -> dict[str, Any]:
        return {"font-size": f"{size:g}px", "fill": self.names.get(colour, colour)}

    def _ticks(self, axes: Axes) -> Iterator[str]:
        left, top, width, height = axes.box
        ink, line = self._style(self.ink, self.font_size), self.names.get(self.line, self.line)
        stroke = {"stroke": line, "stroke-width": 0.8}
        across, up = axes.xaxis, axes.yaxis
        d = ""
        for place, label in _within(across):
            x = float(across.at(place))
            d += f"M{x:.2f} {top + height:.2f}v{across.length:g}" if across.length else ""
            below = top + height + across.length + across.pad + ASCENT * self.font_size
            x = self._inside(x, label, "middle", self.font_size)
            yield word(x, below, label, "middle", ink) if label else ""
        side, edge = (1, left + width) if up.is_far else (-1, left)
        for place, label in _within(up):
            y = float(up.at(place))
            d += f"M{edge:.2f} {y:.2f}h{side * up.length:g}" if up.length else ""
            beside = edge + side * (up.length + up.pad)
            middle = y + ASCENT / 2 * self.font_size
            yield word(beside, middle, label, "start" if up.is_far else "end", ink) if label else ""
        yield path(d, stroke)

    def _spines(self, axes: Axes) -> Iterator[str]:
        left, top, width, height = axes.box
        ways = {
            "left": f"M{left:.2f} {top:.2f}v{height:.2f}",
            "bottom": f"M{left:.2f} {top + height:.2f}h{width:.2f}",
        }
        d = "".join(way for name, way in ways.items() if name in axes.spines.shown)
        line = self.names.get(self.line, self.line)
        yield path(
            d, {"fill": "none", "stroke": line, "stroke-width": 0.9, "stroke-linecap": "square"}
        )

    def _titles(self, axes: Axes) -> Iterator[str]:
        left, top, width, height = axes.box
        text, colour, pad = axes.title
        if text:
            yield word(left, top - pad, text, "start", self._style(colour, axes.title_size))
        if not axes.xaxis.title:
            return
        below = top + height + axes.label_pad + ASCENT * self.font_size
        if any(label for _, label in _within(axes.xaxis)):
            below += axes.xaxis.length + axes.xaxis.pad + self.font_size
        ink = self._style(self.ink, self.font_size)
        x = self._inside(left + width / 2, axes.xaxis.title, "middle", self.font_size)
        yield word(x, below, axes.xaxis.title, "middle", ink)


def _within(axis: Any) -> Iterator[tuple[float, str]]:
    """Ticks that lie within the limits."""
    low, high = sorted(axis.get_view_interval())
    room = 1e-9 * (high - low)
    for place, label in zip(*axis.ticks(), strict=True):
        if low - room <= place <= high + room:
            yield place, label
