"""Every figure of the report in matplotlib: ``trajscope.plot.autocorrelation(results)``.

One function for every record of `trajscope.report.figures`, made from it. Each takes a finished
result, and `ax`, the axes to draw onto; without them it makes a figure of its own.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from trajscope.report.figures.catalogue import FIGURES
from trajscope.report.figures.onto import Record, drawn_onto
from trajscope.report.figures.parts import PARTS
from trajscope.report.figures.record import PartPlot

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes

_TEXT: Final = """{quantity}: a figure of the report, as matplotlib draws it.

{caption}

Compare with: {compare}

Parameters
----------
results :
    A finished result, from `trajscope.analyze`, `trajscope.compare` or `trajscope.open_results`.
    Of several runs curves are drawn over one another, where the page of a comparison has them.
ax :
    matplotlib axes to draw onto; by default a new figure is made, with the figure's title.

Returns
-------
Axes
    `ax`, or those of the new figure. Several panels are its ``child_axes``.

Raises
------
ResultsError
    The result does not hold what the figure draws; the message says how to get it.
{example}"""
_EXAMPLE: Final = """
Examples
--------
>>> import trajscope
>>> walk = trajscope.simulate.rotating_ornstein_uhlenbeck(
...     128, rate=0.15, angular_velocity=0.45, seed=1)
>>> results = trajscope.analyze(walk, n_surrogates=199)
{beside}>>> ax = trajscope.plot.{name}(results)
>>> ax.figure.savefig("{name}.png")  # doctest: +SKIP
"""
_BESIDE: Final = {
    "training-log": """>>> import xarray as xr
>>> loss = xr.Dataset({"loss": ("step", [2.3, 0.4])}, {"step": [10, 110]}, {"source": "my own"})
>>> results["log"] = xr.DataTree(loss)  # where a trainer's files hold none
"""
}
"""What an example needs beside the result, by the name of the figure."""
_PART_EXAMPLE: Final = """
Examples
--------
>>> import trajscope
>>> results = trajscope.open_results("out/results.zarr")  # doctest: +SKIP
>>> ax = trajscope.plot.{name}(results)  # doctest: +SKIP
"""


def _function(record: Record) -> "Callable[..., Axes]":
    """The function that draws one record."""

    def figure(results: "xr.DataTree", *, ax: "Axes | None" = None) -> "Axes":
        return drawn_onto(record, results, ax)

    name = record.name.replace("-", "_")
    text = _PART_EXAMPLE if isinstance(record, PartPlot) else _EXAMPLE
    example = text.format(name=name, beside=_BESIDE.get(record.name, ""))
    figure.__name__ = figure.__qualname__ = name
    figure.__doc__ = _TEXT.format(
        quantity=record.quantity, caption=record.caption, compare=record.compare, example=example
    )
    return figure


_RECORDS: Final[tuple[Record, ...]] = (*FIGURES, *PARTS)
_DRAWN: Final = {each.__name__: each for each in map(_function, _RECORDS)}
globals().update(_DRAWN)
__all__ = list(_DRAWN)


def __getattr__(name: str) -> "Callable[..., Axes]":
    # Only for the type checker's sake: every function is already a global.
    raise AttributeError(f"trajscope.plot has no figure {name!r}: it has {', '.join(__all__)}.")
