import numpy as np
import pytest
import xarray as xr

from tests.test_analysis import dataset_of
from tests.trajectories import brownian
from trajscope import OptionError, TrajectoryError, TrajscopeWarning, analyze
from trajscope.measure import plan
from trajscope.measure.paths import PATHS

PATH = {path.components: path for path in PATHS}


def array_of(x, steps=None):
    coords = {} if steps is None else {"step": steps}
    return xr.DataArray(x, dims=("step", "weight"), coords=coords)


def only(monkeypatch, components):
    monkeypatch.setattr(plan, "PATHS", (PATH[components],))


def assert_same(case, alone, tolerance):
    observed = case["observables"].to_dataset()
    for name, expected in alone["observables"].to_dataset().items():
        if name not in observed:
            assert name.startswith(
                ("phase_", "increment_fft_", "autocorrelation_")
            )  # of a whole run
            continue
        scale = float(np.abs(expected).max()) or 1.0
        np.testing.assert_allclose(
            observed[name].values, expected.values, rtol=0, atol=tolerance * scale, err_msg=name
        )
    np.testing.assert_allclose(case["tests"]["p_value"], alone["tests"]["p_value"], atol=0.02)
    assert case["verdict"].attrs["code"] == alone["verdict"].attrs["code"]


@pytest.mark.parametrize(
    ("components", "shape"), [("gram", (300, 400)), ("dual", (600, 30)), ("sketch", (900, 200))]
)
@pytest.mark.parametrize("n_windows", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_a_window_gives_the_numbers_of_its_checkpoints_alone(
    monkeypatch, components, shape, n_windows
):
    n_steps, n_weights = shape
    x = brownian(n_steps, n_weights)
    sizes = [n_weights // 2, n_weights - n_weights // 2]
    length = n_steps // n_windows
    only(monkeypatch, components)
    whole = analyze(dataset_of(x, sizes), windows=n_windows, n_surrogates=199)
    plain = analyze(dataset_of(x, sizes), n_surrogates=199)
    assert [case.attrs["label"] for case in whole["cases"].children.values()] == [
        f"{k * length}:{'' if k == n_windows - 1 else (k + 1) * length}" for k in range(n_windows)
    ]
    for k, case in enumerate(whole["cases"].children.values()):
        # A short window is cheaper by its Gram matrix than by a sketch, which is not exact.
        only(monkeypatch, components if length > 388 else "gram")
        steps = np.arange(k * length, (k + 1) * length)
        alone = analyze(dataset_of(x[steps], sizes, steps=steps), n_surrogates=199)
        assert_same(case, alone, 1e-5)
    for name, values in plain["observables"].to_dataset().items():
        np.testing.assert_array_equal(whole["observables"][name], values)


def test_windows_are_given_by_steps_which_may_be_left_open_and_overlap():
    x = array_of(brownian(100, 20), 10 * np.arange(100))
    found = analyze(x, windows="0:400, 200:800,800:", n_surrogates=199)
    cases = list(found["cases"].children.values())
    assert [case.attrs["label"] for case in cases] == ["0:400", "200:800", "800:"]
    assert [case["trajectory"].attrs["checkpoints"] for case in cases] == [40, 60, 20]
    assert found.attrs["config"]["windows"] == ["0:400", "200:800", "800:"]
    pairs = analyze(x, windows=[(0, 400), (200, 800), (800, None)], n_surrogates=199)
    assert pairs.attrs["config"]["windows"] == found.attrs["config"]["windows"]


@pytest.mark.parametrize(
    ("windows", "message"),
    [
        ("5000:6000", "5000:6000 holds 0 of the run's 100 checkpoints, at steps 0 to 990"),
        ("0:50", "0:50 holds 5 of the run's 100 checkpoints"),
        ("0:400,0:400", "0:400 is given twice"),
        ("400:0", "START:STOP"),
        ("0:400:2", "START:STOP"),
        ("half", "START:STOP"),
        ("", "START:STOP"),
        ("nan:100", "START:STOP"),
        ([3], "START:STOP"),
        (0, "Give a number from 1 to 12"),
        (13, "Give a number from 1 to 12"),
    ],
)
def test_windows_that_cannot_be_had_are_refused_before_anything_is_read(windows, message):
    def unread(_):
        raise AssertionError("read")

    x = array_of(brownian(100, 20), 10 * np.arange(100))
    with pytest.raises(OptionError, match=message):
        analyze(x, windows=windows, history=unread)


def test_windows_keep_their_steps_where_checkpoints_are_not_finite():
    x = brownian(120, 20)
    x[70] = np.nan
    with pytest.warns(TrajscopeWarning) as warned:
        found = analyze(x, windows=3, n_surrogates=199)
    assert sum("1 of 120 checkpoints" in str(each.message) for each in warned) == 1
    cases = found["cases"].children.values()
    assert [case["trajectory"].attrs["checkpoints"] for case in cases] == [40, 39, 40]
    x[45:80] = np.nan
    with (
        pytest.raises(TrajectoryError, match="40:80 holds 5 checkpoints that can be used"),
        pytest.warns(TrajscopeWarning),
    ):
        analyze(x, windows=3, n_surrogates=199)


def test_every_window_is_judged_by_its_own_noise():
    rng = np.random.default_rng(3)
    walk = rng.standard_normal((200, 50))
    walk[100:] *= 0.2
    found = analyze(walk.cumsum(axis=0), windows=2)
    assert found["verdict"].attrs["code"] == "noise_scale_changes"
    codes = [case["verdict"].attrs["code"] for case in found["cases"].children.values()]
    assert codes == ["brownian", "brownian"]
