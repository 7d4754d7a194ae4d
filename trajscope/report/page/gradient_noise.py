"""The section of the page about gradient noise."""

from collections.abc import Iterator
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
    mapping_sentences,
    temperature,
    trends,
)
from trajscope.report.content.gradient_noise_summary import is_computed
from trajscope.report.content.noise_budget import (
    budget_rows,
    budget_sentences,
    sketch_sentence,
)
from trajscope.report.content.numbers import exact, number, percent
from trajscope.report.figures.canvas import drawing
from trajscope.report.figures.gradient_noise import FIGURES, NoisePlot
from trajscope.report.page.environment import template
from trajscope.schema import ALL_WEIGHTS, GROUP, STEP

_MOST_STEPS: Final = 8
_MOST_LAYERS: Final = 20

NOT_COMPUTED: Final = (
    "D and the gradient norm need the model, the data and the loss as well as the checkpoints: "
    "give them with --problem."
)

DEFINITIONS: Final = (
    ("D", "(1/N) Σ g_k g_k' − ḡ ḡ', g_k the gradient of sample k's loss by all d trained weights"),
    ("mean, sd", "of all d eigenvalues, the zero ones among them"),
    ("rank", "eigenvalues above λ_max d ε; ε = 2⁻²³ is the rule of the paper, 2⁻⁵² NumPy's"),
    ("participation ratio", "(tr D)² / tr D²: how many directions share the noise"),
    ("stable rank", "tr D / λ_max"),
    ("gradient diversity", "Σ |g_k|² / |Σ g_k|² (Yin et al. 2018, arXiv:1706.05699)"),
    ("score", "rank / d + variance of the eigenvalues (arXiv:1710.11029)"),
    ("moved trace", "Σ |p_i − q_i| / 2 with p = λ / tr D at one checkpoint, q at another"),
    ("overlap", "mean squared cosine of the principal angles between leading eigenspaces"),
)


REFERENCES: Final = (
    ("loss", "loss", "zero: nothing left to learn from these samples", False),
    ("|mean gradient| / √d", "gradient_norm", "zero at a critical point", False),
    ("mean eigenvalue", "eigenvalue_mean", "paper, two networks on MNIST: 3e−4, 9e−4", False),
    ("sd of eigenvalues", "eigenvalue_std", "zero where D is isotropic", False),
    ("trace", "trace", "variance of one sample's gradient, all weights", False),
    ("largest eigenvalue", "lambda_max", "the trace, if there were one direction", False),
    ("rank / d, float32 ε", "rank_eps32", "threshold {threshold} λ_max", True),
    ("rank / d, float64 ε", "rank_eps64", "threshold {threshold} λ_max", True),
    ("participation ratio", "participation_ratio", "{d} if D were isotropic", False),
    ("stable rank", "stable_rank", "{d} if D were isotropic", False),
    ("directions for 90%", "directions_90", "{most} if D were isotropic", False),
    ("directions for 99%", "directions_99", "{nearly} if D were isotropic", False),
    ("|mean gradient|² / trace", "signal_to_noise", "1/b: noise of a batch is as large", False),
    ("gradient diversity", "gradient_diversity", "1/N: all gradients are the same", False),
    ("rank / d + variance", "score", "the paper's score, with the float32 rank", False),
    ("(η/b) mean eigenvalue", "noise_scale", "the paper: alike for networks that do well", False),
)
"""Rows of the table: label, variable, what to hold it against, whether it is a share of d."""


@dataclass(frozen=True)
class Row:
    """One row of a table, in words."""

    name: str
    cells: tuple[str, ...]
    reference: str = ""


@dataclass(frozen=True)
class NoisePanel:
    """A figure of the section; `svg` is empty where the result does not hold it."""

    number: str
    name: str
    title: str
    svg: Markup
    caption: str
    compare: str
    to_see: str


def diffusion_section(results: xr.DataTree) -> Markup:
    """HTML of the section below its heading; one sentence where D was not computed."""
    found = results["diffusion"].to_dataset()
    if not is_computed(found):
        reason = printable(found.attrs.get("reason", ""))
        return Markup("<p>{}</p>").format(f"{reason} {NOT_COMPUTED}".strip())
    shown = _shown_steps(found.sizes[STEP])
    rows, n_groups = _layers(found), found.sizes[GROUP] - 1
    return Markup(
        template("diffusion.html").render(
            heading=heading(found)[1],
            panels=list(_panels(found)),
            steps=[exact(float(found[STEP].values[row])) for row in shown],
            numbers=list(_numbers(found, shown)),
            sentences=[
                *mapping_sentences(found),
                *sketch_sentence(found),
                *comparison(found),
                *trends(found),
                *temperature(found),
            ],
            budget=budget_rows(found),
            budget_sentences=budget_sentences(found),
            budget_steps=len(found.attrs.get("budget_steps", [])),
            warnings=[printable(text, limit=400) for text in found.attrs.get("warnings", [])],
            layers=rows,
            hidden=n_groups - len(rows),
            definitions=DEFINITIONS,
        )
    )


def _panels(found: xr.Dataset) -> Iterator[NoisePanel]:
    for place, plot in enumerate(FIGURES, start=1):
        there = plot.needs in found and bool((found[plot.needs].values > 0).any())
        title = plot.title(found) if there else f"{plot.quantity}: not drawn"
        svg = _drawn(plot, found, title) if there else Markup("")
        yield NoisePanel(
            f"N{place}", plot.name, title, svg, plot.caption, plot.compare, plot.to_see
        )


def _drawn(plot: NoisePlot, found: xr.Dataset, title: str) -> Markup:
    return Markup(drawing(plot.name, title, lambda figure: plot.draw(figure, found)))


def _shown_steps(n_steps: int) -> list[int]:
    return [int(row) for row in np.rint(np.linspace(0, n_steps - 1, min(n_steps, _MOST_STEPS)))]


def _numbers(found: xr.Dataset, shown: list[int]) -> Iterator[Row]:
    n_weights = int(found.attrs["n_weights"])
    for name, variable, reference, is_share in REFERENCES:
        if variable in found:
            words = in_words(
                variable, found[variable].values[shown], share_of=n_weights if is_share else 0
            )
            threshold = found.get(f"{variable}_threshold", np.nan)
            yield Row(
                name,
                tuple(words),
                reference.format(
                    d=f"{n_weights:,}",
                    most=f"{np.ceil(0.9 * n_weights):,.0f}",
                    nearly=f"{np.ceil(0.99 * n_weights):,.0f}",
                    threshold=number(float(threshold), 2),
                ),
            )


def _layers(found: xr.Dataset) -> list[Row]:
    """The groups with the most noise at the last checkpoint."""
    last = found.isel({STEP: -1})
    total = float(last["trace"])
    groups = [str(group) for group in found[GROUP].values]
    places = [place for place, group in enumerate(groups) if group != ALL_WEIGHTS]
    traces = np.nan_to_num(last["group_trace"].values)
    places.sort(key=lambda place: -float(traces[place]))
    return [
        Row(
            printable(groups[place], limit=60),
            (
                f"{int(found['group_size'].values[place]):,}",
                percent(float(traces[place]) / total, 1) if total > 0 else "unknown",
                *(
                    number(float(last[f"group_{name}"].values[place]))
                    for name in ("lambda_max", "participation_ratio", "directions_90")
                ),
                percent(
                    float(last["group_rank_eps32"].values[place])
                    / int(found["group_size"].values[place]),
                    2,
                ),
                number(float(last["group_signal_to_noise"].values[place])),
            ),
        )
        for place in places[:_MOST_LAYERS]
    ]
