"""The diffusion matrix as a table of plain lines, a column for each checkpoint."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.report.content.gradient_noise import (
    comparison,
    heading,
    in_words,
    mapping_sentences,
    temperature,
    trends,
)
from trajscope.report.content.noise_budget import budget_sentences, sketch_sentence
from trajscope.report.content.numbers import exact
from trajscope.report.screen.lines import columns_within, console, in_ascii, labelled, shows_unicode
from trajscope.schema import STEP

_LABEL, _COLUMN = 28, 12


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes
    ----------
    name :
        Of the number in the result.
    is_share :
        Whether it is shown as a share of all weights.
    """

    label: str
    name: str
    is_share: bool = False


ROWS: tuple[Row, ...] = (
    Row("loss", "loss"),
    Row("|mean gradient| / sqrt(d)", "gradient_norm"),
    Row("mean of all eigenvalues", "eigenvalue_mean"),
    Row("their standard deviation", "eigenvalue_std"),
    Row("largest eigenvalue", "lambda_max"),
    Row("trace", "trace"),
    Row("rank / d, float32 eps", "rank_eps32", is_share=True),
    Row("rank / d, float64 eps", "rank_eps64", is_share=True),
    Row("participation ratio", "participation_ratio"),
    Row("stable rank", "stable_rank"),
    Row("directions for 90% / trace", "directions_90"),
    Row("directions for 99% / trace", "directions_99"),
    Row("|mean gradient|^2 / trace", "signal_to_noise"),
    Row("gradient diversity", "gradient_diversity"),
    Row("rank / d + variance", "score"),
    Row("(eta/b) mean eigenvalue", "noise_scale"),
)
"""In the order of the table; one that a result does not hold is left out."""


def diffusion_lines(
    found: xr.Dataset, *, width: int | None = None, unicode: bool | None = None
) -> list[str]:
    """What was found of D at the chosen checkpoints, as plain lines.

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
    lines += [_line(row, found, shown) for row in ROWS if row.name in found]
    hidden = found.sizes[STEP] - len(shown)
    notes = [("", f"{hidden} checkpoints between these are in the report")] if hidden else []
    notes += [("Names", text) for text in mapping_sentences(found)]
    notes += [("Alike?", text) for text in comparison(found)]
    notes += [("Trend", text) for text in trends(found)]
    notes += [("Noise", text) for text in temperature(found)]
    notes += [("Budget", text) for text in budget_sentences(found)]
    notes += [("Sketch", text) for text in sketch_sentence(found)]
    notes += [("Warning", str(text)) for text in found.attrs.get("warnings", [])]
    lines += labelled(notes, columns)
    if shows_unicode(output) if unicode is None else unicode:
        return lines
    return [in_ascii(line) for line in lines]


def _shown(n_steps: int, most: int) -> list[int]:
    """Positions of the checkpoints that there is room for, the first and the last among them."""
    places = np.linspace(0, n_steps - 1, min(n_steps, max(most, 2)))
    return [int(place) for place in np.rint(places)]


def _line(row: Row, found: xr.Dataset, shown: list[int]) -> str:
    values = found[row.name].values[shown]
    words = in_words(row.name, values, share_of=found.attrs["n_weights"] if row.is_share else 0)
    return f"{row.label:<{_LABEL}}" + "".join(f"{word:>{_COLUMN}}" for word in words)
