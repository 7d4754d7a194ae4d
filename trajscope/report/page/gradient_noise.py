"""The section of the page about gradient noise."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from markupsafe import Markup

from trajscope.errors import printable
from trajscope.report.content.gradient_noise import (
    comparison,
    heading,
    in_words,
    label_of,
    mapping_sentences,
    noise_scales,
    number_rows,
    temperature,
    trends,
)
from trajscope.report.content.gradient_noise_summary import is_computed
from trajscope.report.content.names import told_apart
from trajscope.report.content.noise_budget import (
    budget_rows,
    budget_sentences,
    sketch_sentence,
)
from trajscope.report.content.numbers import exact, percent
from trajscope.report.figures.gradient_noise import FIGURES
from trajscope.report.page.environment import template
from trajscope.report.page.panels import part_panel
from trajscope.schema import ALL_WEIGHTS, GROUP, STEP

_MOST_STEPS: Final = 8
_MOST_LAYERS: Final = 20

NOT_COMPUTED: Final = (
    "D and the gradient norm need the model, the data and the loss as well as the checkpoints: "
    "give them with --problem."
)

DEFINITIONS: Final = (
    ("D", "(1/N) Σ g_k g_k' − ḡ ḡ', g_k the gradient of sample k's loss by all d trained weights"),
    ("moved trace", "Σ |p_i − q_i| / 2 with p = λ / tr D at one checkpoint, q at another"),
    ("overlap", "mean squared cosine of the principal angles between leading eigenspaces"),
)
"""Besides the numbers, whose words the result holds."""

_OF_LAYERS: Final = (
    "lambda_max", "participation_ratio", "directions_90", "rank_eps32", "signal_to_noise",
)  # fmt: skip
"""Columns of the table of layers."""


@dataclass(frozen=True)
class Row:
    """One row of the table of layers, in words."""

    name: str
    cells: tuple[str, ...]


def diffusion_section(results: xr.DataTree) -> Markup:
    """HTML of the section below its heading; one sentence where D was not computed."""
    found = results["diffusion"].to_dataset()
    if not is_computed(found):
        reason = printable(found.attrs.get("reason", ""))
        return Markup("<p>{}</p>").format(f"{reason} {NOT_COMPUTED}".strip())
    shown = _shown_steps(found.sizes[STEP])
    rows, n_groups = _layers(found), found.sizes[GROUP] - 1
    numbers = number_rows(found, shown)
    return Markup(
        template("diffusion.html").render(
            heading=heading(found)[1],
            panels=[part_panel(f"N{k}", plot, results) for k, plot in enumerate(FIGURES, 1)],
            steps=[exact(float(found[STEP].values[row])) for row in shown],
            numbers=numbers,
            sentences=[
                *mapping_sentences(found),
                *sketch_sentence(found),
                *comparison(found),
                *trends(found),
                *temperature(found),
                *noise_scales(found),
            ],
            budget=budget_rows(found),
            budget_sentences=budget_sentences(found),
            budget_steps=len(found.attrs.get("budget_steps", [])),
            warnings=[printable(text, limit=400) for text in found.attrs.get("warnings", [])],
            layer_columns=[label_of(found, name) for name in _OF_LAYERS],
            layers=rows,
            hidden=n_groups - len(rows),
            definitions=[*DEFINITIONS, *((row.label, row.meaning) for row in numbers)],
        )
    )


def _shown_steps(n_steps: int) -> list[int]:
    return [int(row) for row in np.rint(np.linspace(0, n_steps - 1, min(n_steps, _MOST_STEPS)))]


def _layers(found: xr.Dataset) -> list[Row]:
    """The groups with the most noise at the last checkpoint."""
    last = found.isel({STEP: -1})
    total = float(last["trace"])
    groups = [str(group) for group in found[GROUP].values]
    places = [place for place, group in enumerate(groups) if group != ALL_WEIGHTS]
    traces = np.nan_to_num(last["group_trace"].values)
    places.sort(key=lambda place: -float(traces[place]))
    rows = []
    names = told_apart(groups, 60)
    for place in places[:_MOST_LAYERS]:
        size = int(found["group_size"].values[place])
        share = percent(float(traces[place]) / total, 1) if total > 0 else "unknown"
        words = (
            in_words(found[name], last[f"group_{name}"].values[[place]], size)[0]
            for name in _OF_LAYERS
        )
        rows.append(Row(names[place], (f"{size:,}", share, *words)))
    return rows
