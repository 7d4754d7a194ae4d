"""Several cases side by side, windows of a run or runs: an overview, and what tells runs apart."""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.numbers import number, percent
from trajscope.schema import COMPONENT, GROUP, QUANTITY, STEP, cases_of


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
    return Difference(
        *(printable(one[name].item(), limit=80) for name in ("first", "second")),
        str(one[QUANTITY].item()),
        printable(one["quantity_label"].item(), limit=80),
        printable(one[GROUP].item(), limit=80),
        p_value,
        *(float(np.asarray(one[name])) for name in ("effect", "effect_low", "effect_high")),
        float(one["no_effect"]),
        printable(one["effect_is"].item(), limit=200),
        printable(one["null_hypothesis"].item(), limit=200),
        p_value <= alpha,
    )
