import numpy as np
import pytest
from hypothesis import given, settings

from tests import naive
from tests.measure.passes import PATH, RESOLUTION, observed
from tests.trajectories import (
    ORDINARY,
    brownian,
    late_training,
    ornstein_uhlenbeck,
    rotating_ornstein_uhlenbeck,
    trajectories,
)
from trajscope.kernels.directions import landmarks
from trajscope.kernels.river import window_lengths
from trajscope.measure.catalogue import OBSERVABLES
from trajscope.measure.norms import NORMS
from trajscope.measure.observables import diffusion_exponent, spread
from trajscope.measure.plan import Segment
from trajscope.measure.reductions import N_COMPONENTS
from trajscope.measure.river import RIVER

EVERY_PATH = pytest.mark.parametrize("components", PATH)
EXACT_PATH = pytest.mark.parametrize("components", ["gram", "dual"])


def expected_of(x):
    """Twins of all that is measured, except what has a test of its own below."""
    amplitudes, correlations = naive.fft_amplitudes(x), naive.autocorrelations(x)
    return {
        "increment_fft_mean": naive.mean_over_weights(amplitudes),
        "increment_fft_sd": np.sqrt(naive.variance_over_weights(amplitudes)),
        "increment_periodogram": naive.periodogram(x),
        "autocorrelation_mean": naive.mean_over_weights(correlations),
        "autocorrelation_sd": np.sqrt(naive.variance_over_weights(correlations)),
        "mean_squared_displacement": naive.mean_squared_displacement(x),
        "path_length": naive.path_length(x),
        "increment_norm": naive.increment_norms(x),
        "increment_rms": naive.increment_rms(x),
        "zero_increment_fraction": naive.zero_increment_fraction(x),
        "n_weights": x.shape[1],
        "n_moving": naive.n_moving(x),
        "norm": np.array([np.linalg.norm(row) for row in x]),
        "relative_increment": naive.relative_increments(x),
    }


# A spread is a root: a variance that rounding moves by 1e-7 moves it by 3e-4 where it is zero.
ALONG_RIVER = [each.name for each in RIVER]
TOLERANCE = {"increment_fft_sd": 2e-3, "autocorrelation_sd": 2e-3}


@EVERY_PATH
@settings(max_examples=25)
@given(x=trajectories())
def test_every_observable_matches_its_definition_at_any_magnitude(components, x):
    wide = x.astype(np.float64)
    actual = observed(x, components)
    for name, expected in expected_of(wide).items():
        # Relative to the curve; for a periodogram to its sum, since of equal increments only the
        # rounding is left; for the normalised curves to one.
        scale = np.nanmax(np.abs(expected), initial=0.0)
        if name == "increment_periodogram":
            scale = np.sum(naive.increments(wide) ** 2)
        if name in TOLERANCE:
            scale = 1.0
        np.testing.assert_allclose(
            actual[name], expected, rtol=0, atol=TOLERANCE.get(name, 1e-5) * scale, err_msg=name
        )


@EVERY_PATH
@settings(max_examples=25)
@given(x=trajectories())
def test_squared_displacements_match_their_definition(components, x):
    # The Gram path adds up products of increments, so a way back to the start leaves the rounding
    # of the way there.
    expected = naive.displacement(x.astype(np.float64)) ** 2
    actual = observed(x, components)["displacement"] ** 2
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * expected.max())


@EVERY_PATH
@settings(max_examples=25)
@given(x=trajectories(kinds=ORDINARY, most_steps=80))
def test_directions_match_their_definitions(components, x):
    wide = x.astype(np.float64)
    actual = observed(x, components)
    marks = wide[landmarks(len(x))]
    moved = np.sum(naive.increment_norms(wide))
    pairs = {"cosine_to_first": (wide, wide[:1]), "cosine_to_last": (wide, wide[-1:]),
             "cosine": (marks, marks)}  # fmt: skip
    for name, (one, other) in pairs.items():
        expected = naive.cosines(one, other)
        # Products of float32: a position near zero has a cosine of few digits.
        norms = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
        close = np.abs(actual[name].reshape(expected.shape) - expected) * norms
        assert np.nanmax(close, initial=0.0) <= 1e-5 * np.max(np.sum(wide**2, axis=1)), name
        assert np.array_equal(np.isnan(expected).ravel(), np.isnan(actual[name]).ravel())
    np.testing.assert_allclose(actual["distance"], naive.distances(marks), atol=1e-3 * moved)
    # A step along the weights leaves the rounding of its size as an angle, as seen from both ends.
    expected = naive.angles(wide)
    with np.errstate(all="ignore"):
        relative = naive.relative_increments(wide) + naive.relative_increments(wide[::-1])[::-1]
    wrong = np.abs(actual["rotation_angle"] - expected) > 2e-3 * relative + 1e-7
    assert not wrong.any()
    assert np.array_equal(np.isnan(actual["rotation_angle"]), np.isnan(expected))
    np.testing.assert_allclose(
        actual["norm_balance"], naive.norm_balance(wide), rtol=1e-3, atol=1e-3
    )


@EXACT_PATH
@settings(max_examples=25)
@given(x=trajectories())
def test_explained_variance_matches_the_singular_values_at_any_magnitude(components, x):
    wide = x.astype(np.float64)
    expected = naive.explained_variance(wide / max(np.abs(wide).max(), 1e-300), N_COMPONENTS)
    actual = observed(x, components)["explained_variance"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@settings(max_examples=25)
@given(x=trajectories())
def test_sketched_components_of_any_mixture_of_weights_are_right_to_the_shift(x):
    # No more steps than columns, so nothing but the shift of 1e-6 and the float32 product is lost.
    wide = x.astype(np.float64)
    expected = naive.explained_variance(wide / max(np.abs(wide).max(), 1e-300), N_COMPONENTS)
    actual = observed(x, "sketch")["explained_variance"]
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5)


@EVERY_PATH
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cosines_match_their_definition(components, dtype):
    x = brownian(30, 40, dtype=dtype)
    expected = naive.increment_cosines(x.astype(np.float64))
    np.testing.assert_allclose(observed(x, components)["increment_cosine"], expected, atol=1e-6)


@EVERY_PATH
def test_the_cosine_with_an_increment_of_zero_is_zero(components):
    x = np.array([[0.0, 1.0], [1.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]])
    np.testing.assert_allclose(observed(x, components)["increment_cosine"], [0, 0, 1], atol=1e-12)


@EXACT_PATH
def test_principal_components_are_positions_along_the_leading_directions(components):
    x = brownian(60, 45)
    actual = observed(x, components)["principal_component"][:, :5]
    expected = naive.principal_components(x, 5)
    signs = np.sign(np.sum(actual * expected, axis=0))
    np.testing.assert_allclose(actual * signs, expected, atol=1e-9 * np.abs(expected).max())


@EVERY_PATH
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_the_rounding_floor_is_that_of_two_uniform_errors_one_spacing_wide(components, dtype):
    x = brownian(5, 40).astype(dtype)
    layout = {"tasks": [(Segment(0, 0, 40, float(np.finfo(dtype).eps)),)]}
    expected = naive.rounding_floor(x, dtype)
    assert observed(x, components, **layout)["rounding_floor"] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("other", ["dual", "sketch"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_path_gives_the_same_numbers_as_the_gram_path(other, dtype):
    x = late_training(300, 200, dtype=dtype)
    gram, fft = observed(x, "gram"), observed(x, other)
    for observable in OBSERVABLES:
        name = observable.name
        if other == "sketch" and name in ("explained_variance", "principal_component"):
            continue  # approximate: see the test of the sketch
        scale = np.abs(gram[name]).max()
        np.testing.assert_allclose(fft[name], gram[name], rtol=0, atol=1e-5 * scale, err_msg=name)


def test_the_sketch_is_close_to_the_exact_components():
    x = brownian(600, 500, dtype=np.float32)
    gram, sketch = observed(x, "gram"), observed(x, "sketch")
    relative = sketch["explained_variance"] / gram["explained_variance"]
    assert np.all(relative < 1 + 1e-5)
    assert np.all(relative > 1 - 2e-3 * np.arange(1, 21))
    leading = [observed["principal_component"][:, :4] for observed in (gram, sketch)]
    np.testing.assert_allclose(leading[1], leading[0], atol=0.01 * np.abs(leading[0]).max())


@EVERY_PATH
def test_late_training_in_float32_keeps_five_digits_of_the_periodogram(components):
    x = late_training(200, 1000)
    expected = naive.periodogram(x.astype(np.float64))
    actual = observed(x, components)["increment_periodogram"]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)


@EVERY_PATH
def test_a_drift_a_thousand_times_the_noise_costs_the_periodogram_no_digits(components):
    rng = np.random.default_rng(0)
    increments = 1 + 1e-3 * rng.standard_normal((100, 50))
    x = np.cumsum(increments, axis=0).astype(np.float32)
    expected = naive.periodogram(x.astype(np.float64))
    actual = observed(x, components)["increment_periodogram"]
    np.testing.assert_allclose(actual, expected, rtol=1e-4)


POOLED = ("increment_periodogram", "mean_squared_displacement", "displacement", "increment_norm",
          "increment_cosine", "explained_variance", "path_length")  # fmt: skip


def assert_same(actual, expected, names, tolerance):
    for name in names:
        scale = np.abs(expected[name]).max(initial=0.0)
        np.testing.assert_allclose(
            actual[name], expected[name], rtol=0, atol=tolerance * scale, err_msg=name
        )


@EVERY_PATH
def test_pooled_curves_do_not_change_when_the_weights_are_rotated(components):
    x = brownian(50, 30)
    rotation = np.linalg.qr(np.random.default_rng(1).standard_normal((30, 30)))[0]
    assert_same(observed(x @ rotation, components), observed(x, components), POOLED, 1e-5)


EVERYTHING = [observable.name for observable in OBSERVABLES]


@EVERY_PATH
def test_nothing_changes_when_the_weights_are_permuted(components):
    x = brownian(50, 30)
    shuffled = x[:, np.random.default_rng(1).permutation(30)]
    assert_same(observed(shuffled, components), observed(x, components), EVERYTHING, 1e-5)


@EVERY_PATH
@pytest.mark.parametrize("exponent", [-70, -20, 40])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_change_of_unit_by_a_power_of_two_scales_every_curve(components, exponent, dtype):
    x = brownian(50, 30, dtype=dtype)
    units = {each.name: each.units for each in OBSERVABLES}
    power = {"1": 0, "rad": 0, "weight": 1, "weight^2": 2}
    actual, plain = observed(np.ldexp(x, exponent), components), observed(x, components)
    expected = {name: np.ldexp(v, exponent * power[units[name]]) for name, v in plain.items()}
    assert_same(actual, expected, EVERYTHING, 1e-5)


@EVERY_PATH
def test_a_change_of_origin_changes_only_norms_angles_and_the_rounding_floor(components):
    x = np.round(brownian(50, 30) * 256) / 256
    of_positions = {each.name for each in NORMS} - {"distance"}
    names = [name for name in EVERYTHING if name not in {"rounding_floor", *of_positions}]
    assert_same(observed(x + 64, components), observed(x, components), names, 1e-6)


@EVERY_PATH
def test_reversing_time_reverses_what_is_ordered_and_keeps_the_rest(components):
    x = brownian(50, 30)
    forwards, backwards = observed(x, components), observed(x[::-1], components)
    turned = ("increment_norm", "increment_cosine", "norm", "rotation_angle")
    other = ("displacement", "principal_component", "relative_increment", "norm_balance",
             "cosine_to_first", "cosine_to_last", "distance", "cosine", *ALONG_RIVER)  # fmt: skip
    kept = [name for name in EVERYTHING if name not in (*turned, *other)]
    assert_same(backwards, forwards, kept, 1e-6)
    for name in turned:
        np.testing.assert_allclose(backwards[name][::-1], forwards[name], atol=1e-6)
    for name in ("distance", "cosine"):
        np.testing.assert_allclose(backwards[name][::-1, ::-1], forwards[name], atol=1e-5)
    np.testing.assert_allclose(
        backwards["cosine_to_last"][::-1], forwards["cosine_to_first"], atol=1e-6
    )
    assert backwards["displacement"][-1] == pytest.approx(forwards["displacement"][-1], rel=1e-6)


@EVERY_PATH
def test_the_mean_squared_displacement_of_a_brownian_path_grows_linearly(components):
    # Exactly, for increments that are orthonormal: one weight moves at each step.
    x = np.tri(200, 199, -1)
    found = observed(x, components)
    np.testing.assert_allclose(found["mean_squared_displacement"], np.arange(200), atol=1e-4)
    assert found["diffusion_exponent"] == pytest.approx(1, abs=1e-6)


@EXACT_PATH
def test_the_explained_variance_of_a_brownian_path_is_one_over_squared_sines(components):
    x = np.tri(200, 199, -1)
    k = np.arange(1, 200)
    expected = np.sin(np.pi * k / 400) ** -2
    actual = observed(x, components)["explained_variance"]
    np.testing.assert_allclose(actual, (expected / expected.sum())[:20], rtol=1e-9)


@EVERY_PATH
def test_the_mean_squared_displacement_of_an_ornstein_uhlenbeck_process_saturates(components):
    rho, n_weights = 0.9, 600
    x = ornstein_uhlenbeck(400, n_weights, rho, seed=3)
    found = observed(x, components)["mean_squared_displacement"][:60] / n_weights
    # 600 weights of about 20 correlation times each: one standard error is 1.3%.
    np.testing.assert_allclose(found, 2 * (1 - rho ** np.arange(60)), rtol=0.05, atol=1e-6)


@EVERY_PATH
def test_the_mean_squared_displacement_of_a_rotating_process_oscillates(components):
    decay, omega, n_planes = 0.02, 0.3, 300
    x = rotating_ornstein_uhlenbeck(400, n_planes, decay=decay, omega=omega)
    found = observed(x, components)["mean_squared_displacement"][:60] / n_planes
    lags = np.arange(60)
    # Two axes of variance 1/2, correlated as exp(-decay q) cos(omega q).
    expected = 2 * (1 - np.exp(-decay * lags) * np.cos(omega * lags))
    np.testing.assert_allclose(found, expected, atol=0.12)


@EVERY_PATH
def test_straight_motion_has_a_diffusion_exponent_of_two(components):
    x = np.outer(np.arange(50), [1.0, -2.0, 3.0])
    assert observed(x, components)["diffusion_exponent"] == pytest.approx(2, abs=1e-6)


def test_a_diffusion_exponent_needs_two_lags_and_movement():
    assert np.isnan(diffusion_exponent(np.arange(7.0)))
    assert np.isnan(diffusion_exponent(np.zeros(50)))
    assert diffusion_exponent(np.arange(8.0)) == pytest.approx(1)


@EVERY_PATH
@pytest.mark.parametrize("shape", [(2, 1), (2, 5), (3, 1), (4, 2), (7, 1)])
def test_the_smallest_trajectories_have_every_observable(components, shape):
    n_steps = shape[0]
    n_components = min(N_COMPONENTS, n_steps - 1)
    length = {
        "frequency": (n_steps - 1) // 2, "lag": n_steps, "component": n_components,
        "step": n_steps, "interval": n_steps - 1, "turn": n_steps - 2,
        "landmark": n_steps, "landmark_other": n_steps,
        "window_length": len(window_lengths(n_steps)),
    }  # fmt: skip
    found = observed(brownian(*shape), components)
    for observable in OBSERVABLES:
        assert found[observable.name].shape == tuple(length[dim] for dim in observable.dims)
    assert found["mean_squared_displacement"][0] == 0


@EVERY_PATH
def test_checkpoints_that_are_all_equal_give_zeros(components):
    found = observed(np.full((10, 4), 0.1, np.float32), components)
    assert np.isnan(found.pop("diffusion_exponent"))
    assert np.isnan(found.pop("norm_balance"))
    assert found.pop("river_share").size == 0
    for name in ("rounding_floor", "n_weights", "zero_increment_fraction"):
        assert found.pop(name) > 0
    np.testing.assert_allclose(found.pop("norm"), 0.2, rtol=1e-6)
    for name in ("cosine_to_first", "cosine_to_last", "cosine"):
        np.testing.assert_allclose(found.pop(name), 1, rtol=1e-6)
    assert not any(values.any() for values in found.values())


def test_the_spread_over_no_weights_is_zero():
    np.testing.assert_array_equal(spread(np.zeros(3), np.zeros(3), np.zeros(())), np.zeros(3))


def test_the_spread_of_a_sample_is_that_of_all_weights_within_its_standard_error():
    x = ornstein_uhlenbeck(40, 20_000, 0.9).astype(np.float32)
    whole = observed(x, "gram")
    cut = [(Segment(0, 0, 7000, RESOLUTION, share=0.1), Segment(1, 7000, 20_000, RESOLUTION))]
    sample = observed(x, "gram", tasks=cut, width=3000)
    assert not whole["autocorrelation_sd_error"].any()
    for name in ("autocorrelation_mean", "increment_fft_sd"):
        np.testing.assert_allclose(sample[name], whole[name], rtol=0, atol=1e-6)
    off = sample["autocorrelation_sd"] - whole["autocorrelation_sd"]
    error = sample["autocorrelation_sd_error"]
    assert max(error[0], abs(off[0])) < 1e-6
    assert 0.3 < np.sqrt(np.mean(np.square(off[1:] / error[1:]))) < 2


def test_the_error_of_a_spread_is_the_scatter_over_samples():
    x = ornstein_uhlenbeck(8, 3000, 0.5)
    found = [
        observed(x, "gram", tasks=[(Segment(0, 0, 3000, RESOLUTION, share=0.1),)], seed=seed)
        for seed in range(60)
    ]
    scatter = np.std([each["autocorrelation_sd"] for each in found], axis=0)
    stated = np.mean([each["autocorrelation_sd_error"] for each in found], axis=0)
    np.testing.assert_allclose(stated[1:], scatter[1:], rtol=0.35)  # of 60 draws: a tenth, twice
