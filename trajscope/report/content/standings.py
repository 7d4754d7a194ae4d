"""The statistic of every test relative to the critical value of its null."""

import math
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.schema import GROUP, IN_LAYER_TABLE, NULL_LABEL, TEST, TEST_LABEL

_LIMIT = 30


@dataclass(frozen=True)
class Standing:
    """A statistic relative to the critical value of its null.

    Attributes
    ----------
    label, null :
        Names of the test and of its null hypothesis.
    ratio :
        0 at the median of the null, 1 at the critical value (its 1 - alpha quantile); NaN where
        the null has no spread.
    p_value :
        Corrected for the number of layers.
    spoke :
        Whether the null is rejected.
    """

    test: str
    label: str
    null: str
    ratio: float
    p_value: float
    spoke: bool


def standings(tests: xr.Dataset, alpha: float, group: int = 0) -> tuple[Standing, ...]:
    """The tests that were run on a group and have a statistic of their own, in their order."""
    if "position" not in tests:
        return ()
    own = tests.isel({GROUP: group})
    found = []
    for place in range(own.sizes[TEST]):
        one = own.isel({TEST: place})
        p_value, position, mark = (
            float(one[name]) for name in ("p_adjusted", "position", "critical")
        )
        if math.isfinite(p_value) and math.isfinite(position):
            ratio = position / mark if mark > 0 else math.nan
            test, label, null = (_word(one, name) for name in (TEST, TEST_LABEL, NULL_LABEL))
            found.append(Standing(test, label, null, ratio, p_value, p_value <= alpha))
    return tuple(found)


def strongest(found: tuple[Standing, ...]) -> tuple[Standing, ...]:
    """The test with the smallest p-value for each null, in the order of the nulls."""
    by_null: dict[str, list[Standing]] = {}
    for one in found:
        by_null.setdefault(one.null, []).append(one)
    return tuple(
        min(same, key=lambda one: (one.p_value, -np.nan_to_num(one.ratio)))
        for same in by_null.values()
    )


def layer_tests(tests: xr.Dataset) -> dict[str, str]:
    """Labels of the tests that the table of layers shows, by name."""
    shown = tests
    if IN_LAYER_TABLE in tests.coords:
        shown = tests.isel({TEST: np.flatnonzero(tests[IN_LAYER_TABLE].values)})
    elif "position" in tests:  # a result of an earlier version: whatever has a statistic
        shown = tests.isel({TEST: np.flatnonzero(tests["position"].notnull().any(GROUP))})
    each = (shown.isel({TEST: place}) for place in range(shown.sizes.get(TEST, 0)))
    return {_word(one, TEST): _word(one, TEST_LABEL) for one in each}


def _word(one: xr.Dataset, name: str) -> str:
    """A coordinate of a single test; its name, where an earlier version wrote none."""
    text = str(one[name].item()) if name in one.coords else str(one[TEST].item()).replace("_", " ")
    return printable(text, limit=_LIMIT)
