"""Many layers at once, and what a result says of them."""

import numpy as np
import pytest
import xarray as xr

from tests.trajectories import brownian as walk
from trajscope import analyze
from trajscope.errors import OptionError, TrajscopeWarning
from trajscope.inference.decision import combine
from trajscope.inference.decision import settings as decision_settings
from trajscope.inference.decision.run import ringing
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.inference.decision.verdict import decide, decide_together
from trajscope.inference.statistics.window import Window
from trajscope.optimizer import Optimizer
from trajscope.report.content.verdict import layers_in_words
from trajscope.simulate import brownian, ornstein_uhlenbeck, rotating_ornstein_uhlenbeck

QUESTION = DecisionSettings(n_surrogates=199)


def windows(n_layers, seed, n_steps=60):
    rng = np.random.default_rng(seed)
    return [Window(rng.standard_normal((n_steps - 1, 6))) for _ in range(n_layers)]


def test_one_window_among_one_is_judged_as_alone():
    (window,) = windows(1, 0)
    assert decide_together([window], QUESTION)[0].evidence == decide(window, QUESTION).evidence


def test_layers_with_fewer_draws_of_a_null_are_compared_by_those_they_share(monkeypatch):
    monkeypatch.setattr(decision_settings, "_LONG", 100)
    still = [ornstein_uhlenbeck(200, 4, taus=[3.0] * 4, seed=seed) for seed in range(3)]
    paths = [*still, rotating_ornstein_uhlenbeck(200, rate=0.3, angular_velocity=0.9, seed=1)]
    layers = [Window(np.diff(path.to_numpy(), axis=0)) for path in paths]
    found = decide_together(layers, DecisionSettings(n_surrogates=399))
    asked = [
        len(each.statistics["slow_planes"]) for each in found if "slow_planes" in each.statistics
    ]
    assert {200, 400} == set(asked)
    assert all(
        each.evidence["circulation"] > 0 for each in found if "slow_planes" in each.statistics
    )


@pytest.mark.slow
def test_a_false_alarm_in_any_of_twenty_layers_is_as_rare_as_the_level_says():
    runs = [
        decide_together(windows(20, 2000 + run), DecisionSettings(199, 0.05)) for run in range(60)
    ]
    for test in ("noise_scale", "omnibus", "constant_drift"):
        alarms = sum(min(each.evidence[test] for each in layers) <= 0.05 for layers in runs)
        assert alarms <= 60 * 0.05 + 3 * (60 * 0.05 * 0.95) ** 0.5, test


def test_layers_are_told_apart_and_each_has_its_sentence():
    parts = {
        "walk": brownian(200, 20, seed=1),
        "well": ornstein_uhlenbeck(200, 20, taus=[4.0] * 20, seed=2),
        "loop": rotating_ornstein_uhlenbeck(200, 20, rate=0.2, angular_velocity=0.6, seed=3),
    }
    weights = np.concatenate([part.to_numpy() for part in parts.values()], axis=1)
    names = list(parts)
    source = xr.Dataset(
        {"weights": (("step", "weight"), weights)},
        {
            "step": np.arange(200) * 10,
            "tensor": names,
            "row_size": ("tensor", [20, 20, 20]),
            "group": ("tensor", names),
            "stored_dtype": ("tensor", ["float64"] * 3),
        },
        {"step_unit": "step"},
    )
    results = analyze(source, n_surrogates=199)
    found = results["verdict"].to_dataset().set_index()
    codes = dict(zip(found["group"].values, found["code"].values, strict=True))
    assert {name: codes[name] for name in names} == {
        "walk": "brownian",
        "well": "confined",
        "loop": "circulating",
    }
    sentences = dict(zip(found["group"].values, found["sentence"].values, strict=True))
    assert "would have been detected" in sentences["walk"]
    assert "rotates in one direction on average" in sentences["loop"]
    tests = results["tests"]
    assert (tests["p_adjusted"] >= tests["p_value"]).where(tests["p_value"].notnull(), True).all()


@pytest.mark.parametrize("chunks", [(40, 7), (9, 30)])
def test_the_same_seed_gives_the_same_tests_whatever_the_chunks(chunks):
    x = brownian(40, 30, seed=5)
    one, other = (
        analyze(x, n_surrogates=199),
        analyze(x.chunk(dict(zip(x.dims, chunks, strict=True))), n_surrogates=199),
    )
    assert one["verdict"].attrs == other["verdict"].attrs
    xr.testing.assert_allclose(one["tests"].to_dataset(), other["tests"].to_dataset())


def of(values, **coords):
    return xr.DataArray(values, dims=("step", "weight"), coords=coords)


TIME = np.arange(200)


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (walk(31, 5), "31 checkpoints; at least 32"),
        (np.ones((40, 5)), "identical in every checkpoint"),
        (
            1 + 1e-3 * np.outer(TIME >= 100, np.eye(5)[2]),
            "change in 1 of 199 intervals, and 31 changes",
        ),
    ],
    ids=["few", "still", "once"],
)
@pytest.mark.filterwarnings("ignore:. of 5 weights never change")
def test_what_cannot_be_judged_is_too_short_and_says_why(x, said):
    verdict = analyze(of(x))["verdict"].attrs
    assert verdict["code"] == "too_short"
    assert said in verdict["sentence"]
    assert "brownian" not in verdict["evidence"]


NOISE = np.random.default_rng(8).standard_normal((200, 5))


@pytest.mark.parametrize(
    ("path", "code"),
    [
        (np.outer(TIME, np.ones(5)), "drifting"),
        (np.outer(TIME**2.0, np.ones(5)) + NOISE, "drifting"),
        (np.stack([np.cos(TIME * np.pi / 10), np.sin(TIME * np.pi / 10)], axis=1), "oscillating"),
        (1e30 * NOISE.cumsum(axis=0), "brownian"),
        (1e-30 * NOISE.cumsum(axis=0), "brownian"),
        (NOISE, "confined"),
    ],
    ids=["straight", "accelerating", "circle", "huge", "tiny", "white"],
)
def test_extreme_paths_are_what_they_are(path, code):
    assert analyze(of(path), n_surrogates=199)["verdict"].attrs["code"] == code


def test_one_weight_may_walk_or_stay():
    well = ornstein_uhlenbeck(400, taus=[1.5], seed=1).to_numpy()
    confined = analyze(of(well), n_surrogates=199)["verdict"].attrs
    assert confined["code"] == "confined"
    assert "no plane to rotate in" in confined["sentence"]
    assert "circulation" not in confined["evidence"]


def test_log_spaced_checkpoints_of_brownian_motion_are_brownian():
    steps = np.unique(np.geomspace(1, 20_000, 120).astype(int))
    path = brownian(20_001, 5, seed=3).to_numpy()[steps]
    with pytest.warns(TrajscopeWarning, match="unevenly spaced"):
        results = analyze(of(path, step=steps), n_surrogates=199)
    assert results["verdict"].attrs["code"] == "brownian"
    assert results["tests"].attrs["evenly_spaced"] is False


def test_checkpoints_missing_here_and_there_leave_a_circulation_to_be_found():
    path = rotating_ornstein_uhlenbeck(400, 10, rate=0.2, angular_velocity=0.6, seed=4)
    kept = np.setdiff1d(np.arange(400), [3, 30, 390])
    with pytest.warns(TrajscopeWarning, match="unevenly spaced"):
        results = analyze(of(path.to_numpy()[kept], step=kept), n_surrogates=199)
    assert results["verdict"].attrs["code"] == "circulating"
    assert results["tests"].sizes["plane_step"] == 397


def test_rounding_is_not_taken_for_a_well():
    path = 100 + 0.02 * brownian(400, 50, seed=2).to_numpy()
    rounded = np.round(path, 1)  # a spacing of five increments
    source = xr.Dataset(
        {"weights": (("step", "weight"), rounded)},
        {
            "step": np.arange(400),
            "tensor": ["w"],
            "row_size": ("tensor", [50]),
            "group": ("tensor", ["w"]),
            "stored_dtype": ("tensor", ["bfloat16"]),
        },
    )
    with pytest.warns(TrajscopeWarning, match="Rounding to bfloat16"):
        verdict = analyze(source, n_surrogates=199)["verdict"].attrs
    assert verdict["code"] in ("too_short", "brownian")


def test_a_burn_in_is_proposed_where_the_rest_is_one_steady_state():
    start = np.full(10, 12.0)
    path = ornstein_uhlenbeck(400, taus=[5.0] * 10, start=start, seed=6)
    verdict = analyze(path, n_surrogates=199)["verdict"].attrs
    assert verdict["code"] in ("drifting", "noise_scale_changes")
    assert "Suggested burn-in: the first 40 of 400 checkpoints (--steps 40:)" in verdict["proposal"]
    assert "confined" in verdict["proposal"]


@pytest.mark.slow
@pytest.mark.parametrize("falls", [False, True])
def test_a_coarse_look_changes_no_proposal_and_spares_long_windows(falls, monkeypatch):
    n_steps, looked = 6000, []
    path = ornstein_uhlenbeck(n_steps, taus=[20.0] * 3, start=np.full(3, 30.0), seed=6).values
    if falls:
        rng, scale = np.random.default_rng(1), np.geomspace(1, 0.1, n_steps)[:, np.newaxis]
        path = (scale * rng.standard_normal((n_steps, 3))).cumsum(axis=0)

    def counted(window, settings):
        looked.append(len(window.increments))
        return decide(window, settings)

    monkeypatch.setattr(combine, "decide", counted)
    with_look = analyze(path, n_surrogates=199, phases="none")["verdict"].attrs["proposal"]
    long_ones = sum(n > 4000 for n in looked)
    monkeypatch.setattr(combine, "_FEW_BLOCKS", n_steps)
    assert analyze(path, n_surrogates=199, phases="none")["verdict"].attrs["proposal"] == with_look
    assert bool(with_look) is not falls
    assert long_ones == 1 if falls else long_ones >= 2


def test_the_momentum_is_taken_whatever_the_steps_count():
    x = of(walk(40, 3), step=np.arange(40.0))
    with pytest.raises(OptionError, match=r"momentum=1\.5: from 0 to below 1"):
        analyze(x, momentum=1.5)
    with pytest.warns(TrajscopeWarning, match="unevenly spaced"):
        uneven = analyze(of(walk(40, 3), step=np.arange(40) ** 2), momentum=0.9, n_surrogates=199)
    assert uneven["verdict"].attrs["code"]


@pytest.mark.parametrize(
    ("momentum", "steps", "unit", "left", "words"),
    [
        (None, np.arange(9.0), "step", None, "give --momentum"),
        (0.9, np.arange(9.0), "step", 0.9**0.5, "gives a broader peak"),
        (0.9, 100 * np.arange(9.0), "step", None, "decays between"),
        (0.0, np.arange(9.0), "step", None, "decays between"),
        (0.9, np.arange(9.0), "epoch", None, "true from 44 updates between checkpoints on"),
        (0.9, np.arange(9.0) ** 2, "step", None, "unevenly spaced"),
        (0.9, np.arange(9.0), "index", None, "checkpoints that do not count updates"),
        (0.9, np.arange(9.0), "fraction", None, "checkpoints that do not count updates"),
        (0.0, np.arange(9.0), "index", None, "decays between"),
    ],
)
def test_what_is_said_of_ringing_fits_what_is_known(momentum, steps, unit, left, words):
    found, said = ringing(Optimizer(momentum=momentum), steps, unit)
    assert found == (left if left is None else pytest.approx(left))
    assert words in said
    # Nobody is asked for what was given.
    assert ("give --momentum" in said) == (momentum is None)
    if "44" in words:
        assert 0.9 ** (44 / 2) <= 0.1 < 0.9 ** (43 / 2)


def test_ringing_between_epochs_of_known_length_is_computed():
    told, epochs = Optimizer(momentum=0.9), np.arange(0, 18, 2.0)
    left, said = ringing(told, epochs, "epoch", updates_per_epoch=6.5)
    assert left == pytest.approx(0.9 ** (13 / 2))
    assert "gives a broader peak" in said
    left, said = ringing(told, epochs, "epoch", updates_per_epoch=100)
    assert left is None
    assert "decays between" in said
    assert "epochs" not in said
    assert "unevenly spaced" in ringing(told, epochs**2, "epoch", updates_per_epoch=6.5)[1]
    # Of steps that count updates it changes nothing.
    assert ringing(told, epochs, "step", updates_per_epoch=6.5) == ringing(told, epochs, "step")


def test_a_line_without_a_momentum_asks_for_one_and_with_one_does_not():
    turn = 2 * np.pi * np.arange(240) / 12
    noise = 0.3 * np.random.default_rng(0).standard_normal((240, 2))
    run = xr.DataArray(
        np.stack([np.cos(turn), np.sin(turn)], axis=1) + noise,
        dims=("step", "weight"),
        coords={"step": np.arange(240)},
    )
    for momentum in (None, 0.0):
        verdict = analyze(run, n_surrogates=199, momentum=momentum)["verdict"].attrs
        assert verdict["code"] == "oscillating"
        assert ("give --momentum" in verdict["sentence"]) == (momentum is None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 0}, "--alpha is 0; a significance level between 0 and 1"),
        ({"n_surrogates": 100}, r"--surrogates is 100; at least 199 .* --alpha 0\.01"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(OptionError, match=message):
        analyze(of(walk(40, 3)), **options)


def test_a_very_long_run_draws_as_often_as_its_level_needs_and_says_so(monkeypatch):
    monkeypatch.setattr(decision_settings, "_LONG", 50)
    result = analyze(xr.DataArray(walk(60, 4), dims=("step", "weight")), alpha=0.05)
    assert result["tests"].attrs["n_surrogates"] == 39
    assert result["verdict"].attrs["code"] == "brownian"


def test_what_ringing_hides_is_named_among_what_could_not_have_been_seen():
    turn = 2 * np.pi * np.arange(60) / 6
    noise = 0.3 * np.random.default_rng(0).standard_normal((60, 2))
    path = np.stack([np.cos(turn), np.sin(turn)], axis=1) + noise
    run = xr.DataArray(path, dims=("step", "weight"), coords={"step": np.arange(60)})
    found = analyze(run, n_surrogates=199, momentum=0.9)["verdict"].attrs["unseen"]
    assert any("at the given momentum ringing lasts 19 steps" in phrase for phrase in found)
    assert len(found) == 3


def test_ringing_is_counted_in_the_checkpoints_that_are_compared():
    # Rounded to whole numbers, every second checkpoint is: they hold 240 / 19 ringing times still.
    turn = 2 * np.pi * np.arange(240) / 12
    noise = 0.3 * np.random.default_rng(0).standard_normal((240, 2))
    path = 2 * (np.stack([np.cos(turn), np.sin(turn)], axis=1) + noise) + 1024
    run = xr.DataArray(
        path.astype(np.float16), dims=("step", "weight"), coords={"step": np.arange(240)}
    )
    with pytest.warns(TrajscopeWarning, match="Rounding"):
        found = analyze(run, n_surrogates=199, momentum=0.9)
    assert found["tests"].attrs["stride"] == 2
    assert found["verdict"].attrs["code"] == "oscillating"


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 2, 3))])
def test_a_layer_that_holds_all_weights_has_their_verdict(seed):
    x = ornstein_uhlenbeck(400, 120, taus=[150.0] * 120, seed=seed).to_numpy()
    one = xr.Dataset(
        {"weights": (("step", "weight"), x)},
        {
            "step": np.arange(400), "tensor": ["w"], "row_size": ("tensor", [120]),
            "group": ("tensor", ["w"]), "stored_dtype": ("tensor", ["float64"]),
        },
    )  # fmt: skip
    results = analyze(one, n_surrogates=199)
    (whole, layer) = results["verdict"]["code"].values
    assert whole == layer
    tests = results["tests"]
    xr.testing.assert_equal(
        tests["p_value"].isel(group=0, drop=True), tests["p_value"].isel(group=1, drop=True)
    )


def test_a_layer_is_judged_where_it_moves():
    rng = np.random.default_rng(4)
    well = ornstein_uhlenbeck(300, 20, taus=[4.0] * 20, seed=2).to_numpy()
    path = rng.standard_normal((300, 20)).cumsum(axis=0)

    def then(*pieces):
        """A place for so many checkpoints, or a path."""
        return np.concatenate([np.tile(x, (n, 1)) if n else x for x, n in pieces])

    parts = {
        "whole": rng.standard_normal((300, 20)).cumsum(axis=0),
        "frozen": then((well[:180], 0), (well[179], 120)),
        "thawed": then((path[0], 100), (path[:200], 0)),
        "between": then((well[0], 60), (well[:160], 0), (well[159], 80)),
        "soon": then((path[:4], 0), (path[3], 296)),
    }
    names = list(parts)
    source = xr.Dataset(
        {"weights": (("step", "weight"), np.concatenate(list(parts.values()), axis=1))},
        {
            "step": np.arange(300) * 10, "tensor": names, "row_size": ("tensor", [20] * 5),
            "group": ("tensor", names), "stored_dtype": ("tensor", ["float64"] * 5),
        },
        {"step_unit": "step"},
    )  # fmt: skip
    results = analyze(source, n_surrogates=199)
    found = results["verdict"].to_dataset()
    said = {name: found.sel(group=name) for name in names}
    codes = {name: said[name]["code"].item() for name in names}
    assert codes == {
        "whole": "brownian", "frozen": "confined", "thawed": "brownian", "between": "confined",
        "soon": "too_short",
    }  # fmt: skip
    still = {name: said[name]["still"].item() for name in names}
    assert still == {
        "whole": "",
        "frozen": "Stands still from step 1,790 on.",
        "thawed": "Stands still until step 1,000.",
        "between": "Stands still until step 600 and from step 2,190 on.",
        "soon": "",
    }
    for name in names:
        assert said[name]["sentence"].item().endswith(still[name])
    assert "the weights change in 3 of 299 intervals" in said["soon"]["sentence"].item()
    assert "frozen stands still from step 1,790 on, thawed stands still" in layers_in_words(results)
