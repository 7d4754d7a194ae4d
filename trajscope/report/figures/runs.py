"""Lines of several runs, told apart, and their labels beside the axes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.errors import printable
from trajscope.report.content.curves import Floats
from trajscope.report.figures.palette import RUNS, light

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Dashes = tuple[float, ...] | None

ROLES: Final = ("observed", *RUNS)
_DASHES: Final[tuple[Dashes, ...]] = (
    None, (7, 2), (2.5, 1.5), (8, 2, 2, 2), (6, 1.5, 1.5, 1.5, 1.5, 1.5),
)  # fmt: skip
Box = tuple[float, float, float, float]

BESIDE: Final[Box] = (0.105, 0.155, 0.64, 0.745)
"""The box of axes that leave room for labels at their right."""
_LABELS: Final[Box] = (0.77, 0.155, 0.23, 0.745)
_ROW: Final = 20
"""Pixels of a label."""
_LONGEST: Final = 14


@dataclass(frozen=True)
class Entry:
    """One line of the labels: a sample of what is drawn, and what it is.

    Attributes
    ----------
    band :
        Whether it is an area.
    """

    text: str
    role: str
    dashes: Dashes = None
    width: float = 1.9
    band: bool = False


BAND: Final = Entry("null, first run", "band", band=True)
DASHED: Final = (5.0, 3.0)
DOTTED: Final = (1.2, 2.0)


def role_of(place: int) -> str:
    """The colour of the run at this place, from 0 on."""
    return ROLES[place % len(ROLES)]


def dashes_of(place: int) -> Dashes:
    """Solid for the first four runs, then other dashes for every four."""
    return _DASHES[place // len(ROLES) % len(_DASHES)]


def short_names(labels: Sequence[str]) -> list[str]:
    """The labels cut to what fits beside the axes, with a number where that makes them alike.

    Of long labels a beginning that all share is left out first.
    """
    shared = _shared(labels)
    if shared < _LONGEST:
        shared = 0
    parts = [f"…{label[shared:]}" if shared else label for label in labels]
    short = [printable(part, limit=_LONGEST) for part in parts]
    return [
        name if short.count(name) == 1 else f"{place} {printable(name, limit=_LONGEST - 4)}"
        for place, name in enumerate(short, 1)
    ]


def line(
    axes: "Axes", x: Floats, y: Floats, role: str, dashes: Dashes = None, *, width: float = 1.7
) -> None:
    """A line by its role."""
    (drawn,) = axes.plot(x, y, color=light(role), linewidth=width, zorder=3)
    if dashes is not None:
        drawn.set_dashes(dashes)


def run_entries(labels: Sequence[str], places: Sequence[int]) -> list[Entry]:
    """An entry for each of some runs."""
    names = short_names(labels)
    return [Entry(names[place], role_of(place), dashes_of(place)) for place in places]


def draw_labels(
    figure: "Figure", runs: Sequence[Entry], others: Sequence[Entry], *, box: Box = _LABELS
) -> None:
    """A column of labels at the right of the axes, where no curve runs.

    Of more runs than fit, the first; all of them stand in the key of the page.
    """
    rows = int(box[3] * figure.get_figheight() * figure.dpi / _ROW)
    room = rows - len(others)
    entries = list(runs if len(runs) <= room else runs[: room - 1])
    if len(runs) > room:
        entries.append(Entry(f"{len(runs) - room + 1} more: see key", ""))
    axes = figure.add_axes(box)
    axes.set_axis_off()
    axes.set_xlim(0, box[2] * figure.get_figwidth() * figure.dpi)
    axes.set_ylim(rows, 0)
    for place, entry in enumerate([*entries, *others]):
        middle = place + 0.5
        if entry.band:
            axes.fill_between([0, 22], middle - 0.3, middle + 0.3, color=light("band"), lw=0)
        elif entry.role:
            sample = np.array([0.0, 22.0])
            line(axes, sample, np.full(2, middle), entry.role, entry.dashes, width=entry.width)
        axes.text(28 if entry.role else 0, middle, entry.text, color=light("second"), va="center",
                  fontsize=11.5)  # fmt: skip


def _shared(labels: Sequence[str]) -> int:
    """How many characters all labels begin with."""
    alike = zip(min(labels), max(labels), strict=False)
    return next((place for place, (one, other) in enumerate(alike) if one != other), 0)
