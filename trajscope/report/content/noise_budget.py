"""The noise budget in sentences and rows, the same on the screen and on the page."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.curves import Floats
from trajscope.report.content.numbers import exact, number, percent

_SHOWN = 5


@dataclass(frozen=True)
class BudgetRow:
    """One prediction in words: the sampling of batches, the ratio, its interval, both traces."""

    sampling: str
    ratio: str
    interval: str
    measured: str
    predicted: str


def budget_rows(found: xr.Dataset) -> list[BudgetRow]:
    """A row for each way of sampling batches; none without a budget."""
    if "budget_ratio" not in found:
        return []
    measured = number(float(found["budget_measured_trace"]))
    return [
        BudgetRow(
            f"{way} replacement",
            number(float(found["budget_ratio"].values[row])),
            _interval(*(float(found[f"budget_ratio_{end}"][row]) for end in ("low", "high"))),
            measured,
            number(float(found["budget_predicted_trace"].values[row])),
        )
        for row, way in enumerate(map(str, found["sampling"].values))
    ]


def budget_sentences(found: xr.Dataset) -> list[str]:
    """The budget and the messages of its guards, a sentence or two each."""
    return [
        *_ratios(found),
        *_alignment(found),
        *_settings(found),
        *(printable(text, limit=400) for text in found.attrs.get("budget_words", [])),
    ]


def sketch_sentence(found: xr.Dataset) -> list[str]:
    """A note that D is that of a sketch, with its errors; nothing where D is exact."""
    size = int(found.attrs.get("sketch", 0))
    if not size or "sketch_trace_error" not in found:
        return []
    errors = [
        percent(_largest(found[f"sketch_{name}_error"].values), 1)
        for name in ("trace", "lambda_max")
    ]
    return [
        f"Approximate: gradients projected onto {size:,} random directions. Measured error: "
        f"{errors[0]} in the trace, {errors[1]} in the largest eigenvalue. A sketch gives no rank."
    ]


def _interval(low: float, high: float) -> str:
    return "unknown" if math.isnan(low) else f"{number(low)} to {number(high)}"


def _ratios(found: xr.Dataset) -> Iterator[str]:
    told = found.attrs
    for place, row in enumerate(budget_rows(found)):
        if not math.isfinite(float(found["budget_ratio"].values[place])):
            continue
        yield (
            f"Measured / predicted increment variance over {exact(float(told['budget_updates']))} "
            f"updates: {row.ratio} (95% CI {row.interval}). Prediction: gradient noise in "
            f"{told['budget_mode']} mode, sampling {row.sampling}."
        )
    drift = float(found.get("budget_drift", np.nan))
    if drift > 0:
        yield f"The drift, {percent(drift)} of the mean squared increment, is subtracted."


def _alignment(found: xr.Dataset) -> Iterator[str]:
    if "budget_cosine" not in found or not np.isfinite(found["budget_ratio"].values).any():
        return
    cosine, expected = (
        number(float(found[f"budget_cosine{suffix}"]), 2) for suffix in ("", "_expected")
    )
    angles, chance = (
        _degrees(found[f"budget_angle{suffix}"].values) for suffix in ("", "_expected")
    )
    yield (
        f"Covariances of increments and of gradient noise: cosine {cosine} (expected if equal, "
        f"for this many increments: {expected}); angles between their leading directions: {angles} "
        f"degrees (expected: {chance})."
    )


def _settings(found: xr.Dataset) -> list[str]:
    """Optimizer settings that were read from files."""
    said = found.attrs.get("budget_optimizer", "")
    return [printable(said, limit=400)] if said else []


def _degrees(angles: Floats) -> str:
    return ", ".join(f"{angle:.0f}" for angle in angles[:_SHOWN])


def _largest(errors: Floats) -> float:
    sizes = np.abs(errors[np.isfinite(errors)])
    return float(sizes.max()) if sizes.size else math.nan
