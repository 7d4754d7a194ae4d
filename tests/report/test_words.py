import math

import pytest
import xarray as xr

from trajscope.errors import ResultsError
from trajscope.report.content.numbers import (
    Window,
    counted,
    decimal,
    exact,
    listed,
    number,
    percent,
    window,
)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.8537, "0.854"), (12345.6, "12,300"), (1.2e-7, "1.2e−7"), (0, "0"), (math.nan, "unknown"),
        (math.inf, "unknown"), (-0.05, "−0.0500"), (999.6, "1,000"), (1e6, "1e6"), (99.96, "100"),
        (1e-300, "1e−300"),
    ],
)  # fmt: skip
def test_a_number_has_three_significant_digits(value, words):
    assert number(value) == words


@pytest.mark.parametrize(
    ("fraction", "words"),
    [(0.452, "45%"), (0, "0%"), (1, "100%"), (1e-4, "under 1%"), (0.9999, "over 99%"),
     (math.nan, "unknown")],
)  # fmt: skip
def test_a_share_is_never_rounded_to_nothing_or_to_everything(fraction, words):
    assert percent(fraction) == words


def test_decimals_have_no_false_sign_of_zero():
    assert [decimal(value) for value in (-0.004, -0.18, 1.0, math.nan)] == [
        "0.00", "−0.18", "1.00", "unknown",
    ]  # fmt: skip


def test_counts_agree_with_their_noun():
    assert [counted(n, "checkpoint") for n in (0, 1, 1200)] == [
        "0 checkpoints", "1 checkpoint", "1,200 checkpoints",
    ]  # fmt: skip


def test_steps_are_given_as_they_are():
    assert [exact(value) for value in (30_900, 0.5, 1234567.0)] == ["30,900", "0.5", "1,234,567"]


def test_a_long_list_says_how_many_more_there_are():
    assert listed(["a", "b"]) == "a, b"
    assert listed(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


@pytest.mark.parametrize(
    ("spacing", "unit", "words"),
    [
        (100.0, "step", "30 checkpoints (3,000 steps)"),
        (1.0, "epoch", "30 checkpoints (30 epochs)"),
        (None, "step", "30 checkpoints"), (1.0, "index", "30 checkpoints"),
    ],
)  # fmt: skip
def test_lengths_are_given_in_checkpoints_first_then_in_steps(spacing, unit, words):
    assert Window(300, 0, 1, spacing, unit).length(30) == words


def test_a_window_knows_whether_its_checkpoints_are_evenly_spaced():
    even = xr.Dataset(coords={"step": [10, 20, 30]}, attrs={"step_unit": "step"})
    uneven = xr.Dataset(coords={"step": [10, 20, 31]})
    assert window(even) == Window(3, 10, 30, 10, "step")
    assert window(uneven) == Window(3, 10, 31, None, "index")


def test_a_trajectory_without_steps_has_no_window():
    with pytest.raises(ResultsError, match="fewer than two steps, so the detection limits"):
        window(xr.Dataset())
