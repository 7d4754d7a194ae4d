"""The diffusion matrix as a table of plain lines, a column for each checkpoint."""

import numpy as np
import xarray as xr

from trajscope.report.content.gradient_noise import (
    comparison,
    heading,
    mapping_sentences,
    noise_scales,
    number_rows,
    temperature,
    trends,
)
from trajscope.report.content.noise_budget import budget_sentences, sketch_sentence
from trajscope.report.content.numbers import exact
from trajscope.report.screen.lines import columns_within, console, in_ascii, labelled, shows_unicode
from trajscope.schema import STEP

_LABEL, _COLUMN = 28, 12


def diffusion_lines(
    found: xr.Dataset, *, width: int | None = None, unicode: bool | None = None
) -> list[str]:
    """The results on D at the chosen checkpoints, as plain lines.

    Parameters
    ----------
    found :
        As `trajscope.diffusion` returns it.
    width, unicode :
        As in `screen`.
    """
    output = console()
    columns = columns_within(output.width if width is None else width)
    shown = _shown(found.sizes[STEP], (columns - _LABEL) // _COLUMN)
    steps = [exact(float(found[STEP].values[row])) for row in shown]
    first, *rest = heading(found)
    lines = [first, *labelled([("", text) for text in rest], columns)]
    lines += [f"{'step':<{_LABEL}}" + "".join(f"{step:>{_COLUMN}}" for step in steps)]
    plain = not (shows_unicode(output) if unicode is None else unicode)
    for row in number_rows(found, shown):
        label = in_ascii(row.label) if plain else row.label  # first, since it may be longer then
        lines.append(f"{label:<{_LABEL}}" + "".join(f"{cell:>{_COLUMN}}" for cell in row.cells))
    hidden = found.sizes[STEP] - len(shown)
    notes = [("", f"{hidden} more checkpoints in between: see the report")] if hidden else []
    notes += [("Names", text) for text in mapping_sentences(found)]
    notes += [("Change", text) for text in comparison(found)]
    notes += [("Trend", text) for text in trends(found)]
    notes += [("Noise", text) for text in temperature(found)]
    notes += [("Batch", text) for text in noise_scales(found)]
    notes += [("Budget", text) for text in budget_sentences(found)]
    notes += [("Sketch", text) for text in sketch_sentence(found)]
    notes += [("Warning", str(text)) for text in found.attrs.get("warnings", [])]
    lines += labelled(notes, columns)
    return [in_ascii(line) for line in lines] if plain else lines


def _shown(n_steps: int, most: int) -> list[int]:
    """Positions of the checkpoints that fit on the screen, including the first and the last."""
    places = np.linspace(0, n_steps - 1, min(n_steps, max(most, 2)))
    return [int(place) for place in np.rint(places)]
