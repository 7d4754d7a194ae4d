"""The statistic of every test relative to the critical value of its null."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import printable
from trajscope.schema import (
    GROUP,
    IN_LAYER_TABLE,
    IS_DOUBLED,
    IS_USED,
    NULL_LABEL,
    TEST,
    TEST_LABEL,
)

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
        Corrected for the number of layers, and doubled where another test asks the same.
    spoke :
        Whether the null is rejected.
    is_used :
        Whether that says anything of this path.
    """

    test: str
    label: str
    null: str
    ratio: float
    p_value: float
    spoke: bool
    is_used: bool = True


def standings(tests: xr.Dataset, alpha: float, group: int = 0) -> tuple[Standing, ...]:
    """The tests that were run on a group and have a statistic of their own, in their order."""
    return standings_of(tests, alpha, (group,))[0]


def standings_of(
    tests: xr.Dataset, alpha: float, groups: Sequence[int]
) -> list[tuple[Standing, ...]]:
    """`standings` of several groups, of which there may be thousands."""
    if "position" not in tests:
        return [()] * len(groups)
    names = ("p_adjusted", "position", "critical")
    numbers = [tests[name].transpose(GROUP, TEST).values.tolist() for name in names]
    words = [_words(tests, name) for name in (TEST, TEST_LABEL, NULL_LABEL)]
    shape = tests.sizes[GROUP], tests.sizes[TEST]
    is_used = np.ones(shape, bool)
    if IS_USED in tests:  # earlier versions did not say
        is_used = tests[IS_USED].transpose(GROUP, TEST).values.astype(bool)
    described = list(zip(_factors(tests), *words, strict=True))

    def of_group(group: int) -> Iterator[Standing]:
        rows = zip(
            *(each[group] for each in numbers), is_used[group].tolist(), described, strict=True
        )
        for alone, position, mark, used, (factor, test, label, null) in rows:
            if not (math.isfinite(alone) and math.isfinite(position)):
                continue
            p_value = min(1.0, factor * alone)
            ratio = position / mark if mark > 0 else math.nan
            spoke = p_value <= alpha and used
            yield Standing(test, label, null, ratio, p_value, spoke, used)

    return [tuple(of_group(group)) for group in groups]


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
    if TEST not in shown.coords:
        return {}
    return dict(zip(_words(shown, TEST), _words(shown, TEST_LABEL), strict=True))


def _factors(tests: xr.Dataset) -> list[int]:
    """What the p-value of every test is multiplied by; earlier versions did not say."""
    if IS_DOUBLED not in tests.coords:
        return [1] * tests.sizes[TEST]
    return [2 if doubled else 1 for doubled in tests[IS_DOUBLED].values]


def _words(tests: xr.Dataset, name: str) -> list[str]:
    """A coordinate of every test; its name, where an earlier version wrote none."""
    texts = [str(each) for each in tests[name if name in tests.coords else TEST].values]
    if name not in tests.coords:
        texts = [text.replace("_", " ") for text in texts]
    return [printable(text, limit=_LIMIT) for text in texts]
