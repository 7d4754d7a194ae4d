"""The grammar of every figure: axes, lines and labels by role, and the drawing as inline SVG."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree

import numpy as np
from numpy.typing import NDArray

from trajscope.report.content.curves import MOST_POINTS, Floats, binned
from trajscope.report.content.names import told_apart
from trajscope.report.content.numbers import number
from trajscope.report.figures.palette import VARIABLE_OF, light

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FONT_SIZE = 12.5
WIDE: Final = 980
"""Pixels of a figure as wide as the page."""
HALF: Final = (480, 300)
"""Width and height of the others."""
SHADES: Final = (0.06, 0.2, 0.34, 0.48, 0.62, 0.76, 0.9)
"""Opacity of every level of what is shown by shades, the lowest first."""

# Any: matplotlib's stubs want each key as a literal type.
STYLE: Mapping[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: it can be searched, read aloud, and set in any font
    "svg.hashsalt": "trajscope",
    "text.parse_math": False,
    "path.simplify": False,
    "font.family": ["DejaVu Sans"],
    "font.size": FONT_SIZE,
    "axes.unicode_minus": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": light("null"),
    "axes.linewidth": 0.9,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "xtick.color": light("null"),
    "ytick.color": light("null"),
    "xtick.labelcolor": light("second"),
    "ytick.labelcolor": light("second"),
    "text.color": light("second"),
    "axes.labelcolor": light("second"),
    "lines.solid_joinstyle": "round",
}

_SVG = "{http://www.w3.org/2000/svg}"
_HREF = "{http://www.w3.org/1999/xlink}href"
_GEOMETRY = frozenset({"d", "x", "y", "width", "height", "transform", "viewBox", "points"})


def drawing(
    name: str,
    title: str,
    draw: Callable[["Figure"], None],
    *,
    size: tuple[int, int] = HALF,
    description: str = "",
) -> str:
    """Inline SVG of what `draw` puts on an empty figure; the same bytes for the same input.

    Parameters
    ----------
    name :
        Prefix of every id inside, so that several drawings share a page.
    title :
        Read aloud in place of the drawing.
    size :
        Width and height in CSS pixels at full width.
    description :
        Read aloud after the title: the numbers that are drawn.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    with (
        mpl.rc_context({**mpl.rcParamsDefault, **STYLE, "backend": "svg"}),
        warnings.catch_warnings(),
    ):
        # Text stays text, set in the reader's fonts: this one only measures it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure = Figure(figsize=(size[0] / 72, size[1] / 72), dpi=72)
        FigureCanvasSVG(figure)
        draw(figure)
        keep_inside(figure)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _inlined(file.getvalue(), name, title, description)


def add_axes(
    figure: "Figure",
    y_title: str,
    x_title: str,
    *,
    box: tuple[float, float, float, float] = (0.105, 0.155, 0.875, 0.745),
) -> "Axes":
    """Axes with the title of y lying above them, and no frame at the top and the right."""
    axes = figure.add_axes(box)
    axes.set_title(y_title, loc="left", fontsize=FONT_SIZE, color=light("second"), pad=9)
    axes.set_xlabel(x_title, labelpad=4)
    axes.tick_params(length=3.5, pad=3)
    return axes


def observed(axes: "Axes", x: Floats, y: Floats, *, by_ratio: bool = False) -> None:
    """The observed curve, solid; where it was binned, thin bars from lowest to highest as well."""
    seen = binned(x, y, by_ratio=by_ratio)
    if seen.x.size < x.size:
        axes.vlines(seen.x, seen.low, seen.high, color=light("observed"), linewidth=0.5)
    axes.plot(seen.x, seen.mean, color=light("observed"), linewidth=1.9, zorder=3)


def observed_beside_band(axes: "Axes", x: Floats, y: Floats, low: Floats, high: Floats) -> None:
    """The observed curve over the band of its null; where it is outside, thicker, with diamonds."""
    observed(axes, x, y)
    beyond = np.fmax(y - high, low - y)
    outside = np.flatnonzero(beyond > 0)
    if not outside.size:
        return
    colour = light("outside")
    if x.size <= MOST_POINTS:
        axes.plot(x, np.where(beyond > 0, y, np.nan), color=colour, linewidth=2.6, zorder=3.2)
        outside = outside[_spread_out(outside)]
    else:  # the farthest of each bin
        outside = outside[np.argsort(-beyond[outside], kind="stable")]
        place = (x[outside] - x[0]) / (x[-1] - x[0]) * (MOST_POINTS - 1)
        outside = outside[np.unique(place.astype(int), return_index=True)[1]]
    axes.plot(x[outside], y[outside], "D", color=colour, markersize=4.5, zorder=3.6)


def _spread_out(places: NDArray[np.intp], every: int = 10) -> NDArray[np.bool_]:
    """The first and last of each unbroken row of places, and one in so many between."""
    first = np.diff(places, prepend=-2) > 1
    start = np.maximum.accumulate(np.where(first, places, 0))
    return np.asarray(first | np.roll(first, -1) | ((places - start) % every == 0))


def null_band(axes: "Axes", x: Floats, low: Floats, high: Floats) -> None:
    """Where whole curves from the null lie: flat grey, without an edge."""
    lower, upper = binned(x, low), binned(x, high)
    axes.fill_between(lower.x, lower.mean, upper.mean, color=light("band"), linewidth=0, zorder=1)


def spread(axes: "Axes", x: Floats, mean: Floats, sd: Floats) -> None:
    """One standard deviation over weights to both sides, as thin lines: only a null is filled."""
    for edge in (mean - sd, mean + sd):
        seen = binned(x, edge)
        axes.plot(seen.x, seen.mean, color=light("observed"), linewidth=0.8, zorder=2.5)


def null_mean(axes: "Axes", x: Floats, y: Floats) -> None:
    """What the null gives on average: dashed grey."""
    seen = binned(x, y)
    axes.plot(seen.x, seen.mean, color=light("null"), linewidth=1.3, dashes=(5, 3), zorder=3.5)


def theory(axes: "Axes", x: Floats, y: Floats) -> None:
    """A slope, an arch or a cut-off: dotted."""
    seen = binned(x, y)
    axes.plot(seen.x, seen.mean, color=light("null"), linewidth=1.4, linestyle=":", zorder=2)


def paper_lines(axes: "Axes", *levels: float) -> None:
    """The paper's criterion: thin straight lines, never filled."""
    for level in levels:
        axes.axhline(level, color=light("paper"), linewidth=1.1, zorder=2.2)


def label(
    axes: "Axes", x: float, y: float, text: str, role: str, **place: Any
) -> None:  # matplotlib's own placement words pass through
    """A word at a curve, in the curve's colour; (x, y) are fractions of the axes."""
    weight = "bold" if role == "observed" else "normal"
    settings = {"transform": axes.transAxes, "ha": "left", "va": "top", **place}
    axes.text(x, y, text, color=light(role), fontweight=weight, zorder=5, **settings)


def row_names(names: Sequence[object], most: float) -> tuple[list[str], float]:
    """Names of rows, shortened where the widest is wider than `most` pixels, and its width."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextToPath

    measure, font = TextToPath(), FontProperties(family="DejaVu Sans", size=FONT_SIZE)
    for limit in (60, 48, 38, 30, 24, 19, 15):
        shown = told_apart(names, limit)
        width = max(measure.get_text_width_height_descent(name, font, False)[0] for name in shown)
        if width <= most:
            break
    return shown, float(width)


def keep_inside(figure: "Figure") -> None:
    """Move words that would leave the figure at the left or the right back into it."""
    from matplotlib.text import Annotation
    from matplotlib.transforms import Affine2D

    for axes in figure.axes:
        for text in (*axes.texts, *axes.get_xticklabels(), axes.xaxis.label):
            if isinstance(text, Annotation) or not text.get_text():
                continue
            box = text.get_window_extent()
            over = min(figure.bbox.width - box.x1, 0.0) or max(-box.x0, 0.0)
            if over:
                text.set_transform(text.get_transform() + Affine2D().translate(over, 0))


def log_ticks(axis: Any, low: float, high: float) -> None:
    """Plain numbers on a logarithmic axis, whose limits must be set: decades, thirds where few."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    decades = [10.0**power for power in range(-12, 13)]
    fine = sorted([*decades, *(3 * decade for decade in decades)])
    very_fine = sorted([*fine, *(2 * d for d in decades), *(5 * d for d in decades)])
    for ticks in (decades, fine, very_fine):
        shown = [tick for tick in ticks if low <= tick <= high]
        if len(shown) >= 4:
            break
    axis.set_minor_locator(NullLocator())
    if len(shown) < 3:  # less than a factor of ten
        plain_ticks(axis, 5)
        return
    axis.set_major_locator(FixedLocator(shown[:: 1 + len(shown) // 8]))
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.12g}" if value >= 1e-4 else number(value, 1))
    )


def plain_ticks(axis: Any, most: int = 6) -> None:
    """Round numbers with thousands separated and equal decimals; the limits must be set."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    axis.set_major_locator(MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]))
    ticks = [f"{tick:.10g}" for tick in axis.get_majorticklocs()]
    decimals = max(len(tick.partition(".")[2]) for tick in ticks)
    if any("e" in tick for tick in ticks):
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
        return
    axis.set_major_formatter(
        FuncFormatter(lambda value, _: f"{value:,.{decimals}f}".replace("-", "−"))
    )


def _inlined(source: str, name: str, title: str, description: str) -> str:
    """The SVG with CSS variables for colours, its own ids, two decimals, title and description."""
    root = ElementTree.fromstring(source)
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in {f"{_SVG}metadata", f"{_SVG}style"}:
                parent.remove(child)
    # An artist's id and a group's id mean nothing to a reader; only referenced ids are kept.
    used = {e.get(_HREF, "")[1:] for e in root.iter()}
    used |= set(re.findall(r"url\(#([^)]+)\)", source))
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        element.attrib = dict(
            pair for pair in (_attribute(k, v, name, used) for k, v in element.items()) if pair[1]
        )
    box = root.get("viewBox", "")
    root.attrib = {
        "viewBox": box, "role": "img", "aria-labelledby": f"{name}-title", "class": "drawing",
    }  # fmt: skip
    heading = ElementTree.Element("title", {"id": f"{name}-title"})
    heading.text = title
    root.insert(0, heading)
    if description:
        root.set("aria-describedby", f"{name}-numbers")
        numbers = ElementTree.Element("desc", {"id": f"{name}-numbers"})
        numbers.text = description
        root.insert(1, numbers)
    text = ElementTree.tostring(root, encoding="unicode")
    return re.sub(r">\s+<", "><", text)


def _attribute(key: str, value: str, name: str, used: set[str]) -> tuple[str, str]:
    if key == "id":
        return key, f"{name}-{value}" if value in used else ""
    if key == _HREF:
        return "href", f"#{name}-{value[1:]}"
    if key == "style":
        value = re.sub(r"#[0-9a-f]{6}\b", lambda hit: VARIABLE_OF.get(hit[0], hit[0]), value)
        value = re.sub(r"\bfont: (?:(\w+) )?([\d.]+px)[^;]*", _font, value)
        return key, re.sub(r"font-family:[^;]*;?", "", value)
    if key == "clip-path":
        return key, value.replace("url(#", f"url(#{name}-")
    if key in _GEOMETRY:
        return key, re.sub(r"-?\d+\.\d{3,}", lambda hit: f"{float(hit[0]):.2f}", value)
    return key, value


def _font(found: "re.Match[str]") -> str:
    weight = f"font-weight: {found[1]}; " if found[1] else ""
    return f"{weight}font-size: {found[2]}"
