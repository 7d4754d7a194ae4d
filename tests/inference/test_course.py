"""Noise, course and rest of processes with known answers."""

from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
from scipy.linalg import toeplitz
from scipy.signal import lfilter

from trajscope import TrajscopeWarning, analyze
from trajscope.inference.course.alternation import draw_alternation
from trajscope.inference.course.apart import take_apart
from trajscope.inference.course.clock import blocks_of, fitted, followed, time_bases
from trajscope.inference.course.exponent import anomalous_exponent, fractional
from trajscope.inference.course.rest import Draws
from trajscope.inference.decision.combine import decide_run
from trajscope.inference.decision.result import verdict_dataset
from trajscope.inference.decision.sentences import sentence
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.told import of_noise
from trajscope.inference.decision.verdict import decide
from trajscope.inference.decision.words import Detail, Run
from trajscope.inference.statistics.brownian import p_value
from trajscope.inference.statistics.noise import noise_scale_statistic
from trajscope.inference.statistics.permutations import draw_increments
from trajscope.inference.statistics.window import Window
from trajscope.simulate import ornstein_uhlenbeck, rotating_ornstein_uhlenbeck

T = 200
TIME = np.arange(T) / T
DRAWS = Draws(199, 0.01, 0)
COSINE = 0.02 + 0.49 * (1 + np.cos(np.pi * TIME))
HYPERBOLIC = 1 / (1 + 20 * TIME)


def decided(path):
    """What a result says of all weights of a path."""
    path = np.asarray(path)
    window = Window(np.diff(path, axis=0))
    run = Run(np.arange(len(path)), "index", 1.0)
    return verdict_dataset(
        decide_run(run, ["all"], [window], DecisionSettings(n_surrogates=199))
    ).attrs


def walk(seed, scale=1.0, d=40):
    noise = np.random.default_rng(seed).standard_normal((T - 1, d))
    noise *= np.broadcast_to(scale, T)[1:, np.newaxis]
    return np.concatenate([np.zeros((1, d)), noise.cumsum(axis=0)])


def well(seed, tau=5.0, d=40):
    return np.asarray(ornstein_uhlenbeck(T, taus=[tau] * d, seed=seed))


def scheduled_well(seed, scale, rate=0.2, d=40):
    """``x[t+1] = x[t] - s h x[t] + s e_t``: relaxation and noise slow down together."""
    rng = np.random.default_rng(seed)
    x = np.zeros((T, d))
    x[0] = rng.standard_normal(d) * np.sqrt(scale[0] / (2 * rate))
    for t in range(T - 1):
        x[t + 1] = x[t] - scale[t] * rate * x[t] + scale[t] * rng.standard_normal(d)
    return x


def moving(seed, d, reach, course):
    along = np.random.default_rng([seed, 1]).standard_normal(d)
    return reach * d**0.5 * course[:, np.newaxis] * along / np.linalg.norm(along)


def fractional_walk(seed, hurst, d=40):
    """Fractional Brownian motion by the root of its covariance, which no spectrum enters."""
    k = np.arange(T - 1.0)
    covariance = (abs(k + 1) ** (2 * hurst) + abs(k - 1) ** (2 * hurst)) / 2 - k ** (2 * hurst)
    root = np.linalg.cholesky(toeplitz(covariance))
    noise = root @ np.random.default_rng(seed).standard_normal((T - 1, d))
    return np.concatenate([np.zeros((1, d)), noise.cumsum(axis=0)])


def turning(seed):
    """A well in which one direction has eta lambda = 1.7: x[t+1] = -.7 x[t] + noise."""
    path = well(seed)
    noise = np.random.default_rng([seed, 2]).standard_normal(T + 50)
    path[:, 0] = lfilter([1.0], [1.0, 0.7], noise)[50:]
    return path


LOG = np.log1p(30 * TIME) / np.log1p(30)
KNOWN = {
    "walk": (walk, "brownian", "brownian"),
    "cosine walk": (lambda s: walk(s, COSINE), "noise_scale_changes", "brownian"),
    "hyperbolic walk": (lambda s: walk(s, HYPERBOLIC), "noise_scale_changes", "brownian"),
    "well": (well, "confined", "confined"),
    "cosine well": (lambda s: scheduled_well(s, COSINE), "noise_scale_changes", "confined"),
    "well moving straight": (
        lambda s: well(s) + moving(s, 40, 6, TIME), "course", "confined",
    ),
    "well moving as log t": (
        lambda s: well(s) + moving(s, 40, 30, LOG), "course", "confined",
    ),
    "rotation on a moving well": (
        lambda s: np.asarray(
            rotating_ornstein_uhlenbeck(T, 2, rate=0.15, angular_velocity=0.45, seed=s)
        )
        + moving(s, 2, 20, LOG),
        "course",
        "circulating",
    ),
    "edge of stability": (turning, "alternating", "alternating"),
    "subdiffusion": (lambda s: fractional_walk(s, 0.2), "anomalous", "anomalous"),
    "superdiffusion": (lambda s: fractional_walk(s, 0.8), "anomalous", "anomalous"),
}  # fmt: skip


@pytest.mark.parametrize("name", KNOWN)
def test_what_a_known_process_does_is_said(name):
    make, code, rest = KNOWN[name]
    # Seeds that were not looked at while the procedure was chosen.
    found = [decided(make(9000 + run)) for run in range(4)]
    assert sum(each["code"] == code for each in found) >= 3
    assert sum(each["rest"]["code"] == rest for each in found) >= 3


@pytest.mark.slow
def test_the_correlation_time_about_a_course_is_that_of_the_well():
    # Two-sided: (1 + r) / (1 - r), r = exp(-1/5); what goes with the course is given back.
    true = 1 / np.tanh(1 / 10)
    for name in ("well moving straight", "well moving as log t"):
        found = [decided(KNOWN[name][0](9000 + run))["rest"] for run in range(3)]
        times = [each["correlation_time"] for each in found if each["correlation_time"]]
        assert np.median(times) == pytest.approx(true, rel=0.15)


def test_a_course_is_said_with_its_share_its_slowing_and_its_layers():
    layers = [well(1), well(2, d=20) + moving(2, 20, 30, LOG)]
    windows = [Window(np.diff(x, axis=0)) for x in (np.concatenate(layers, axis=1), *layers)]
    run = Run(np.arange(T) * 10, "step", 10.0)
    settings = DecisionSettings(n_surrogates=199)
    told = verdict_dataset(decide_run(run, ["all", "still", "moving"], windows, settings)).attrs
    course = told["course"]
    assert course["one_direction"]
    assert course["time"] in ("logarithmic", "exponential")
    assert course["share"] > 0.8
    # d log(1 + 30 t) over the halves: log(16) in the first, log(31/16) in the second.
    assert course["speed_ratio"] == pytest.approx(np.log(31 / 16) / np.log(16), rel=0.25)
    assert course["layers"]["moving"] > 0.95
    assert "most of it in 'moving'" in told["sentence"]
    assert told["rest"]["correlation_time"] > 30  # in steps, of which ten are a checkpoint


@pytest.mark.parametrize("scale", [COSINE, HYPERBOLIC, np.where(TIME < 0.4, 1.0, 0.1)])
def test_the_course_of_the_noise_is_that_it_was_made_with(scale):
    wanted = scale[1:] / scale.max()
    found = [fitted(np.diff(walk(seed, scale), axis=0)) for seed in range(5)]
    errors = [np.sqrt(np.mean(np.log(each.scale / wanted) ** 2)) for each in found]
    assert np.median(errors) < 0.25  # where it falls fifty-fold
    in_steps = len(np.unique(wanted)) == 2
    assert {each.kind for each in found} == {"steps" if in_steps else "gradual"}
    if in_steps:
        places = [each.places for each in found]
        assert sum(each == (79,) for each in places) >= 4  # the interval at which it falls


def test_noise_that_follows_the_learning_rate_is_said_to():
    rate = 0.3 * np.where(TIME < 0.3, TIME / 0.3, (1.01 - TIME) ** 1.7)[1:]
    found = fitted(np.diff(walk(6, np.append(rate[0], rate)), axis=0), rate)
    assert found.kind == "rate"
    np.testing.assert_allclose(found.scale, rate / rate.max())


def test_blocks_are_as_long_as_the_noise_is_slow():
    scale = np.concatenate([np.ones(50), np.full(100, 0.1), np.full(8, 0.01)])
    ends = blocks_of(scale)
    np.testing.assert_array_equal(ends[:50], np.arange(1, 51))
    np.testing.assert_array_equal(ends[50:60], np.arange(60, 151, 10))
    assert len(ends) == 60  # a last block of .08 is left out


def test_time_functions_are_orthonormal_and_hold_the_constant():
    for _, basis in time_bases((np.arange(50) + 0.5) / 50):
        np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-10)
        assert np.linalg.norm(basis.T @ np.ones(50)) == pytest.approx(50**0.5)


def test_permutations_leave_a_course_out_either_way():
    rng = np.random.default_rng(0)
    course = np.linalg.qr(np.cos(np.pi * np.outer((np.arange(60) + 0.5) / 60, np.arange(4))))[0]
    few = rng.standard_normal((60, 3))
    turned = few @ np.linalg.qr(rng.standard_normal((12, 12)))[0][:3]  # the same path, more columns
    one = draw_increments(few, 20, 0, course=course)
    other = draw_increments(turned, 20, 0, course=course)
    np.testing.assert_allclose(one.variance_ratio, other.variance_ratio, rtol=1e-4)
    left = few - course @ (course.T @ few)
    orders = [np.arange(60)]
    for order in orders:
        again = left[order] - course @ (course.T @ left[order])
        c = [float((again[: 60 - h] * again[h:]).sum()) for h in range(2)]
        assert one.variance_ratio[0, 0] == pytest.approx(1 + c[1] / c[0], rel=1e-4)


@pytest.mark.parametrize("hurst", [0.2, 0.6, 0.8])
def test_the_exponent_of_fractional_motion_is_found(hurst):
    found = [anomalous_exponent(np.diff(fractional_walk(s, hurst), axis=0)) for s in range(5)]
    said = [each for each in found if each is not None]
    assert len(said) >= 4
    inside = sum(each.interval[0] <= hurst <= each.interval[1] for each in said)
    assert inside >= len(said) - 1
    assert np.mean([each.hurst for each in said]) == pytest.approx(hurst, abs=0.03)


def test_what_has_a_time_scale_is_not_anomalous():
    mixed = [well(3, tau, 10) for tau in (1, 2, 4, 8, 16)]
    for path in (walk(1), well(1), np.concatenate(mixed, axis=1), well(4, 0.1)):
        assert anomalous_exponent(np.diff(path, axis=0)) is None


def test_the_spectrum_of_fractional_noise_is_that_of_its_covariance():
    angles = 2 * np.pi * np.arange(1, 100) / 2000
    lags = np.arange(1, 200_000.0)
    hurst = 0.3
    covariance = ((lags + 1) ** 0.6 + (lags - 1) ** 0.6) / 2 - lags**0.6
    direct = 1 + 2 * np.cos(np.outer(angles, lags[:20_000])) @ covariance[:20_000]
    ratio = fractional(angles, hurst) / direct
    np.testing.assert_allclose(ratio / ratio.mean(), 1, rtol=0.01)


def test_a_change_of_noise_by_decades_is_found_and_volatility_keeps_its_level():
    rng = np.random.default_rng(4)
    slow = lfilter([1.0], [1.0, -0.9], rng.standard_normal((100, T + 50)), axis=1)[:, 50:]
    steady = noise_scale_statistic(np.exp(0.2 * slow) * rng.chisquare(20, (100, T)))
    falling = noise_scale_statistic(HYPERBOLIC**2 * rng.chisquare(20, (100, T)))
    assert falling.min() > np.quantile(steady, 0.95)


def test_a_window_of_too_few_blocks_is_not_judged():
    scale = np.where(TIME < 0.14, 1.0, 0.01)
    frozen = scheduled_well(2, scale, rate=0.9)
    found = take_apart(np.diff(frozen[:80], axis=0), DRAWS, noise_changes=True)
    assert (found.rest.code, found.rest.reason) == ("unknown", "few")
    assert found.rest.evidence["blocks"] < 32
    # A walk needs no blocks.
    found = take_apart(np.diff(walk(2, scale)[:80], axis=0), DRAWS, noise_changes=True)
    assert (found.rest.code, found.count) == ("brownian", 0)


def test_a_schedule_that_is_given_explains_the_noise():
    pairs = ",".join(f"{step}:{rate:.6g}" for step, rate in enumerate(0.3 * COSINE))
    path = xr.DataArray(scheduled_well(3, COSINE), dims=("step", "weight"))
    said = analyze(path, n_surrogates=199, lr_schedule=pairs)["verdict"].attrs
    assert said["noise"]["kind"] == "rate"
    assert said["noise"]["ratio"] == pytest.approx((COSINE[-2] / COSINE[0]) ** 2, rel=1e-3)
    assert "as the squared learning rate does" in said["sentence"]
    assert said["rest"]["code"] == "confined"


def restarts(n):
    """A cosine that falls to a thousandth and begins anew, n times."""
    return 0.001 + 0.999 * (1 + np.cos(np.pi * (TIME * n % 1))) / 2


@pytest.mark.parametrize("n", [3, 8])
def test_noise_that_follows_a_rate_that_comes_and_goes_is_told_though_no_test_sees_it(n):
    path = xr.DataArray(walk(4, np.roll(restarts(n), 1)), dims=("step", "weight"))
    blind = analyze(path, n_surrogates=199)["verdict"].attrs["noise"]
    assert (blind["changes"], blind["follows_rate"]) == (False, None)
    known = path.assign_coords(learning_rate=("step", 0.3 * restarts(n)))
    results = analyze(known, n_surrogates=199)
    said = results["verdict"].attrs
    assert (said["code"], said["rest"]["code"]) == ("brownian", "brownian")
    (gate,) = [each for each in said["gates"] if each["test"] == "noise_scale"]
    assert (gate["answer"], gate["finding"]) == ("not used", "it follows the learning rate")
    whole = results["tests"].isel(group=0)
    assert not whole["is_used"].values[whole["test"].values == "noise_scale"].any()
    noise = said["noise"]
    assert (noise["changes"], noise["kind"], noise["follows_rate"]) == (True, "rate", True)
    assert noise["p_value"] > 0.1
    assert "as the squared learning rate does." in said["sentence"]
    assert "Noise: its variance varies " in said["sentence"]


@pytest.mark.parametrize("n", [1, 3, 8])
def test_noise_that_does_not_follow_a_rate_is_not_said_to(n):
    rate = restarts(n)[1:]
    assert followed(np.diff(walk(5), axis=0), rate) is None
    assert followed(np.diff(walk(5), axis=0), np.full(T - 1, 0.1)) is None
    assert followed(np.diff(walk(5), axis=0), np.where(TIME[1:] < 0.5, rate, np.nan)) is None
    clusters = 0.5 * lfilter([0.31], [1, -0.95], np.random.default_rng(0).normal(size=(100, 2 * T)))
    runs = (walk(seed, np.exp(loud[T:])) for seed, loud in enumerate(clusters))
    assert sum(followed(np.diff(run, axis=0), rate) is not None for run in runs) <= 3


def test_wells_and_white_positions_do_not_alternate():
    rng = np.random.default_rng(8)
    course = np.linalg.qr(np.cos(np.pi * np.outer((np.arange(T) + 0.5) / T, np.arange(9))))[0]
    p_values = []
    for run in range(60):
        path = rng.standard_normal((T, 10)) if run % 2 else well(run, tau=1.0, d=10)
        left = path - course @ (course.T @ path)
        p_values.append(p_value(draw_alternation(left, course, 99, run)))
    assert np.mean(np.array(p_values) <= 0.05) <= 0.12
    assert min(p_values[::2]) > 0.05  # of wells


def test_a_learning_rate_beside_an_array_is_used_and_another_is_said_not_to_be():
    path = xr.DataArray(scheduled_well(3, COSINE), dims=("step", "weight"))
    told = analyze(path.assign_coords(learning_rate=("step", COSINE)), n_surrogates=199)
    assert told["verdict"].attrs["noise"]["kind"] == "rate"
    assert told["verdict"].attrs["noise"]["follows_rate"] is True
    np.testing.assert_array_equal(told["trajectory"]["learning_rate"], COSINE)
    one_rate = analyze(path.assign_coords(learning_rate=0.1), n_surrogates=199)
    assert one_rate["verdict"].attrs["noise"]["follows_rate"] is False
    for other in (("step", ["a"] * T), ("weight", np.arange(40.0)), ("step", np.full(T, -1.0))):
        with pytest.warns(TrajscopeWarning, match="'learning_rate' is not used"):
            left = analyze(path.assign_coords(learning_rate=other), n_surrogates=199)
        assert "learning_rate" not in left["trajectory"].coords
        assert left["verdict"].attrs["noise"]["follows_rate"] is None


def test_a_confined_path_without_a_course_is_told_once():
    # Wells of many times, whose circulation is a matter of luck; noise that hardly changes.
    for seed in range(3):
        mixed = np.concatenate([well(seed, tau, 10) for tau in (1, 2, 4, 8, 16)], axis=1)
        for path in (mixed, scheduled_well(seed, 1 - 0.15 * TIME)):
            said = decided(path)
            if said["code"] in ("confined", "circulating", "oscillating"):
                assert said["rest"]["code"] == said["code"]
                assert said["sentence"].count("noise variance") <= 1
                assert "Noise:" not in said["sentence"]


def test_a_long_window_of_few_blocks_is_looked_at_in_as_few_rows(monkeypatch):
    from trajscope.inference.course import apart

    seen = []
    judged = apart.judged
    monkeypatch.setattr(apart, "_MOST_BLOCKS", 50)
    monkeypatch.setattr(
        apart, "judged", lambda noise, blocks, draws: (
            seen.append(len(blocks.rows)), judged(noise, blocks, draws)
        )[1]
    )  # fmt: skip
    scale = np.where(TIME < 0.14, 1.0, 0.01)
    apart.take_apart(np.diff(walk(1, scale), axis=0), DRAWS, noise_changes=True)
    assert max(seen) <= 50


def test_noise_that_ends_as_it_began_neither_falls_nor_rises():
    loud = np.exp(2 * np.sin(np.pi * TIME))
    found = take_apart(np.diff(walk(2, loud), axis=0), DRAWS, noise_changes=True)
    run = Run(np.arange(T), "step", 1.0)
    noise = replace(found.noise, kind="gradual", scale=loud[:-1] / loud.max())
    said = of_noise(noise, run, 0.01)
    assert (
        said == "Noise: its variance varies gradually, 54.6-fold between its extremes (p = 0.01)."
    )


def test_a_rate_that_rises_and_falls_is_told_by_its_extremes():
    rate = np.minimum(np.minimum(TIME / 0.1, 1), (1 - TIME) / 0.1) + 0.01
    path = xr.DataArray(walk(2, np.roll(rate, 1)), dims=("step", "weight"))
    known = path.assign_coords(learning_rate=("step", rate))
    said = analyze(known, n_surrogates=199)["verdict"].attrs
    assert said["noise"]["kind"] == "rate"
    widest = (rate[:-1].max() / rate[:-1].min()) ** 2
    assert f"Noise: its variance varies {widest:,.0f}"[:31] in said["sentence"]


def test_a_course_that_bends_is_not_said_to_go_in_one_direction():
    x = walk(3) + np.outer(np.linspace(0, 60, T), np.ones(40))
    window = Window(np.diff(x, axis=0))
    decision, run = (
        decide(window, DecisionSettings(n_surrogates=199)),
        Run(np.arange(T), "step", 1.0),
    )
    straight = sentence(decision, Detail(), run)
    assert straight.startswith("Drifts in one direction (p = ")
    bent = sentence(decision, Detail(is_curved=True), run)
    assert bent == straight.replace(" in one direction", "")


def test_whether_the_course_bends_is_told_to_the_sentence():
    u = np.linspace(0, 1, T)[:, np.newaxis]
    rng = np.random.default_rng(0)
    line, bend = rng.standard_normal((2, 40))
    for path, is_curved in (
        (300 * u * line, False),
        (300 * (u * line + 0.4 * np.cos(2 * np.pi * u) * bend), True),
    ):
        own = Window(np.diff(path + walk(3), axis=0))
        run, settings = Run(np.arange(T), "step", 1.0), DecisionSettings(n_surrogates=199)
        whole = decide_run(run, ["all"], [own], settings)
        assert whole.found.is_curved == is_curved == whole.details[0].is_curved


@pytest.mark.slow
def test_what_a_course_of_the_most_components_leaves_is_not_asked_whether_it_turns():
    u, rng = np.linspace(0, 1, T)[:, np.newaxis], np.random.default_rng(0)
    bends = (60 / k**1.5 * np.cos(np.pi * k * u) for k in range(1, 21))
    path = well(0, tau=1) + sum(bend * rng.standard_normal(40) / 40**0.5 for bend in bends)
    found = take_apart(np.diff(path, axis=0), DRAWS, noise_changes=False)
    assert (found.rest.code, found.count) == ("confined", 16)
    assert "circulation" not in found.rest.evidence
    told = decided(path)["unseen"]
    assert told[1] == (
        "about the course, rotation at any rate: what a course of 16 components leaves may be more "
        "of it, and turn"
    )
