import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from trajscope import OptionError, analyze
from trajscope.inference.course.changes import find_changes
from trajscope.inference.course.clock import NoiseCourse, constant, fitted
from trajscope.inference.course.rest import Draws
from trajscope.report.content.phases import phases

DRAWS = Draws(199, 0.01, 0)
T, D = 200, 40
TIME = np.arange(T) / T


def noise(seed, n=T):
    return np.random.default_rng([4, seed]).standard_normal((n, D))


def autoregressive(seed, r, n=T):
    return lfilter([1.0], [1.0, -r], noise(seed, n + 100), axis=0)[100:]


def push(size):
    return size * np.eye(D)[0]


STEADY = {
    "walk": noise,
    "walk with drift": lambda s: noise(s) + 0.2,
    "well": lambda s: np.diff(autoregressive(s, 0.8, T + 1), axis=0),
    "persistent increments": lambda s: autoregressive(s, 0.9),
    "drift that fades": lambda s: noise(s) + push(3) / (1 + 20 * TIME)[:, np.newaxis],
    "relaxation": lambda s: np.diff(
        autoregressive(s, 0.93, T + 1)
        + push(20) * np.exp(-np.arange(T + 1) / 15)[:, np.newaxis], axis=0,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STEADY)
def test_what_does_not_change_has_one_phase(name):
    found = [find_changes(STEADY[name](s), constant(T), None, DRAWS) for s in range(12)]
    assert sum(bool(each) for each in found) <= 2


@pytest.mark.parametrize("place", [60, 100, 150])
def test_changes_are_found_where_they_are(place):
    early = (np.arange(T) < place)[:, np.newaxis]
    others = 0
    for seed in range(4):
        moved = noise(seed) + early * push(2.5)
        found = find_changes(moved, constant(T), None, DRAWS)
        assert "drift" in [change.kind for change in found if abs(change.place - place) <= 5]
        others += len(found) - 1
        louder = noise(seed) * np.where(early, 1, 0.3)
        found = find_changes(louder, fitted(louder), None, DRAWS)
        assert "noise" in [change.kind for change in found if abs(change.place - place) <= 3]
        assert all(change.p_value <= 0.01 for change in found)
        others += len(found) - 1
    assert others <= 2


def test_a_burst_of_noise_has_two_ends():
    loud = noise(1) * np.where((TIME >= 0.4) & (TIME < 0.6), 3, 1)[:, np.newaxis]
    course = fitted(loud)
    assert course.kind == "steps"
    assert np.abs(np.array(course.places) - [80, 120]).max() <= 3


def test_steps_of_the_learning_rate_have_its_name():
    rate = np.where(TIME < 0.5, 0.1, 0.01)
    y = noise(2) * rate[:, np.newaxis]
    found = find_changes(y, NoiseCourse("steps", rate / 0.1, (101,)), rate, DRAWS)
    assert [(change.kind, change.place) for change in found] == [("learning rate", 100)]
    smooth = 0.1 * (1 + np.cos(np.pi * TIME)) / 2 + 1e-3
    assert find_changes(noise(2) * smooth[:, np.newaxis], constant(T), smooth, DRAWS) == []


def test_every_phase_has_a_verdict_and_steps():
    walk = noise(3) + (np.arange(T) < 100)[:, np.newaxis] * push(3)
    path = xr.DataArray(
        np.concatenate([np.zeros((1, D)), walk.cumsum(axis=0)]),
        dims=("step", "weight"), coords={"step": 10 * np.arange(T + 1)},
    )  # fmt: skip
    results = analyze(path, n_surrogates=199)
    told = results["verdict"].attrs["phases"]
    assert [phase["code"] for phase in told] == ["drifting", "brownian"]
    assert [phase["opens_with"] for phase in told] == [None, "drift"]
    first, second = told
    assert abs(second["first_step"] - 1000) <= 50
    assert second["first_step"] - first["last_step"] == 10
    assert first["checkpoints"] + second["checkpoints"] == T + 1
    assert [phase.opens_with.split(",")[0] for phase in phases(results)] == ["start", "drift"]
    assert analyze(path, n_surrogates=199, phases="none")["verdict"].attrs["phases"] == []
    with pytest.raises(OptionError, match=r"phases is 'some': one of auto, none"):
        analyze(path, phases="some")


@pytest.mark.parametrize(
    "told",
    [
        7, "phases", [None], [3], [{}], [{"first_step": "0", "last_step": 1, "checkpoints": 2}],
        [{"first_step": float("nan"), "last_step": 1, "checkpoints": 2}],
    ],
)  # fmt: skip
def test_phases_that_are_none_are_not_shown(told):
    verdict = xr.Dataset(attrs={"phases": told})
    results = xr.DataTree.from_dict({"verdict": verdict})
    assert phases(results) == ()


def well(seed, n, time, steps=0.0):
    """Positions of a stationary well, moved by a course, as increments."""
    r = np.exp(-1 / time)
    still = lfilter([1.0], [1.0, -r], noise(seed, n + 20 * time), axis=0)[20 * time :]
    return np.diff(still * (1 - r * r) ** 0.5 + steps, axis=0)


@pytest.mark.parametrize(("n", "time"), [(1000, 5), (4000, 10)])
def test_a_well_of_many_correlation_times_has_one_phase(n, time):
    # Slow cosines of its increments are the two ends of the path: they are not alike.
    for seed in range(3):
        increments = well(seed, n, time)
        assert find_changes(increments, constant(n - 1), None, DRAWS) == []


def test_a_well_that_stops_moving_changes_there():
    ramp = 30 * np.minimum(np.linspace(0, 1, 1000), 0.5)[:, np.newaxis] * push(1.0)
    (change,) = find_changes(well(0, 1000, 5, ramp), constant(999), None, DRAWS)
    assert change.kind == "drift"
    assert abs(change.place - 500) < 30


def test_increments_that_stay_alike_for_a_tenth_of_the_window_have_one_phase():
    for seed in range(3):
        rows = autoregressive(seed, 0.9, 100)
        assert find_changes(rows, constant(100), None, DRAWS) == []
