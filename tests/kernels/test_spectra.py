import numpy as np
import pytest
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

from tests import naive
from tests.trajectories import brownian, late_training, ornstein_uhlenbeck, trajectories
from trajscope.kernels.curves import curve_moments
from trajscope.kernels.spectra import column_pieces, scaled_by_displacement


def moments_of(x):
    return curve_moments(x)


def relative_tolerance(x):
    return 1e-5 if x.dtype == np.float32 else 1e-10


@given(trajectories())
def test_amplitudes_match_the_definition_at_any_magnitude(x):
    sums = moments_of(x)
    expected = naive.fft_amplitudes(x.astype(np.float64))
    tolerance = relative_tolerance(x) * max(len(expected), 1)
    assert sums["n_amplitudes"] == len(expected)
    np.testing.assert_allclose(sums["amplitude"], expected.sum(axis=0), atol=tolerance)
    np.testing.assert_allclose(
        sums["amplitude_square"], (expected**2).sum(axis=0), rtol=1e-5, atol=tolerance
    )


@given(trajectories())
def test_power_matches_the_pooled_periodogram_at_any_magnitude(x):
    expected = naive.periodogram(x.astype(np.float64))
    # Relative to the whole of the increments: of equal ones only rounding is left.
    scale = np.sum(naive.increments(x.astype(np.float64)) ** 2)
    np.testing.assert_allclose(
        moments_of(x)["power"], expected, rtol=0, atol=relative_tolerance(x) * scale
    )


@given(trajectories(), st.data())
def test_moments_add_up_over_any_split_of_the_weights(x, data):
    cut = data.draw(st.integers(0, x.shape[1]))
    parts = [moments_of(x[:, :cut]), moments_of(x[:, cut:])]
    for name, whole in moments_of(x).items():
        scale = np.abs(whole).max(initial=0.0)
        if name == "power":  # of equal increments beside tiny ones only the rounding is left
            scale = np.sum(naive.increments(x.astype(np.float64)) ** 2)
        both = parts[0][name] + parts[1][name]
        np.testing.assert_allclose(both, whole, rtol=0, atol=1e-5 * scale)


@given(trajectories())
def test_amplitudes_do_not_change_when_time_is_reversed(x):
    forwards, backwards = moments_of(x), moments_of(x[::-1].copy())
    for name in forwards:
        scale = np.abs(forwards[name]).max(initial=0.0)
        np.testing.assert_allclose(backwards[name], forwards[name], rtol=0, atol=1e-5 * scale)


def test_amplitudes_of_each_weight_have_unit_mean_square():
    x = brownian(60, 9) * np.logspace(-8, 8, 9)
    assert moments_of(x)["amplitude_square"].mean() == pytest.approx(9, rel=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_weight_of_constant_velocity_has_no_amplitudes(dtype):
    x = np.outer(np.arange(100), [0.5, 0.25, 0]).astype(dtype)
    sums = moments_of(x)
    assert sums["n_amplitudes"] == 0
    assert not sums["amplitude"].any()
    np.testing.assert_allclose(sums["power"], 0, atol=1e-12)


@pytest.mark.parametrize("n", [59, 2 * 61, 3 * 67, 199, 4 * 53, 613])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_lengths_with_a_large_prime_factor_have_the_same_amplitudes(n, dtype):
    x = (1000 + brownian(n + 1, 40)).astype(dtype)
    sums, expected = moments_of(x), naive.fft_amplitudes(x.astype(np.float64))
    tolerance = 1e-6 if dtype == np.float32 else 1e-12
    largest = expected.sum(axis=0).max()
    np.testing.assert_allclose(sums["amplitude"], expected.sum(axis=0), atol=tolerance * largest)
    power = naive.periodogram(x.astype(np.float64))
    np.testing.assert_allclose(sums["power"], power, rtol=100 * tolerance)


def test_weights_that_never_move_cost_no_digits_of_others():
    x = np.concatenate([brownian(60, 9), np.ones((60, 3))], axis=1).astype(np.float32)
    sums = moments_of(x)
    assert sums["n_amplitudes"] == 9
    for name, values in moments_of(x[:, :9]).items():
        np.testing.assert_allclose(sums[name], values, rtol=1e-6, atol=1e-6)


def test_two_checkpoints_have_no_frequency():
    sums = moments_of(brownian(2, 3))
    assert {sums[name].shape for name in ("amplitude", "amplitude_square", "power")} == {(0,)}
    np.testing.assert_allclose(sums["autocorrelation"], [3, -1.5])


@pytest.mark.parametrize("n_steps", [3, 4, 50, 51])
def test_power_agrees_with_scipy_signal(n_steps):
    x = brownian(n_steps, 6)
    n = n_steps - 1
    _, density = scipy.signal.periodogram(np.diff(x, axis=0), axis=0, scaling="density")
    one_sided = np.full(n // 2, 2.0)
    if n % 2 == 0:
        one_sided[-1] = 1  # the highest frequency has no mirror image
    expected = density[1:].sum(axis=1) / one_sided
    np.testing.assert_allclose(moments_of(x)["power"], expected, rtol=1e-10)


def test_white_increments_have_rayleigh_amplitudes():
    # |FFT| of white noise: mean sqrt(pi)/2, standard deviation sqrt(1 - pi/4). The number of
    # weights makes the standard error of either 0.003; the highest frequency is real, so left out.
    sums = moments_of(brownian(401, 20_000, dtype=np.float32))
    mean = sums["amplitude"][:-1] / 20_000
    deviation = np.sqrt(sums["amplitude_square"][:-1] / 20_000 - mean**2)
    np.testing.assert_allclose(mean, np.sqrt(np.pi) / 2, atol=0.015)
    np.testing.assert_allclose(deviation, np.sqrt(1 - np.pi / 4), atol=0.015)


def test_increments_of_an_ornstein_uhlenbeck_process_have_its_spectral_density():
    # S_y = 2 (1 - cos w) (1 - rho^2) / (1 - 2 rho cos w + rho^2), with leakage of order 1/T.
    rho, n_steps, n_weights = 0.9, 1025, 2000
    power = moments_of(ornstein_uhlenbeck(n_steps, n_weights, rho))["power"] / n_weights
    w = 2 * np.pi * np.arange(1, 513) / 1024
    expected = 2 * (1 - np.cos(w)) * (1 - rho**2) / (1 - 2 * rho * np.cos(w) + rho**2)
    # Each ordinate is exponential: 1/sqrt(2000) = 2.2% over weights, and five of those in 512.
    np.testing.assert_allclose(power[20:], expected[20:], rtol=0.11)


def test_autoregressive_increments_have_their_spectral_density():
    phi, n, n_weights = 0.5, 1024, 2000
    y = ornstein_uhlenbeck(n, n_weights, phi)
    x = np.concatenate([np.zeros((1, n_weights)), y.cumsum(axis=0)])
    power = curve_moments(x)["power"] / n_weights
    w = 2 * np.pi * np.arange(1, 513) / 1024
    expected = (1 - phi**2) / np.abs(1 - phi * np.exp(-1j * w)) ** 2
    np.testing.assert_allclose(power, expected, rtol=0.14)


def test_power_of_late_training_keeps_its_digits_in_float32():
    x = late_training(200, 2000)
    expected = naive.periodogram(x.astype(np.float64))
    np.testing.assert_allclose(moments_of(x)["power"], expected, rtol=1e-5)


@given(st.integers(1, 5000), st.integers(0, 300))
def test_pieces_cover_every_column_once(n_steps, n_weights):
    values = np.broadcast_to(np.float32(0), (n_steps, n_weights))
    columns = [i for piece in column_pieces(values) for i in range(n_weights)[piece]]
    assert columns == list(range(n_weights))


def test_weights_are_scaled_by_powers_of_two_near_their_displacement():
    scaled, scale = scaled_by_displacement(np.array([[7.0, 3.0, 1e-40], [7.0, -4.0, 2e-40]]))
    np.testing.assert_array_equal(scaled[:, :2], [[7, 0.75], [7, -1]])
    np.testing.assert_array_equal(scale[:2], [0, 4])
    assert 1 <= scaled[1, 2] - scaled[0, 2] < 2


# Numbers of increments with one transform for both curves, with two, and with a product.
@pytest.mark.parametrize(
    ("n_steps", "compiled"),
    [
        *((n_steps, False) for n_steps in (121, 122, 200, 201)),
        *((n_steps, True) for n_steps in (3, 4, 38, 121, 122, 168, 200, 201, 262)),
    ],
)
@pytest.mark.parametrize("drift", [0, 1000, -1000])
def test_float32_curves_keep_their_digits_under_a_drift(n_steps, drift, compiled):
    if compiled:
        pytest.importorskip("llvmlite")
    rng = np.random.default_rng(n_steps)
    steps = rng.standard_normal((n_steps, 300)) + drift
    x = (1e-5 * steps.cumsum(axis=0)).astype(np.float32)
    wide, sums = x.astype(np.float64), curve_moments(x, compiled=compiled)
    amplitudes = naive.fft_amplitudes(wide)
    for name, expected in (
        ("amplitude", amplitudes.sum(axis=0)),
        ("amplitude_square", (amplitudes**2).sum(axis=0)),
        ("power", naive.periodogram(wide)),
    ):
        np.testing.assert_allclose(sums[name], expected, rtol=1e-6, err_msg=name)
    expected = naive.autocorrelations(wide).sum(axis=0)
    np.testing.assert_allclose(sums["autocorrelation"] / 300, expected / 300, atol=1e-5)
