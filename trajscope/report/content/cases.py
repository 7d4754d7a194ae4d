"""Several cases side by side, windows of a run or runs: an overview, and what tells runs apart."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.numbers import counted, number, percent
from trajscope.schema import ALL_WEIGHTS, COMPONENT, GROUP, QUANTITY, STEP, cases_of


@dataclass(frozen=True)
class Row:
    """One group of one case, in words; `nan` and what was not measured is "unknown".

    Attributes
    ----------
    verdict :
        Its code as it is read.
    variance :
        Mean squared increment of a weight from one checkpoint to the next.
    components :
        Shares of variance along the first three joint components.
    """

    case: str
    group: str
    verdict: str
    displacement: str
    exponent: str
    variance: str
    components: str


@dataclass(frozen=True)
class Difference:
    """One test of difference between two runs.

    Attributes
    ----------
    quantity, group :
        What differs, by its name, and in which weights.
    effect, low, high :
        The effect and its interval; `is` says what it is.
    rejects :
        Whether its null hypothesis is rejected.
    """

    first: str
    second: str
    quantity: str
    label: str
    group: str
    p_value: float
    effect: float
    low: float
    high: float
    no_effect: float
    meaning: str
    null: str
    rejects: bool


@dataclass(frozen=True)
class Guard:
    """Something that was not compared, and why."""

    code: str
    runs: tuple[str, ...]
    group: str
    reason: str


def label_of(case: xr.DataTree) -> str:
    """What a case is called, printable."""
    return printable(case.attrs.get("label", ""), limit=80)


def overview(results: xr.DataTree) -> tuple[Row, ...]:
    """A row for every group of every case; cases in order, all weights of each first."""
    return tuple(
        _row(case, place)
        for case in cases_of(results)
        for place in range(case["observables"].sizes[GROUP])
    )


def differences(results: xr.DataTree) -> tuple[Difference, ...]:
    """The tests that were made, pair by pair, all weights first; see `guards` for the others."""
    found = results["compare"].to_dataset()
    alpha = float(found.attrs.get("alpha", math.nan))
    made = []
    for pair in range(found.sizes.get("pair", 0)):
        for group in range(found.sizes[GROUP]):
            for place in range(found.sizes[QUANTITY]):
                one = found.isel({"pair": pair, GROUP: group, QUANTITY: place})
                p_value = float(one["p_value"])
                if math.isfinite(p_value):
                    made.append(_difference(one, p_value, alpha))
    return tuple(made)


def in_words(pair: Sequence[Difference]) -> str:
    """What differs between two runs, in one or two sentences.

    Parameters
    ----------
    pair :
        All tests of these two runs.
    """
    whole = [each for each in pair if each.group == ALL_WEIGHTS]
    differ = [each for each in whole if each.rejects]
    same = [each.label for each in whole if not each.rejects]
    told = "; ".join(f"{each.label} {_effect(each)}, p = {each.p_value:.2g}" for each in differ)
    layers: dict[str, int] = {}
    for each in pair:
        if each.rejects and each.group != ALL_WEIGHTS:
            layers[each.label] = layers.get(each.label, 0) + 1
    in_layers = "; ".join(f"{label} in {counted(n, 'layer')}" for label, n in layers.items())
    parts = [
        told,
        f"no difference seen in {', '.join(same)}" if same else "",
        f"by layer: {in_layers}" if in_layers else "",
    ]
    found = ". ".join(f"{part[0].upper()}{part[1:]}" for part in parts if part)
    return f"{pair[0].second} against {pair[0].first}: {found or 'nothing could be tested'}."


def _effect(each: Difference) -> str:
    """The effect with its interval: a ratio, or a difference."""
    interval = f"({number(each.low)} to {number(each.high)})"
    if each.no_effect == 1:
        return f"{number(each.effect)} {interval} times as large"
    larger = f"{number(abs(each.effect))} {'higher' if each.effect > 0 else 'lower'}"
    return f"{larger} {interval}"


def guards(results: xr.DataTree) -> tuple[Guard, ...]:
    """What was not compared, and why."""
    return tuple(
        Guard(
            printable(each.get("code", ""), limit=40),
            tuple(printable(run, limit=80) for run in each.get("runs", ())),
            printable(each.get("group", ""), limit=80),
            printable(each.get("reason", ""), limit=600),
        )
        for each in results["compare"].attrs.get("guards", ())
    )


def _row(case: xr.DataTree, place: int) -> Row:
    own = case["observables"].to_dataset().isel({GROUP: place})
    name = str(own[GROUP].item())
    judged = case["verdict"].to_dataset()
    codes = dict(zip(judged[GROUP].values.tolist(), judged["code"].values.tolist(), strict=True))
    shares = own["explained_variance"].isel({COMPONENT: slice(3)}).values
    return Row(
        label_of(case),
        printable(name, limit=80),
        printable(codes.get(name, "unknown"), limit=40).replace("_", " "),
        number(float(own["displacement"].isel({STEP: -1}))),
        number(float(own["diffusion_exponent"]), 2),
        number(float(own["increment_rms"]) ** 2),
        ", ".join(percent(float(share)) for share in shares),
    )


def _difference(one: xr.Dataset, p_value: float, alpha: float) -> Difference:
    first, second = (printable(one[name].item(), limit=80) for name in ("first", "second"))
    effect, low, high = (float(one[name]) for name in ("effect", "effect_low", "effect_high"))
    return Difference(
        first=first,
        second=second,
        quantity=str(one[QUANTITY].item()),
        label=printable(one["quantity_label"].item(), limit=80),
        group=printable(one[GROUP].item(), limit=80),
        p_value=p_value,
        effect=effect,
        low=low,
        high=high,
        no_effect=float(one["no_effect"]),
        meaning=printable(one["effect_is"].item(), limit=200),
        null=printable(one["null_hypothesis"].item(), limit=200),
        rejects=p_value <= alpha,
    )
