import numpy as np
import pytest
import xarray as xr
from scipy.signal import lfilter

from trajscope import TrajscopeWarning, analyze
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.verdict import decide
from trajscope.inference.statistics.window import Window, longest_even_part, nearly_even
from trajscope.simulate import brownian, jittered_steps, missing_steps, ornstein_uhlenbeck


@pytest.fixture
def increments():
    return np.random.default_rng(1).standard_normal((40, 3)) + 0.2


def test_evenly_spaced_increments_are_exchangeable_themselves(increments):
    assert Window(increments).exchangeable is increments


def test_unevenly_spaced_increments_become_uncorrelated_with_one_variance_and_no_drift():
    lengths = np.geomspace(1, 1000, 30)
    # Every weight is the one interval that moves: the columns are the linear map itself.
    matrix = Window(np.eye(30), lengths=lengths).exchangeable
    assert matrix.shape == (29, 30)
    np.testing.assert_allclose(matrix @ np.diag(lengths) @ matrix.T, np.eye(29), atol=1e-12)
    np.testing.assert_allclose(matrix @ lengths, 0, atol=1e-9)


@pytest.mark.parametrize("test", ["noise_scale", "omnibus", "confined", "relaxation"])
def test_a_walk_seen_at_logarithmic_steps_is_rejected_as_often_as_the_level_says(test, seen_rarely):
    rejected = np.array([decision.evidence[test] <= 0.05 for decision in seen_rarely])
    # Of 100 at 5%, the binomial probability of more than 13 is below one in a thousand.
    assert rejected.sum() <= 13


@pytest.fixture(scope="module")
def seen_rarely():
    """Verdicts on 100 walks whose last interval is a tenth of their time."""
    steps = np.unique(np.geomspace(1, 1e5, 80).astype(int))
    lengths = np.diff(steps).astype(float)
    found = []
    for seed in range(100):
        rng = np.random.default_rng(seed)
        walk = rng.standard_normal((len(lengths), 8)) * lengths[:, np.newaxis] ** 0.5
        found.append(
            decide(Window(walk, lengths=lengths / lengths.mean()), DecisionSettings(199, 0.01))
        )
    return found


def test_the_path_is_the_principal_components_of_the_sums(increments):
    x = np.concatenate([np.zeros((1, 3)), increments.cumsum(axis=0)])
    u, s, _ = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)
    np.testing.assert_allclose(np.abs(Window(increments).path), np.abs(u * s), atol=1e-9)


def test_a_later_and_a_coarser_window_are_those_of_these_checkpoints(increments):
    x = np.concatenate([np.zeros((1, 3)), increments.cumsum(axis=0)])
    window = Window(increments, x)
    np.testing.assert_allclose(window.after(7).increments, np.diff(x[7:], axis=0))
    np.testing.assert_allclose(window.coarser(3).increments, np.diff(x[::3], axis=0))


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        (range(0, 50, 5), range(0, 50, 5)),
        ([1, 2, 4, 8, 16, 20, 24, 28, 32], [4, 8, 16, 20, 24, 28, 32][2:]),
        ([0, 10, 20, 21, 30, 40, 50, 53], [0, 10, 20, 30, 40, 50]),
        ([0, 1, 2, 3, 10, 20, 30, 40, 50, 60], [0, 10, 20, 30, 40, 50, 60]),
        ([0.1, 0.2, 0.3, 0.45, 0.5], [0.1, 0.2, 0.3]),
        ([3, 7], [3, 7]),
    ],
)
def test_the_longest_evenly_spaced_part_is_found(steps, expected):
    steps = np.array(list(steps))
    found = steps[longest_even_part(steps)]
    assert len(found) == len(list(expected))
    assert np.allclose(np.diff(found), np.diff(found)[0])


def test_steps_that_are_no_multiples_of_the_finest_spacing_have_an_even_part():
    # They lie 1.5 and 1 of the finest spacings apart: halves round to the same place.
    found = longest_even_part(np.array([500, 2000, 3000, 4000, 5000]))
    np.testing.assert_array_equal(found, [1, 2, 3, 4])
    rng = np.random.default_rng(0)
    for _ in range(200):
        steps = np.unique(rng.integers(0, 400, 40)) * 500
        chosen = longest_even_part(steps)
        assert len(chosen) >= 2
        assert len(np.unique(np.diff(steps[chosen]))) == 1
        fractional = longest_even_part(steps / 700)
        assert len(fractional) >= 2
        gaps = np.diff(steps[fractional] / 700)
        np.testing.assert_allclose(gaps, gaps[0], rtol=1e-2)


def test_increments_that_persist_are_not_told_that_even_spacing_is_missing():
    rng = np.random.default_rng(5)
    noise = lfilter([1.0], [1.0, -0.98], rng.standard_normal((1100, 20)), axis=0)
    steps = 10 * np.arange(100) + rng.integers(0, 3, 100)
    path = np.concatenate([np.zeros((1, 20)), noise.cumsum(axis=0)])[steps]
    uneven = xr.DataArray(path, dims=("step", "weight"), coords={"step": steps})
    with pytest.warns(TrajscopeWarning, match="unevenly spaced"):
        said = analyze(uneven, n_surrogates=199)["verdict"].attrs
    assert said["code"] == "too_short"
    assert "evenly spaced" not in said["sentence"]
    assert "100 of 100 checkpoints, 8 to 12 steps apart" in said["unseen"][-1]


@pytest.mark.parametrize("tau", [3, 30])
def test_wells_on_a_logarithmic_grid_are_no_noise_that_changes(tau):
    steps = np.unique(np.geomspace(1, 3999, 100).round().astype(int))
    for seed in range(3):
        path = ornstein_uhlenbeck(4000, taus=[tau] * 20, seed=seed)[steps]
        with pytest.warns(TrajscopeWarning, match="unevenly spaced"):
            said = analyze(path, n_surrogates=199)["verdict"].attrs
        assert said["code"] == "too_short"
        assert "cannot be told apart on this grid" in said["sentence"]


@pytest.mark.parametrize("kind", ["missing", "jittered"])
def test_one_checkpoint_in_five_may_be_missing_and_steps_may_jitter(kind):
    true = 1 / np.tanh(1 / 10)  # two-sided, in intervals of the whole run
    for seed in range(3):
        if kind == "missing":
            well = ornstein_uhlenbeck(200, taus=[5] * 20, seed=seed)
            walk, scale = brownian(200, 20, seed=seed), 1
            runs = [missing_steps(each, fraction=0.2, seed=seed) for each in (well, walk)]
        else:
            well = ornstein_uhlenbeck(2000, taus=[50] * 20, seed=seed)
            walk, scale = brownian(2000, 20, seed=seed), 10
            runs = [jittered_steps(each, every=10, jitter=2, seed=seed) for each in (well, walk)]
        with pytest.warns(TrajscopeWarning, match="unevenly spaced"):
            found = [analyze(run, n_surrogates=199)["verdict"].attrs for run in runs]
        assert [each["code"] for each in found] == ["confined", "brownian"]
        assert found[0]["rest"]["correlation_time"] == pytest.approx(scale * true, rel=0.25)


def test_what_is_taken_as_even_is_even_but_for_a_factor_of_three():
    gaps = np.random.default_rng(0).integers(1, 8, 200)
    steps = np.concatenate([[0], gaps.cumsum()])
    taken = np.diff(steps[nearly_even(steps, 32)])
    assert taken.max() <= 3 * taken.min()
    assert len(taken) >= 60
    assert nearly_even(np.unique(np.geomspace(1, 4000, 100).round()), 32) is None
