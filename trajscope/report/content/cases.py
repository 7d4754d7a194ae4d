"""Several cases side by side, windows of a run or runs: an overview, and what tells runs apart."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trajscope.errors import printable
from trajscope.report.content.numbers import number, percent
from trajscope.schema import COMPONENT, GROUP, PAIR, QUANTITY, STEP, cases_of

if TYPE_CHECKING:
    import xarray as xr


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
        Shares of variance along the first three principal components.
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
    """Something that was not compared, why, and what would lift it, if that is known."""

    code: str
    runs: tuple[str, ...]
    group: str
    reason: str
    remedy: str = ""


def label_of(case: "xr.DataTree") -> str:
    """What a case is called, printable."""
    return printable(case.attrs.get("label", ""), limit=80)


def overview(results: "xr.DataTree") -> tuple[Row, ...]:
    """A row for every group of every case; cases in order, all weights of each first."""
    return tuple(row for case in cases_of(results) for row in _rows(case))


def differences(results: "xr.DataTree") -> tuple[Difference, ...]:
    """The tests that were made, pair by pair, all weights first; see `guards` for the others."""
    found = results["compare"].to_dataset()
    if PAIR not in found.sizes:
        return ()
    alpha = float(found.attrs.get("alpha", math.nan))
    p_value, effect, low, high = (
        np.asarray(found[name].transpose(PAIR, GROUP, QUANTITY).values, dtype=np.float64)
        for name in ("p_value", "effect", "effect_low", "effect_high")
    )
    first, second, groups, labels, meanings, nulls = (
        [printable(text, limit=limit) for text in found[name].values]
        for name, limit in (
            ("first", 80), ("second", 80), (GROUP, 80), ("quantity_label", 80),
            ("effect_is", 200), ("null_hypothesis", 200),
        )
    )  # fmt: skip
    quantities, no_effect = found[QUANTITY].values.tolist(), found["no_effect"].values
    return tuple(
        Difference(
            first=first[pair],
            second=second[pair],
            quantity=str(quantities[what]),
            label=labels[what],
            group=groups[group],
            p_value=float(p_value[pair, group, what]),
            effect=float(effect[pair, group, what]),
            low=float(low[pair, group, what]),
            high=float(high[pair, group, what]),
            no_effect=float(no_effect[what]),
            meaning=meanings[what],
            null=nulls[what],
            rejects=bool(p_value[pair, group, what] <= alpha),
        )
        for pair, group, what in np.argwhere(np.isfinite(p_value)).tolist()
    )


def guards(results: "xr.DataTree") -> tuple[Guard, ...]:
    """What was not compared, and why."""
    return tuple(
        Guard(
            printable(each.get("code", ""), limit=40),
            tuple(printable(run, limit=80) for run in each.get("runs", ())),
            printable(each.get("group", ""), limit=80),
            printable(each.get("reason", ""), limit=600),
            printable(each.get("remedy", ""), limit=600),
        )
        for each in results["compare"].attrs.get("guards", ())
    )


def _share(share: float) -> str:
    """A share in percent, short enough for a table: "98%", "<1%"."""
    return percent(share).replace("over ", ">").replace("under ", "<")


def _rows(case: "xr.DataTree") -> list[Row]:
    own, judged = case["observables"].to_dataset(), case["verdict"].to_dataset()
    codes: dict[object, object] = {}
    if "code" in judged:
        codes = dict(
            zip(judged[GROUP].values.tolist(), judged["code"].values.tolist(), strict=True)
        )
    groups = own[GROUP].values.tolist()
    moved = own["displacement"].isel({STEP: -1}).values
    shares = own["explained_variance"].isel({COMPONENT: slice(3)}).values
    exponents, sizes = own["diffusion_exponent"].values, own["increment_rms"].values
    return [
        Row(
            case=label_of(case),
            group=printable(name, limit=80),
            verdict=printable(codes.get(name, "unknown"), limit=40).replace("_", " "),
            displacement=number(float(moved[place])),
            exponent=number(float(exponents[place]), 2),
            variance=number(float(sizes[place]) ** 2),
            components=", ".join(_share(float(share)) for share in shares[place]),
        )
        for place, name in enumerate(groups)
    ]
