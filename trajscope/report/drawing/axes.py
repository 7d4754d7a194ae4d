"""Axes that lines, areas and words are drawn onto."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Final, NamedTuple

import numpy as np

from trajscope.report.drawing.axis import Axis
from trajscope.report.drawing.marks import Line, Mark, Word, fill, names_as_told, stroke
from trajscope.report.drawing.shapes import Floats, boxes, polyline, segments

Transform = tuple[bool, bool]
"""Whether x and y are in units of the data, else shares of the axes."""
_ALL: Final = ("left", "bottom", "top", "right")


class Extent(NamedTuple):
    """Pixels of axes."""

    width: float
    height: float


class Spines:
    """The lines around axes that are drawn."""

    def __init__(self) -> None:
        self.shown = {"left", "bottom"}
        self._chosen: tuple[str, ...] = _ALL

    def __getitem__(self, which: str | slice | Sequence[str]) -> "Spines":
        if isinstance(which, slice):
            self._chosen = _ALL
        else:
            self._chosen = (which,) if isinstance(which, str) else tuple(which)
        return self

    def set_visible(self, shown: bool) -> None:
        """Show or hide those that were chosen."""
        change = self.shown.update if shown else self.shown.difference_update
        change(self._chosen)


class Axes:
    """Axes in a box of a sheet, in pixels; methods are those of matplotlib.

    Parameters
    ----------
    box :
        Left, top, width, height in pixels from the upper left corner of the sheet.
    """

    transData: Transform = (True, True)  # noqa: N815 - matplotlib's name
    transAxes: Transform = (False, False)  # noqa: N815

    def __init__(self, box: tuple[float, float, float, float]) -> None:
        left, top, width, height = box
        self.box = box
        self.xaxis, self.yaxis = Axis(left, left + width), Axis(top + height, top)
        self.spines = Spines()
        self.lines: list[Line] = []
        self.marks: list[Mark] = []
        self.words: list[Word] = []
        self.title: tuple[str, str, float] = ("", "", 0.0)
        self.is_on = True
        self.is_equal = False

    # What is drawn.

    def plot(self, *given: Any, **how: Any) -> list[Line]:
        """A line through points, or marks at them."""
        told = names_as_told(how)
        if isinstance(given[-1], str):
            told |= {"marker": given[-1][0], "linestyle": given[-1][1:] or "none"}
        x, y = (np.atleast_1d(np.asarray(each, dtype=np.float64)) for each in given[:2])
        self._see(x, y)
        line = Line(x, y, told)
        self.lines.append(line)
        self.marks.append(Mark(float(told.get("zorder", 2)), line.drawn, {}))
        return [line]

    def step(self, x: Any, y: Any, *, where: str, **how: Any) -> list[Line]:
        """Levels that hold from each x on, until the next."""
        if where != "post":
            raise NotImplementedError(where)
        return self.plot(np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1], **how)

    def vlines(self, x: Any, low: Any, high: Any, **how: Any) -> None:
        """Upright lines."""
        told = names_as_told(how)
        x, low, high = np.broadcast_arrays(*np.atleast_1d(x, low, high))
        self._see(x, np.r_[low, high])
        self._add(
            told, 1,
            lambda a: segments(a.xaxis.at(x), a.yaxis.at(low), a.xaxis.at(x), a.yaxis.at(high)),
            stroke(told),
        )  # fmt: skip

    def axhline(self, level: float, **how: Any) -> None:
        """A line from left to right."""
        told = names_as_told(how)
        self.yaxis.see(level)
        ends = np.array([0.0, 1.0])
        self._add(
            told, 2, lambda a: polyline(a.xaxis.part(ends), a.yaxis.at(np.full(2, level))),
            stroke(told),
        )  # fmt: skip

    def axvline(self, place: float, **how: Any) -> None:
        """A line from the bottom to the top."""
        told = names_as_told(how)
        self.xaxis.see(place)
        ends = np.array([0.0, 1.0])
        self._add(
            told, 2, lambda a: polyline(a.xaxis.at(np.full(2, place)), a.yaxis.part(ends)),
            stroke(told),
        )  # fmt: skip

    def fill_between(self, x: Any, low: Any, high: Any, **how: Any) -> None:
        """The area between two curves."""
        told = names_as_told(how)
        x, low, high = np.broadcast_arrays(*(np.asarray(each, float) for each in (x, low, high)))
        self._see(x, np.r_[low, high])
        around, edge = np.r_[x, x[::-1]], np.r_[low, high[::-1]]
        known = np.isfinite(edge)
        self._add(
            told, 1,
            lambda a: polyline(a.xaxis.at(around[known]), a.yaxis.at(edge[known]), closed=True),
            fill(told),
        )  # fmt: skip

    def bar(self, x: Any, height: Any, width: Any, bottom: Any, **how: Any) -> None:
        """Upright bars about x."""
        half = np.asarray(width) / 2
        self._boxes(x - half, bottom, x + half, np.asarray(bottom) + height, how)

    def barh(self, y: Any, width: Any, height: Any = 0.8, left: Any = 0.0, **how: Any) -> None:
        """Lying bars about y."""
        half = np.asarray(height) / 2
        self._boxes(left, np.asarray(y) - half, np.asarray(left) + width, np.asarray(y) + half, how)

    def contourf(
        self, x: Floats, y: Floats, values: Any, *, levels: Floats, colors: Any, **how: Any
    ) -> None:
        """Areas between the levels of a surface, each in its shade."""
        from contourpy import FillType, contour_generator

        found = contour_generator(x, y, values, fill_type=FillType.OuterOffset, **how)
        self._see(x, y)
        for low, high, (colour, opacity) in zip(levels[:-1], levels[1:], colors, strict=True):
            rings = [
                points[start:stop]
                for points, offsets in zip(*found.filled(low, high), strict=True)
                for start, stop in pairwise(offsets)
            ]
            self._add(
                {}, 1,
                lambda a, rings=rings: "".join(
                    polyline(a.xaxis.at(ring[:, 0]), a.yaxis.at(ring[:, 1]), closed=True)
                    for ring in rings
                ),
                fill({"color": colour, "alpha": opacity}),
            )  # fmt: skip

    def text(self, x: float, y: float, text: str, **how: Any) -> None:
        """A word."""
        self.words.append(Word(x, y, text, **how))

    def annotate(
        self, text: str, at: Sequence[float], away: Sequence[float], *, textcoords: str, **how: Any
    ) -> None:
        """A word so many pixels away from a point."""
        if textcoords != "offset points":
            raise NotImplementedError(textcoords)
        self.words.append(Word(at[0], at[1], text, away=(away[0], away[1]), **how))

    # Limits, scales, ticks, words around.

    def set_xlim(self, left: float | None = None, right: float | None = None) -> None:
        """Limits of x."""
        self.xaxis.limit(left, right)

    def set_ylim(self, bottom: float | None = None, top: float | None = None) -> None:
        """Limits of y."""
        self.yaxis.limit(bottom, top)

    def get_ylim(self) -> tuple[float, float]:
        """Limits of y."""
        return self.yaxis.get_view_interval()

    def set_xscale(self, scale: str) -> None:
        """Whether x is logarithmic ("log") or not ("linear")."""
        self.xaxis.is_log = scale == "log"

    def set_yscale(self, scale: str) -> None:
        """Whether y is logarithmic ("log") or not ("linear")."""
        self.yaxis.is_log = scale == "log"

    def margins(self, x: float, y: float) -> None:
        """Room around what is drawn, where no limits are told."""
        self.xaxis.margin, self.yaxis.margin = x, y

    def set_aspect(self, aspect: str, *, adjustable: str) -> None:
        """One unit as long upwards as to the right; limits give way."""
        self.is_equal = (aspect, adjustable) == ("equal", "datalim")

    def set_xticks(self, places: Any, labels: Sequence[str] | None = None) -> None:
        """Ticks along x."""
        self.xaxis.set_ticks(places, labels)

    def set_yticks(self, places: Any, labels: Sequence[str] | None = None) -> None:
        """Ticks along y."""
        self.yaxis.set_ticks(places, labels)

    def get_yticks(self) -> list[float]:
        """Places of the ticks along y."""
        return self.yaxis.ticks()[0]

    def set_yticklabels(self, labels: Sequence[str]) -> None:
        """Words at the ticks along y; none for an empty list."""
        self.yaxis.set_ticklabels(labels)

    def tick_params(
        self, axis: str = "both", length: float | None = None, pad: float | None = None
    ) -> None:
        """Pixels of ticks, and from there to their words."""
        for name, each in (("x", self.xaxis), ("y", self.yaxis)):
            if axis in (name, "both"):
                each.length = each.length if length is None else length
                each.pad = each.pad if pad is None else pad

    def set_title(self, text: str, *, loc: str, fontsize: float, color: str, pad: float) -> None:
        """A line of text above the left end."""
        if loc != "left":
            raise NotImplementedError(loc)
        self.title = text, color, pad
        self.title_size = fontsize

    def set_xlabel(self, text: str, *, labelpad: float) -> None:
        """What x is, below its ticks."""
        self.xaxis.title = text
        self.label_pad = labelpad

    def set_axis_off(self) -> None:
        """Leave out lines around, ticks and titles."""
        self.is_on = False

    def get_window_extent(self) -> Extent:
        """Pixels of the axes."""
        return Extent(*self.box[2:])

    def get_yaxis_transform(self) -> Transform:
        """Words by shares of the width and values of y."""
        return (False, True)

    def get_xaxis_transform(self) -> Transform:
        """Words by values of x and shares of the height."""
        return (True, False)

    def settle(self) -> None:
        """Make units equally long in both directions: widen limits, or narrow those with room."""
        if not self.is_equal or not (self.xaxis.is_free and self.yaxis.is_free):
            return
        ratio = self.box[3] / self.box[2]
        (low_x, high_x), (low_y, high_y) = (a.get_view_interval() for a in (self.xaxis, self.yaxis))
        wide, tall = high_x - low_x, high_y - low_y
        new_wide, new_tall = tall / ratio, ratio * wide
        widens = new_tall > tall
        if abs(new_tall / tall - 1) < 0.005:
            return
        need_x, need_y = 1.05 * np.ptp(self.xaxis.seen), 1.05 * np.ptp(self.yaxis.seen)
        if wide > need_x and tall > need_y:
            widens = new_wide < need_x if widens else new_tall > need_y
        if widens:
            self.yaxis.limit(*((low_y + high_y + side * new_tall) / 2 for side in (-1, 1)))
        else:
            self.xaxis.limit(*((low_x + high_x + side * new_wide) / 2 for side in (-1, 1)))

    def _boxes(self, x0: Any, y0: Any, x1: Any, y1: Any, how: Mapping[str, Any]) -> None:
        told = names_as_told(how)
        x0, y0, x1, y1 = np.broadcast_arrays(*np.atleast_1d(x0, y0, x1, y1))
        self._see(np.r_[x0, x1], np.r_[y0, y1])
        self._add(
            told, 1,
            lambda a: boxes(a.xaxis.at(x0), a.yaxis.at(y0), a.xaxis.at(x1), a.yaxis.at(y1)),
            fill(told),
        )  # fmt: skip

    def _see(self, x: Any, y: Any) -> None:
        self.xaxis.see(x)
        self.yaxis.see(y)

    def _add(self, told: Mapping[str, Any], zorder: float, d: Any, style: dict[str, Any]) -> None:
        self.marks.append(Mark(float(told.get("zorder", zorder)), d, style))
