from pathlib import Path

import pytest

from trajscope.checkpoints.base import Checkpoint, Series
from trajscope.checkpoints.selection import selected
from trajscope.errors import OptionError, TrajectoryError

STEPS = (0, 10, 20, 30, 40, 1000)


def series(steps=STEPS):
    checkpoints = tuple(Checkpoint(step, Path("x"), "x") for step in steps)
    return Series(Path("/run"), "run", ("run",), checkpoints, "step", "number in the name")


def left(steps=None, burn_in=None):
    return [checkpoint.step for checkpoint in selected(series(), steps, burn_in).checkpoints]


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (None, STEPS),
        (":", STEPS),
        ("10:40", (10, 20, 30)),
        ("10:", (10, 20, 30, 40, 1000)),
        (":30", (0, 10, 20)),
        ("::2", (0, 20, 40)),
        ("10::3", (10, 40)),
        (" 5 : 45 : 2 ", (10, 30)),
        ("0.5:30.5", (10, 20, 30)),
        (slice(10, 40), (10, 20, 30)),
        (slice(None, None, 3), (0, 30)),
    ],
)
def test_steps_are_a_half_open_range_of_step_values_with_every_stride_th(steps, expected):
    assert left(steps) == list(expected)


@pytest.mark.parametrize(
    ("burn_in", "count"), [(None, 0), (0, 0), (2, 2), ("3", 3), ("0%", 0), ("50%", 3), ("1%", 1)]
)
def test_a_burn_in_drops_the_first_checkpoints(burn_in, count):
    assert left(burn_in=burn_in) == list(STEPS[count:])


def test_a_burn_in_counts_what_the_steps_left():
    assert left("10:", "40%") == [30, 40, 1000]


@pytest.mark.parametrize(
    "steps", ["", "10", "a:b", "1:2:3:4", "::0", "::-1", "::1.5", "nan:", slice(0, 9, -1)]
)
def test_steps_that_make_no_sense_are_refused(steps):
    with pytest.raises(OptionError, match="START:STOP:STRIDE was expected"):
        left(steps)


@pytest.mark.parametrize("burn_in", ["", "-1", -1, "x", "10 %%", "101%", "1e3", 1.5, "٣"])
def test_a_burn_in_that_makes_no_sense_is_refused(burn_in):
    with pytest.raises(OptionError, match="a number of checkpoints"):
        left(burn_in=burn_in)


@pytest.mark.parametrize(("steps", "burn_in"), [("2000:", None), ("0:10", None), (None, 5)])
def test_a_selection_that_leaves_too_little_is_told_from_too_few_checkpoints(steps, burn_in):
    with pytest.raises(
        TrajectoryError, match=r"of 6 checkpoints at steps 0 to 1000, the selection"
    ):
        left(steps, burn_in)
    with pytest.raises(TrajectoryError, match="one checkpoint with a distinct step"):
        selected(series((5,)), steps, burn_in)
