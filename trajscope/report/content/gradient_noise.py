"""The diffusion matrix in sentences, for the screen and the page."""

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
    """A number of D in words: its meaning, its value at each checkpoint, its reference."""

    label: str
    meaning: str
    cells: tuple[str, ...]
    compare_with: str


def heading(found: xr.Dataset) -> tuple[str, str]:
    """The samples D was computed from, and how."""
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
    order = "" if told.get("deterministic", True) else ", not reproducible to the last digits"
    return (
        "Gradient noise: the covariance D of per-sample gradients",
        f"{told['n_weights']:,} weights; {source}; gradients in {printable(told['dtype'])} on "
        f"{device}{order}, {_products(told)}.{_one_by_one(told.get('unmapped', ()))}",
    )


def _products(told: Mapping[str, object]) -> str:
    """In which arithmetic everything after the gradients was done."""
    if told.get("products", "float64") == "float64":
        return "everything else in float64"
    return (
        "inner products in float32 (the error is far below all eigenvalues), everything else in "
        "float64"
    )


def _one_by_one(unmapped: Sequence[str]) -> str:
    """What keeps torch from mapping over samples, where something does."""
    if not unmapped:
        return ""
    layer = printable(str(unmapped[0]).partition(": ")[0])
    return f" Slow: one backward pass per sample, since torch cannot vectorise {layer} (vmap)."


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
    """How much D changes between the chosen checkpoints."""
    if "spectrum_distance" not in found:
        return []
    pairs = np.triu_indices(found.sizes[STEP], 1)
    distances = found["spectrum_distance"].values[pairs]
    largest = float(np.nanmax(distances)) if np.isfinite(distances).any() else math.nan
    words = (
        f"Between any two of these checkpoints the spectra differ by at most {percent(largest)} of "
        "the trace"
    )
    if "eigenspace_overlap" not in found:
        return [f"{words}."]
    overlaps = found["eigenspace_overlap"].values[pairs]
    k = int(found["eigenspace_overlap"].attrs.get("n_directions", 0))
    if k >= int(found.attrs["n_weights"]):  # all directions lead, of any two
        return [f"{words}."]
    by_chance = k / int(found.attrs["n_weights"])
    least = float(np.nanmin(overlaps)) if np.isfinite(overlaps).any() else math.nan
    return [
        f"{words}; the overlap of the {k} leading eigenvectors is at least {number(least, 2)} (1: "
        f"identical subspaces, {number(by_chance, 2)}: random subspaces)."
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
        f"Temperature 1/beta = eta/(2b) = {with_it} for batches sampled with replacement, "
        f"{without} without."
    ]


def noise_scales(found: xr.Dataset) -> list[str]:
    """The gradient noise scale along training, with its interval, beside the batch size."""
    if "gradient_noise_scale_low" not in found:
        return []
    values, low, high = (
        found[f"gradient_noise_scale{end}"].values for end in ("", "_low", "_high")
    )
    shown = [0, len(values) - 1] if len(values) > 1 else [0]
    said = ", ".join(
        f"{_samples(values[row])}{_ends(low[row], high[row])} at step "
        f"{exact(float(found[STEP].values[row]))}"
        for row in shown
    )
    sentence = f"Gradient noise scale tr D / |g|^2, in samples: {said}."
    batch, last = int(found.attrs.get("batch_size", 0)), float(values[-1])
    if batch and math.isfinite(last) and last > 0:
        word = "noise outweighs" if last > batch else "the mean outweighs"
        other = "the mean" if last > batch else "noise"
        ratio = number(max(last / batch, batch / last), 2)
        sentence += f" In the last batches, of {batch:,}, {word} {other} {ratio} times."
    return [sentence]


def _samples(value: float) -> str:
    return number(float(value)) if math.isfinite(value) else "no upper limit"


def _ends(low: float, high: float) -> str:
    """The interval, as far as there is one."""
    if math.isnan(low):
        return ""
    if math.isinf(low):
        return " (the mean gradient is below its noise)"
    if math.isinf(high):
        return f" (at least {number(float(low))})"
    return f" ({number(float(low))} to {number(float(high))})"


def _trend(subject: str, series: Floats, trend: Mapping[str, float]) -> str:
    finite = series[np.isfinite(series)]
    if not finite.size:
        return f"{subject} is not finite at any checkpoint."
    moved = f"{subject} goes from {number(float(finite[0]))} to {number(float(finite[-1]))}"
    count, apart = int(trend["n_points"]), number(trend["correlation_time"], 2)
    if not math.isfinite(trend["p_value"]):
        return (
            f"{moved}; no trend test, since only {exact(count)} points are 3 correlation times "
            f"({apart} checkpoints each) apart."
        )
    word = "falls" if trend["slope"] < 0 else "rises"
    if trend["p_value"] > _LEVEL:
        word = "has no clear trend"
    return (
        f"{moved}, and {word}: p = {number(trend['p_value'], 2)} (Mann-Kendall, {exact(count)} "
        f"points 3 correlation times apart)."
    )
