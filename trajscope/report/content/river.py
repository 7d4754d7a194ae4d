"""River and hills in words: what averages over windows show, beside a random walk's."""

from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.report.content.curves import Floats
from trajscope.report.content.numbers import decimal, number, percent
from trajscope.schema import GROUP, RIVER_NUMBER, WINDOW_LENGTH

NUMBERS = ("river_share", "river_cosine", "hill_energy", "river_speed")
"""Observables of averages over windows."""


@dataclass(frozen=True)
class RiverRow:
    """Windows of one length: four numbers in words, each with a random walk's, and p."""

    length: str
    share: str
    cosine: str
    energy: str
    speed: str
    p_values: tuple[str, ...]


def is_measured(observables: xr.Dataset) -> bool:
    """Whether a result holds averages over windows, of a path that moves."""
    return all(name in observables for name in NUMBERS) and bool(
        np.isfinite(observables["river_share"].isel({GROUP: 0}).values).any()
    )


def walk_of(whole: xr.Dataset, name: str) -> Floats:
    """(window_length,) the number of a random walk with increments of this run's mean square."""
    squared = float((whole["increment_norm"] ** 2).mean())
    unit = {"hill_energy": squared, "river_speed": squared**0.5}.get(name, 1.0)
    walk: Floats = unit * whole[f"{name}_brownian"].values
    return walk


def chosen(whole: xr.Dataset) -> int:
    """Place of the length at which the share along the river differs most from a walk's."""
    return int(np.argmax(np.abs(whole["river_share"].values - walk_of(whole, "river_share"))))


def river_rows(observables: xr.Dataset, tests: xr.Dataset) -> list[RiverRow]:
    """A row for every length of windows, of all weights; none where nothing was measured."""
    if not is_measured(observables):
        return []
    whole = observables.isel({GROUP: 0})
    found = {name: whole[name].values for name in NUMBERS}
    walk = {name: walk_of(whole, name) for name in NUMBERS}
    ratio = {name: found[name] / walk[name] for name in NUMBERS}
    rows = []
    for place, length in enumerate(whole[WINDOW_LENGTH].values):
        beside = {name: (found[name][place], walk[name][place]) for name in NUMBERS}
        rows.append(
            RiverRow(
                f"{int(length):,}",
                "{}; walk {}".format(*map(percent, beside["river_share"])),
                "{}; walk {}".format(*map(decimal, beside["river_cosine"])),
                number(ratio["hill_energy"][place], 2),
                number(ratio["river_speed"][place], 2),
                _p_values(tests, length),
            )
        )
    return rows


def _p_values(tests: xr.Dataset, length: int) -> tuple[str, ...]:
    """Of every number at one length; "" where it was not tested."""
    if "river_p_value" not in tests:
        return ("",) * len(NUMBERS)
    of_all = tests["river_p_value"].isel({GROUP: 0}, missing_dims="ignore")
    own = of_all.sel({WINDOW_LENGTH: length})
    found = [float(own.sel({RIVER_NUMBER: name})) for name in NUMBERS]
    return tuple(f"{p:.2g}" if np.isfinite(p) else "" for p in found)


def river_p_of_groups(tests: xr.Dataset) -> list[dict[str, float]]:
    """P of every number over all lengths, of layers over all layers too; empty where not tested.

    Results of earlier versions have those of all weights alone.
    """
    if "river_p_any" not in tests or GROUP not in tests["river_p_any"].dims:
        return []
    values = tests["river_p_any"].transpose(GROUP, RIVER_NUMBER).values.tolist()
    return [dict(zip(NUMBERS, own, strict=True)) for own in values]
