"""Norms and directions of every group, in words: a row of a table each."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.curves import Floats
from trajscope.report.content.numbers import decimal, number
from trajscope.report.content.river import river_p_of_groups
from trajscope.schema import EQUILIBRIUM_ANGLE, GROUP, WEIGHT_DECAY

NAMES = (
    "norm", "relative_increment", "rotation_angle", "cosine_to_first", "norm_balance",
    "increment_norm",
)  # fmt: skip
"""Observables that the table shows, and the one that its random walk is made of."""


@dataclass(frozen=True)
class NormRow:
    """A group: its name and numbers in words.

    Attributes
    ----------
    is_main :
        Whether it is shown where there are too many: all weights, and the largest layers.
    """

    name: str
    first: str
    last: str
    walk: str
    relative: str
    angle: str
    cosine: str
    balance: str
    river: str
    is_main: bool


def norm_rows(observables: xr.Dataset, tests: xr.Dataset, most: int = 20) -> list[NormRow]:
    """A row for every group, all weights first; none where the result does not hold them."""
    if any(name not in observables for name in NAMES):
        return []
    sizes = observables["n_weights"].values
    main = {0, *np.argsort(-sizes[1:], kind="stable")[:most] + 1}
    # Plain arrays: selecting one of thousands of layers with its labels takes milliseconds.
    values = {name: observables[name].transpose(GROUP, ...).values for name in NAMES}
    p_values = [own["river_share"] for own in river_p_of_groups(tests)]
    p_values = p_values or [math.nan] * len(sizes)
    return [
        _row(
            name,
            {key: each[place] for key, each in values.items()},
            p_values[place],
            is_main=place in main,
        )
        for place, name in enumerate(observables[GROUP].values)
    ]


def _row(name: object, group: Mapping[str, Floats], river_p: float, *, is_main: bool) -> NormRow:
    first, last = float(group["norm"][0]), float(group["norm"][-1])
    path = float(np.nansum(group["increment_norm"] ** 2))
    return NormRow(
        name=printable(name, limit=80),
        first=number(first),
        last=number(last),
        walk=number(math.sqrt(first**2 + path)),
        relative=number(middle(group["relative_increment"]), 2),
        angle=number(math.degrees(middle(group["rotation_angle"])), 2),
        cosine=decimal(float(group["cosine_to_first"][-1]), 3),
        balance=number(float(group["norm_balance"])),
        river=f"{river_p:.2g}" if math.isfinite(river_p) else "",
        is_main=is_main,
    )


def equilibrium_in_words(results: xr.DataTree) -> str:
    """The turn that scale-invariant weights come to; ``""`` where it is not known."""
    observables = results["observables"].to_dataset()
    decay = results["trajectory"].attrs.get(WEIGHT_DECAY)
    if not isinstance(decay, Mapping) or EQUILIBRIUM_ANGLE not in observables:
        return ""
    degrees = math.degrees(middle(observables[EQUILIBRIUM_ANGLE].values))
    return (
        f"At the equilibrium of weight decay {printable(decay.get('value'), limit=20)} "
        f"({printable(decay.get('source'), limit=60)}) and this learning rate, scale-invariant "
        "weights, as those before a normalisation, turn by "
        f"{number(degrees, 2)} degrees from checkpoint to checkpoint (median), if Adam's decay is "
        "decoupled, as AdamW's is."
    )


def middle(curve: Floats) -> float:
    """The median of what is known."""
    known = curve[np.isfinite(curve)]
    return float(np.median(known)) if known.size else math.nan
