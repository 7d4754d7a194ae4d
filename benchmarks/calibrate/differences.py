"""p-values and intervals of the tests of difference, on two simulated runs."""

from typing import Any, Final

import numpy as np

from trajscope.inference.comparison.differences import Moves, Run, differences
from trajscope.inference.comparison.pair import QUANTITIES
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.kernels.factors import factor_of_gram
from trajscope.kernels.gram import Floats

OF_DIFFERENCES: Final = tuple(quantity.label for quantity in QUANTITIES)
INTERVAL: Final = 0.05
"""One less the level of the intervals whose cover is measured."""


def difference_tests(first: Floats, second: Floats, n_surrogates: int, seed: int) -> dict[str, Any]:
    """Of all weights of two runs (step, weight): p-values, and whether no effect is covered."""
    settings = DecisionSettings(n_surrogates=n_surrogates, alpha=INTERVAL, seed=seed)
    found = differences([_run("a", first), _run("b", second)], settings).isel(pair=0, group=0)
    told: dict[str, Any] = {"guard": not found.attrs["guards"]}
    for place, quantity in enumerate(QUANTITIES):
        own = found.isel(quantity=place)
        if np.isfinite(own["p_value"]):
            none = float(own["no_effect"])
            told[quantity.label] = float(own["p_value"])
            told[f"{quantity.label}, covered"] = bool(
                own["effect_low"] <= none <= own["effect_high"]
            )
    return told


def _run(label: str, path: Floats) -> Run:
    increments = np.diff(path, axis=0)
    if increments.shape[1] > len(increments):
        increments = factor_of_gram(increments @ increments.T)
    squares = np.square(increments).sum(axis=1)
    moves = Moves(squares, path.shape[1], gram=increments @ increments.T)
    return Run(label, np.arange(len(path)), {"all": moves})
