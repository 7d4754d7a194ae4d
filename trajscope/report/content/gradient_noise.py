"""The diffusion matrix in sentences, the same on the screen and on the page."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.curves import Floats
from trajscope.report.content.gradient_noise_summary import numbers_of, trend_of
from trajscope.report.content.numbers import exact, number, percent
from trajscope.schema import STEP

_LEVEL = 0.01
_LIMIT = 200


@dataclass(frozen=True)
class NumberRow:
    """A number of D in words: what it is, of each checkpoint, and what to hold it against."""

    label: str
    meaning: str
    cells: tuple[str, ...]
    compare_with: str


def heading(found: xr.Dataset) -> tuple[str, str]:
    """What D was computed of, and how."""
    told = found.attrs
    samples, data = int(told["n_samples"]), int(told["n_data"])
    if told["mode"] == "train":
        source = (
            f"{samples:,} batches of {told['batch_size']} out of {data:,} samples, network in "
            "train mode"
        )
    else:
        part = "all" if samples == data else f"{samples:,} of"
        source = f"{part} {data:,} samples, network in eval mode"
    device = printable(told["device"])
    order = "" if told.get("deterministic", True) else ", where last digits change from run to run"
    return (
        "Gradient noise: the covariance D of per-sample gradients",
        f"{told['n_weights']:,} weights; {source}; gradients in {printable(told['dtype'])} on "
        f"{device}{order}, {_products(told)}.{_one_by_one(told.get('unmapped', ()))}",
    )


def _products(told: Mapping[str, object]) -> str:
    """In which arithmetic everything after the gradients was done."""
    if told.get("products", "float64") == "float64":
        return "everything after in float64"
    return (
        "their inner products in float32 since no eigenvalue comes near the error, the rest in "
        "float64"
    )


def _one_by_one(unmapped: Sequence[str]) -> str:
    """What keeps torch from mapping over samples, where something does."""
    if not unmapped:
        return ""
    layer = printable(str(unmapped[0]).partition(": ")[0])
    return f" One backward pass a sample, which is slow: torch cannot map {layer} over samples."


def mapping_sentences(found: xr.Dataset) -> list[str]:
    """What was found under other names, and what keeps the values of the problem's model."""
    return [printable(text, limit=400) for text in found.attrs.get("mapping", [])]


def number_rows(found: xr.Dataset, shown: Sequence[int]) -> list[NumberRow]:
    """The numbers of all weights at some of the checkpoints, in the order of the result."""
    known = numbers_of(found)
    names = found.attrs.get("numbers", known)  # an earlier version told no order
    n_weights = int(found.attrs["n_weights"])
    return [
        NumberRow(
            label_of(found, name),
            printable(found[name].attrs.get("long_name", ""), limit=_LIMIT),
            tuple(in_words(found[name], found[name].values[list(shown)], n_weights)),
            printable(found[name].attrs.get("compare_with", ""), limit=_LIMIT),
        )
        for name in names
        if name in known
    ]


def label_of(found: xr.Dataset, name: str) -> str:
    """What a number is called; as in the result, where an earlier version gave it no label."""
    return printable(found[name].attrs.get("label", name.replace("_", " ")), limit=27)


def in_words(told: xr.DataArray, values: Floats, n_weights: int) -> list[str]:
    """One number of several checkpoints, as `told` says: counts whole, or as a share of weights."""
    shown_as = told.attrs.get("shown_as", "number")
    if shown_as == "share":
        return [percent(float(value) / n_weights, 2) for value in values]
    is_count = shown_as == "count" and bool(np.isfinite(values).all())
    return [(exact if is_count else number)(float(value)) for value in values]


def comparison(found: xr.Dataset) -> list[str]:
    """How alike D is at the first and the last of the chosen checkpoints, and in between."""
    if "spectrum_distance" not in found:
        return []
    pairs = np.triu_indices(found.sizes[STEP], 1)
    distances = found["spectrum_distance"].values[pairs]
    largest = float(np.nanmax(distances)) if np.isfinite(distances).any() else math.nan
    words = (
        f"Between two of these checkpoints at most {percent(largest)} of the trace lies at other "
        "eigenvalues"
    )
    if "eigenspace_overlap" not in found:
        return [f"{words}."]
    overlaps = found["eigenspace_overlap"].values[pairs]
    k = int(found["eigenspace_overlap"].attrs.get("n_directions", 0))
    by_chance = k / int(found.attrs["n_weights"])
    least = float(np.nanmin(overlaps)) if np.isfinite(overlaps).any() else math.nan
    return [
        f"{words}; the {k} leading eigenvectors overlap by {number(least, 2)} or more (1: the "
        f"same directions, {number(by_chance, 2)}: by chance)."
    ]


def trends(found: xr.Dataset) -> list[str]:
    """Whether loss and gradient norm fall over the checkpoints."""
    named = (("loss", "The loss"), ("gradient_norm", "|mean gradient| / sqrt(d)"))
    sentences = []
    for name, subject in named:
        trend = trend_of(found, name)
        if trend:
            sentences.append(_trend(subject, found[f"checkpoint_{name}"].values, trend))
    return sentences


def temperature(found: xr.Dataset) -> list[str]:
    """The temperature of SGD, where learning rate and batch size were given."""
    if "temperature" not in found:
        return []
    with_it = number(float(found["temperature"]))
    without = number(float(found["temperature_without_replacement"]))
    return [
        f"Temperature 1/beta = eta/(2b) = {with_it} where batches are drawn with replacement, "
        f"{without} without."
    ]


def _trend(subject: str, series: Floats, trend: Mapping[str, float]) -> str:
    finite = series[np.isfinite(series)]
    if not finite.size:
        return f"{subject} is no finite number at any checkpoint."
    moved = f"{subject} goes from {number(float(finite[0]))} to {number(float(finite[-1]))}"
    count, apart = int(trend["n_points"]), number(trend["correlation_time"], 2)
    if not math.isfinite(trend["p_value"]):
        return (
            f"{moved}; no trend is tested on {exact(count)} points that lie 3 correlation times "
            f"({apart} checkpoints each) apart."
        )
    word = "falls" if trend["slope"] < 0 else "rises"
    if trend["p_value"] > _LEVEL:
        word = "has no clear trend"
    return (
        f"{moved}, and {word}: p = {number(trend['p_value'], 2)} (Mann-Kendall, {exact(count)} "
        f"points 3 correlation times apart)."
    )
