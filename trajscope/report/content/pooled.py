"""All runs of an ensemble pooled, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.curves import Floats
from trajscope.report.content.numbers import number, percent
from trajscope.schema import GROUP, STEP, TEST_LABEL, VERDICT


@dataclass(frozen=True)
class Pooled:
    """One group of all runs together.

    Attributes
    ----------
    verdicts :
        Shares of the runs: "brownian 80%, confined 20%".
    numbers, p_values :
        In the order of `POOLED` and of the tests of the ensemble.
    """

    group: str
    verdicts: str
    numbers: tuple[str, ...]
    p_values: tuple[str, ...]


POOLED: tuple[tuple[str, str], ...] = (
    ("displacement", "displacement, weight units"),
    ("diffusion_exponent", "diffusion exponent"),
    ("increment_rms", "rms increment, weight units"),
)
"""Numbers of the runs whose mean and spread are said: variable, heading."""


def pooled_tests(results: xr.DataTree) -> tuple[str, ...]:
    """What the pooled tests are called, in their order."""
    found = results["ensemble"].to_dataset()
    return tuple(printable(text, limit=40) for text in found[TEST_LABEL].values)


def pooled(results: xr.DataTree) -> tuple[Pooled, ...]:
    """All runs together, group by group, all weights first."""
    found = results["ensemble"].to_dataset()
    codes = [str(code).replace("_", " ") for code in found[VERDICT].values]
    shares, p_values = found["verdict_share"].values, found["p_pooled"].values
    numbers = [_spread(found, name) for name, _ in POOLED]
    return tuple(
        Pooled(
            group=printable(group, limit=80),
            verdicts=_shares(codes, shares[place]),
            numbers=tuple(column[place] for column in numbers),
            p_values=tuple(_p_value(float(p)) for p in p_values[place]),
        )
        for place, group in enumerate(found[GROUP].values.tolist())
    )


def energy_in_words(results: xr.DataTree) -> str:
    """How the free energy of the replicas moves along training; "" where it is not known."""
    if "ensemble" not in results.children:
        return ""
    found = results["ensemble"].to_dataset()
    if "free_energy_fall" not in found:
        return ""
    value, low, high = (float(found[f"free_energy_fall{end}"]) for end in ("", "_low", "_high"))
    first, last = (number(float(found["free_energy"].values[place])) for place in (0, -1))
    moves = "rises" if high < 0 else "neither falls nor rises beyond chance"
    word = "falls" if low > 0 else moves
    return (
        f"The free energy E[Phi] - H/beta over replicas {word}: from {first} to {last} above the "
        f"steady state, by {number(value)} ({number(low)} to {number(high)}), in units of 1/beta; "
        "Phi from the steady state's covariance."
    )


def _shares(codes: Sequence[str], shares: Floats) -> str:
    order = np.argsort(-shares, kind="stable")
    known = [
        f"{codes[place]} {percent(float(shares[place]))}" for place in order if shares[place] > 0
    ]
    return ", ".join(known) or "unknown"


def _spread(found: xr.Dataset, name: str) -> list[str]:
    """Mean ± standard deviation over runs, of every group; at the last common step."""
    if f"{name}_mean" not in found:
        return ["unknown"] * found.sizes[GROUP]
    mean, sd = found[f"{name}_mean"], found[f"{name}_sd"]
    if STEP in mean.dims:
        mean, sd = mean.isel({STEP: -1}), sd.isel({STEP: -1})
    pairs = zip(mean.values.tolist(), sd.values.tolist(), strict=True)
    return [f"{number(one)} ± {number(other, 2)}" for one, other in pairs]


def _p_value(p_value: float) -> str:
    return f"{p_value:.2g}" if np.isfinite(p_value) else "not tested"
