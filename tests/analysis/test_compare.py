import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file

from tests.test_analysis import dataset_of
from tests.trajectories import brownian
from trajscope import (
    OptionError,
    TrajectoryError,
    TrajscopeWarning,
    analyze,
    compare,
    open_results,
)
from trajscope.measure import plan
from trajscope.measure.paths import PATHS
from trajscope.measure.resources import resident_bytes
from trajscope.report import save_results
from trajscope.schema import cases_of, check_results

PATH = {path.components: path for path in PATHS}
FEW = {"n_surrogates": 199}


def walks(n_runs, n_steps=100, n_weights=40, seed=0):
    return [brownian(n_steps, n_weights, seed + number) for number in range(n_runs)]


def array_of(x, steps):
    return xr.DataArray(x, dims=("step", "weight"), coords={"step": steps})


def write(folder, x, *, names=("a.w", "b.w"), dtype=torch.float32, steps=None):
    """Checkpoints of two tensors of as many weights each."""
    folder.mkdir(parents=True, exist_ok=True)
    for step, row in zip(range(len(x)) if steps is None else steps, x, strict=True):
        parts = np.split(row, len(names))
        save_file(
            {n: torch.tensor(p).to(dtype) for n, p in zip(names, parts, strict=True)},
            folder / f"step-{step}.safetensors",
        )


def effect(found, quantity, *, group="all", pair=0):
    own = found["compare"].to_dataset().isel(pair=pair).sel(group=group, quantity=quantity)
    return {name: float(own[name]) for name in ("p_value", "effect", "effect_low", "effect_high")}


@pytest.mark.parametrize(
    ("components", "lengths", "n_weights"),
    [("gram", (120, 90), 300), ("dual", (300, 200), 30), ("sketch", (120, 120), 300)],
)
def test_every_run_is_what_it_is_alone(monkeypatch, components, lengths, n_weights):
    monkeypatch.setattr(plan, "PATHS", (PATH[components],))
    sizes = [n_weights // 3, n_weights - n_weights // 3]
    runs = [dataset_of(brownian(n, n_weights, n), sizes) for n in lengths]
    found = compare(*runs, labels=["one", "other"], **FEW)
    check_results(found)
    for case, run, label in zip(cases_of(found), runs, ["one", "other"], strict=True):
        alone = analyze(run, **FEW)
        assert case.attrs["label"] == label
        for part in ("observables", "tests", "reductions"):
            expected = alone[part].to_dataset()
            assert set(case[part].data_vars) == set(expected.data_vars)
            for name, values in expected.items():
                scale = float(np.abs(values).max()) or 1.0
                np.testing.assert_allclose(
                    case[part][name], values, rtol=0, atol=1e-9 * scale, err_msg=name
                )
        assert case["verdict"].attrs == alone["verdict"].attrs


def test_distances_and_joint_components_match_their_definitions():
    a, b, c = walks(3, 90, 50)
    c = c[:60]
    found = compare(
        array_of(a, 10 * np.arange(90)),
        array_of(b, 10 * np.arange(90)),
        array_of(c, 30 * np.arange(60)),
        labels="abc",
        **FEW,
    )["compare"].to_dataset()
    distance = found["distance"].sel(pair="a | b")
    np.testing.assert_allclose(distance, np.linalg.norm(a - b, axis=1))
    met = found.sel(pair="b | c").dropna("meeting")
    assert met["meeting_step"].values.tolist() == list(range(0, 900, 30))
    np.testing.assert_allclose(met["distance"], np.linalg.norm(b[::3] - c[:30], axis=1))
    chosen = {
        label: x[np.searchsorted(steps, found["step"][found["run"] == label])]
        for label, x, steps in zip(
            "abc", (a, b, c), (range(0, 900, 10),) * 2 + (range(0, 1800, 30),), strict=True
        )
    }
    together = np.concatenate([chosen[label] for label in "abc"])
    together = together - together.mean(axis=0)
    left, values, _ = np.linalg.svd(together, full_matrices=False)
    scores = left[:, :3] * values[:3]
    np.testing.assert_allclose(
        np.abs(found["joint_component"].values[:, :3]), np.abs(scores), rtol=1e-6, atol=1e-6
    )
    np.testing.assert_allclose(
        found["joint_explained_variance"][:3], (values**2 / (values**2).sum())[:3]
    )


def test_random_walks_look_as_their_reference_says():
    start = np.random.default_rng(9).standard_normal(20_000)
    runs = [start + x - x[0] for x in walks(2, 80, 20_000)]
    found = compare(*runs, labels="ab", **FEW)["compare"].to_dataset()
    assert found["start"].item() == "the same"
    np.testing.assert_allclose(found["distance"][0, 1:], found["distance_walk"][0, 1:], rtol=0.03)
    np.testing.assert_allclose(
        found["joint_explained_variance"][:4], found["joint_explained_variance_walk"][:4], rtol=0.05
    )
    np.testing.assert_allclose(
        found["joint_component"][:, 0], found["joint_component_walk"][:, 0],
        atol=0.1 * float(np.abs(found["joint_component"][:, 0]).max()),
    )  # fmt: skip


def test_shared_tensors_are_compared_and_the_others_named(tmp_path):
    a, b = walks(2, 70, 60)
    write(tmp_path / "one", a, names=("a.w", "b.w", "only.w"))
    # In another order, dtype and company.
    swapped = np.concatenate([b[:, 20:40], b[:, :20], b[:, 40:]], axis=1)
    write(tmp_path / "two", swapped, names=("b.w", "a.w", "z.w"), dtype=torch.float64)
    found = compare(tmp_path / "one", tmp_path / "two", **FEW)
    assert [case.attrs["label"] for case in cases_of(found)] == ["one", "two"]
    expected = np.linalg.norm(a[:, :40].astype(np.float32) - b[:, :40], axis=1)
    np.testing.assert_allclose(found["compare/distance"][0], expected, rtol=1e-6)
    guards = found["compare"].attrs["guards"]
    guards = [each for each in guards if not each["code"].startswith("law_")]
    assert [(each["code"], each["runs"]) for each in guards] == [
        ("left_out_tensors", ["one"]),
        ("left_out_tensors", ["two"]),
    ]
    assert "only.w" in guards[0]["reason"]
    assert "z.w" in guards[1]["reason"]
    alone = analyze(tmp_path / "two", exclude=["z.w"], **FEW)
    for group in ("all", "a", "b"):
        np.testing.assert_allclose(
            cases_of(found)[1]["observables/path_length"].sel(group=group),
            alone["observables/path_length"].sel(group=group),
        )


def test_rounding_is_that_of_every_run_s_own_dtype(tmp_path):
    a, b = walks(2, 70, 40)
    write(tmp_path / "fine", a)
    write(tmp_path / "coarse", b, dtype=torch.bfloat16)
    found = compare(tmp_path / "fine", tmp_path / "coarse", **FEW)
    fine, coarse = (float(c["observables/rounding_floor"][0]) for c in cases_of(found))
    assert 1e3 < coarse / fine < 1e6


def test_a_finished_result_stands_for_its_run(tmp_path):
    a, b = walks(2, 100, 60)
    write(tmp_path / "one", a)
    write(tmp_path / "two", b)
    at_hand = compare(tmp_path / "one", tmp_path / "two", **FEW)
    for name in ("one", "two"):
        save_results(analyze(tmp_path / name, **FEW), tmp_path / "out" / name / "results.zarr")
    stored = [tmp_path / "out" / name for name in ("one", "two")]
    found = compare(stored[0], open_results(stored[1] / "results.zarr"), **FEW)
    for name in ("p_value", "effect", "effect_low"):
        np.testing.assert_allclose(found["compare"][name], at_hand["compare"][name], rtol=1e-6)
    assert "distance" not in found["compare"]
    assert [each["code"] for each in found["compare"].attrs["guards"]] == ["no_weights"]
    mixed = compare(tmp_path / "one", stored[1], labels=["a", "b"], **FEW)
    np.testing.assert_allclose(mixed["compare/effect"], at_hand["compare/effect"], rtol=1e-6)


@pytest.mark.parametrize("option", [{"burn_in": "10%"}, {"steps": "5:"}, {"include": ["a*"]}])
def test_what_a_finished_result_cannot_follow_is_refused(option):
    x = walks(1)[0]
    result = analyze(x, **FEW)
    with pytest.raises(OptionError, match="'b' is a finished result, and --"):
        compare(result, result, labels=["b", "a"], **option)


@pytest.mark.slow
def test_a_long_finished_result_is_compared_by_its_factors(monkeypatch, tmp_path):
    monkeypatch.setattr(plan, "PATHS", (PATH["sketch"],))
    sizes = [100, 150]
    runs = [dataset_of(x, sizes) for x in walks(2, 150, 250)]
    at_hand = compare(*runs, labels="ab", **FEW)
    for label, run in zip("ab", runs, strict=True):
        save_results(analyze(run, **FEW), tmp_path / label / "results.zarr")
    found = compare(tmp_path / "a", tmp_path / "b", **FEW)
    np.testing.assert_allclose(found["compare/p_value"], at_hand["compare/p_value"], atol=0.02)
    np.testing.assert_allclose(
        found["compare/effect"], at_hand["compare/effect"], rtol=1e-4, atol=1e-6
    )


def test_runs_of_other_spacing_are_compared_over_a_common_time():
    a, b = walks(2, 600, 200)
    found = compare(
        array_of(a, 10 * np.arange(600)), array_of(b[::3], 30 * np.arange(200)), labels="ab", **FEW
    )
    assert effect(found, "increment_variance")["effect"] == pytest.approx(1, abs=0.1)
    assert effect(found, "increment_variance")["p_value"] > 0.05
    swapped = compare(
        array_of(b[::3], 30 * np.arange(200)), array_of(a, 10 * np.arange(600)), labels="ba", **FEW
    )
    assert effect(swapped, "increment_variance")["effect"] == pytest.approx(
        1 / effect(found, "increment_variance")["effect"]
    )


def test_runs_are_compared_by_another_clock_that_is_given_as_steps():
    rates, steps = (0.05, 0.1), (80 * np.arange(600), 40 * np.arange(300))
    runs = [
        array_of(walk, step * rate)
        for walk, step, rate in zip(
            (walks(1, 600, 200)[0], walks(2, 300, 200)[1]), steps, rates, strict=True
        )
    ]
    # Both have a checkpoint every 4 units of time: nothing is thinned.
    found = compare(*runs, labels="ab", **FEW)
    assert effect(found, "increment_variance")["effect"] == pytest.approx(1, abs=0.1)
    assert [each["trajectory"].sizes["step"] for each in found["cases"].children.values()] == [
        600,
        300,
    ]


def test_more_noise_is_told_from_more_drift_and_from_a_well():
    rng = np.random.default_rng(4)
    noise = rng.standard_normal((4, 300, 100))
    plain, loud, drifting = noise[0], 1.5 * noise[1], noise[2] + 0.3
    well = np.zeros((300, 100))
    for t in range(1, 300):
        well[t] = 0.8 * well[t - 1] + noise[3, t]
    runs = [plain.cumsum(axis=0), loud.cumsum(axis=0), drifting.cumsum(axis=0), well]
    found = compare(*runs, labels=["plain", "loud", "drifting", "well"])
    variance = effect(found, "increment_variance", pair=0)
    assert variance["p_value"] <= 0.01
    assert variance["effect_low"] < 2.25 < variance["effect_high"]
    assert effect(found, "variance_ratio", pair=0)["p_value"] > 0.05
    drift = effect(found, "drift", pair=1)
    assert drift["p_value"] <= 0.05
    assert drift["effect_low"] < 0.09 < drift["effect_high"]
    assert effect(found, "variance_ratio", pair=2)["effect_high"] < 1
    assert effect(found, "spectrum_shape", pair=2)["effect_high"] < 1


@pytest.mark.filterwarnings("ignore::trajscope.TrajscopeWarning")  # what is odd about each run
def test_what_cannot_be_tested_is_said():
    runs = {
        "long": array_of(brownian(200, 30), np.arange(200)),
        "short": array_of(brownian(40, 30, 1), np.arange(40)),
        "uneven": array_of(brownian(100, 30, 2), np.arange(100) ** 2),
        "still": array_of(np.ones((100, 30)), np.arange(100)),
    }
    found = compare(*runs.values(), labels=list(runs), **FEW)
    told = {tuple(each["runs"]): each["code"] for each in found["compare"].attrs["guards"]}
    assert told["long", "short"] == "too_short"
    assert told["long", "uneven"] == "uneven_spacing"
    assert told["long", "still"] == "still"
    assert not np.isfinite(found["compare/p_value"]).any()


@pytest.fixture
def folders(tmp_path):
    for name, x in zip("ab", walks(2, 20, 40), strict=True):
        write(tmp_path / name, x)
    return tmp_path


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda f: ([f / "a"], {}), OptionError, "given 1 run; at least 2"),
        (lambda f: ([f / "a", f / "a"], {}), OptionError, "a is given twice"),
        (
            lambda f: ([f / "a", f / "b"], {"labels": ["x", "x"]}),
            OptionError,
            "'x' is the label of 2",
        ),
        (
            lambda f: ([f / "a", f / "b"], {"labels": ["x"]}),
            OptionError,
            "1 labels are given for 2",
        ),
        (lambda f: ([f / "a", f / "b"], {"labels": ["x", " "]}), OptionError, "label is empty"),
        (lambda f: ([f / "a", brownian(20, 40)], {}), TrajectoryError, "count optimizer steps"),
        (lambda f: ([f / "a", f], {}), TrajectoryError, "2 runs"),
        (lambda f: ([f / "a", {"w": 1}], {}), OptionError, "a dict"),
        (lambda f: ([f / "a", f / "none"], {}), TrajectoryError, "none"),
        (lambda f: ([f / "a", f / "b"], {"alpha": 2}), OptionError, "--alpha is 2"),
        (lambda f: ([f / "a", f / "b"], {"memory": "1MiB"}), OptionError, "of 2 runs in 2 groups"),
        (lambda f: ([brownian(20, 40), brownian(20, 39)], {}), TrajectoryError, "share no tensor"),
        (lambda f: ([brownian(20, 40), brownian(1, 40)], {}), TrajectoryError, "1 checkpoint"),
        (lambda f: ([brownian(20, 4), brownian(20, 4)], {"steps": "2:"}), OptionError, "steps"),
    ],
)
def test_runs_that_cannot_be_compared_are_refused_in_a_sentence(folders, make, error, message):
    sources, options = make(folders)
    with pytest.raises(error, match=message):
        compare(*sources, **options)


def test_a_comparison_is_no_run(folders):
    found = compare(folders / "a", folders / "b", **FEW)
    with pytest.raises(TrajectoryError, match="is a comparison\\. Give the runs"):
        compare(found, folders / "a", labels=["x", "y"])


def test_checkpoints_that_are_not_finite_are_left_out_of_their_run():
    a, b = walks(2, 100, 30)
    b[50] = np.inf
    with pytest.warns(TrajscopeWarning) as warned:
        found = compare(a, b, labels="ab", **FEW)
    assert any("1 of 100 checkpoints" in str(each.message) for each in warned)
    sizes = [case["trajectory"].attrs["checkpoints"] for case in cases_of(found)]
    assert sizes == [100, 99]


@pytest.mark.slow
def test_worker_processes_and_memory_change_nothing(tmp_path):
    for name, x in zip("ab", walks(2, 70, 40), strict=True):
        write(tmp_path / name, x)
    plain = compare(tmp_path / "a", tmp_path / "b", **FEW)
    for options in ({"workers": 2}, {"memory": resident_bytes() + (600 << 20)}):
        other = compare(tmp_path / "a", tmp_path / "b", **FEW, **options)
        for name, values in plain["compare"].to_dataset().items():
            np.testing.assert_array_equal(other["compare"][name], values, err_msg=name)


def test_labels_are_the_parts_of_paths_that_differ(tmp_path):
    for name, x in zip(("s1", "s2"), walks(2, 20, 40), strict=True):
        write(tmp_path / name / "checkpoints", x)
    found = compare(*(tmp_path / name / "checkpoints" for name in ("s1", "s2")), **FEW)
    assert [case.attrs["label"] for case in cases_of(found)] == ["s1", "s2"]


def test_replicas_are_pooled():
    runs = walks(5, 100, 60)
    found = compare(*runs, replicas=True, **FEW)["ensemble"].to_dataset()
    moved = np.stack([np.linalg.norm(x - x[0], axis=1) for x in runs])
    np.testing.assert_allclose(found["displacement_mean"][0], moved.mean(axis=0))
    np.testing.assert_allclose(found["displacement_sd"][0], moved.std(axis=0, ddof=1))
    assert float(found["verdict_share"].sel(group="all", verdict="brownian")) >= 0.8
    assert float(found["verdict_share"][0].sum()) == pytest.approx(1)


def test_a_drift_too_weak_for_one_replica_is_seen_in_all_of_them():
    rng = np.random.default_rng(0)
    drift = 0.08 * np.ones(40)
    runs = [(rng.standard_normal((60, 40)) + drift).cumsum(axis=0) for _ in range(8)]
    found = compare(*runs, replicas=True, **FEW)
    alone = [float(c["tests/p_value"].sel(test="constant_drift")[0]) for c in cases_of(found)]
    pooled = float(found["ensemble/p_pooled"].sel(test="constant_drift")[0])
    assert pooled <= 0.01
    assert pooled <= min(alone)
    assert float(found["ensemble/p_pooled"].sel(test="omnibus")[0]) > 0.01
