import numpy as np
import pytest
import torch
import xarray as xr

from tests.analysis.test_compare import write
from tests.inference.test_laws import wells
from trajscope import OptionError, compare
from trajscope.analysis.energy import energy_of
from trajscope.analysis.laws import paths_along
from trajscope.analysis.shared import shared
from trajscope.analysis.sources import Compared
from trajscope.analysis.temperature import (
    Training,
    expected_ratio,
    told_optimizers,
    training_of,
)
from trajscope.arrays import as_trajectory
from trajscope.inference.comparison.law import Half
from trajscope.kernels.factors import factor_of_gram
from trajscope.measure.alongside import Along, alongside, principal
from trajscope.optimizer import Optimizer
from trajscope.trajectory import open_trajectory

FEW = {"n_surrogates": 199}
KNOWN = {"lr": [0.1, 0.2], "batch_size": 50, "sampling": "replacement"}
pytestmark = pytest.mark.filterwarnings("ignore::trajscope.TrajscopeWarning")


def settled(n_steps, variance, seed, d=30, n_modes=6, tau=4):
    """Modes about a point far from zero, turned into d weights."""
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((d, n_modes)))[0]
    return 10 + wells(n_steps, [tau] * n_modes, variance, seed) @ turn.T


def guards_of(found):
    return {each["code"]: each for each in found["compare"].attrs["guards"]}


def test_positions_are_inner_products_with_the_directions():
    x = settled(80, 1, 0)
    run = Compared("a", as_trajectory(x))
    together = shared([run, Compared("b", as_trajectory(settled(70, 1, 1)))])[0]
    moves = np.diff(x, axis=0)
    weights = np.zeros((150, 4))
    weights[:80] = principal(factor_of_gram(moves @ moves.T), slice(0, 39), 4)
    found = alongside(together.stack, together.groups, together.rows, {0: weights}, 1 << 24)[0]
    centred = moves[:39] - moves[:39].mean(axis=0)
    expected = np.linalg.svd(centred, full_matrices=False)[2][:4]
    vectors = x.T @ weights[:80]
    np.testing.assert_allclose(np.abs(expected @ vectors), np.eye(4), atol=1e-7)
    np.testing.assert_allclose(found.positions[:80], (x - x[0]) @ vectors, atol=1e-9)
    np.testing.assert_allclose(found.products, vectors.T @ vectors, atol=1e-9)


def test_an_orthonormal_basis_leaves_out_what_follows_from_the_rest():
    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((20, 2))
    vectors = np.column_stack([vectors, vectors.sum(axis=1)])
    x = rng.standard_normal((9, 20))
    along = Along(x @ vectors, vectors.T @ vectors)
    found = along.orthonormal(slice(0, 3))
    assert found.shape == (9, 2)
    inside = np.linalg.qr(vectors[:, :2])[0]
    np.testing.assert_allclose(found @ found.T, x @ inside @ inside.T @ x.T, atol=1e-9)


def test_directions_had_no_part_in_what_is_measured_along_them():
    # A flat spectrum of 400 directions: those that were leading in a half are no longer in the
    # other one, and no variance is gained by having chosen them.
    rng = np.random.default_rng(3)
    x = [rng.standard_normal((128, 400)) for _ in range(2)]
    runs = [Compared(label, as_trajectory(own)) for label, own in zip("ab", x, strict=True)]
    together = shared(runs)[0]

    class Found:
        observables = xr.Dataset({"n_weights": ("group", [400])})

        def __init__(self, own):
            moves = np.diff(own, axis=0)
            self.factors = [factor_of_gram(moves @ moves.T)]

    paths = paths_along(together, [Found(own) for own in x], 1 << 24)
    sizes = [half.path.var(axis=0).mean() for own in paths for half in own["all"]]
    np.testing.assert_allclose(sizes, 1, rtol=0.25)  # 4 x 64 numbers each


def test_a_ratio_that_learning_rates_explain_is_no_other_law():
    a, b = settled(400, 1, 2), settled(400, 2, 3)
    found = compare(a, b, labels=["slow", "fast"], **KNOWN, **FEW)
    own = found["compare"].to_dataset().isel(pair=0).sel(group="all")
    assert float(own["expected_ratio"]) == pytest.approx(2)
    assert float(own["volume_ratio_low"]) < 2 < float(own["volume_ratio_high"])
    assert float(own["p_same_law"]) > 0.05
    assert own["trained_learning_rate"].values.tolist() == [0.1, 0.2]
    assert not guards_of(found)
    unknown = compare(a, b, labels=["slow", "fast"], **FEW)
    assert float(unknown["compare/p_same_law"].sel(group="all")[0]) <= 0.05
    told = guards_of(unknown)["temperature_unknown"]
    assert "learning rate of 'slow'" in told["reason"]
    assert "--lr" in told["remedy"]


def test_layers_are_compared_in_directions_of_their_own(tmp_path):
    a, b = settled(200, 1, 4, d=40, n_modes=4), settled(200, 1, 5, d=40, n_modes=4)
    b[:, 20:] = 10 + 3 * (b[:, 20:] - 10)
    write(tmp_path / "one", a, dtype=torch.float64)
    write(tmp_path / "two", b, dtype=torch.float64)
    found = compare(tmp_path / "one", tmp_path / "two", lr=0.1, batch_size=8, **FEW)
    own = found["compare"].to_dataset().isel(pair=0)
    assert float(own["volume_ratio"].sel(group="a")) == pytest.approx(1, abs=0.4)
    assert float(own["volume_ratio"].sel(group="b")) == pytest.approx(9, rel=0.4)
    assert float(own["p_same_law"].sel(group="b")) <= 0.02


def test_settings_are_read_from_the_trainer_s_own_files(tmp_path):
    model = torch.nn.Linear(4, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.25, momentum=0.5)
    for step in range(3):
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        torch.save(state, tmp_path / f"step-{step}.pt")
    found = training_of(open_trajectory(tmp_path), Optimizer(batch_size=5))
    assert found.optimizer.learning_rate == 0.25
    assert found.optimizer.momentum == 0.5
    assert found.optimizer.temperature == pytest.approx(0.25 / 5 / 0.5 / 2)
    told = training_of(open_trajectory(tmp_path), Optimizer(learning_rate=0.5, batch_size=5))
    assert told.optimizer.learning_rate == 0.5


PLAIN = {"learning_rate": 0.1, "batch_size": 10, "momentum": 0.0}


@pytest.mark.parametrize(
    ("changes", "changing", "code", "ratio"),
    [
        ({}, "", None, 1),
        ({"learning_rate": 0.2, "with_replacement": True}, "", None, 2),
        ({"batch_size": 40, "with_replacement": True}, "", None, 0.25),
        ({"momentum": 0.5, "with_replacement": True}, "", None, 2),
        ({"learning_rate": 0.2}, "", "sampling_unknown", 2),
        ({"learning_rate": 0.2, "with_replacement": False}, "", "shuffled", 2),
        ({"batch_size": None}, "", "temperature_unknown", 1),
        ({"kind": "adam"}, "", "adaptive_optimizer", 1),
        ({}, "0.1 to 1", "rate_changes", 1),
    ],
)
def test_the_expected_ratio_is_that_of_temperatures_where_it_is_known(
    changes, changing, code, ratio
):
    sampling = {"with_replacement": changes.get("with_replacement")}
    first = Training(Optimizer(**PLAIN, **sampling))
    second = Training(Optimizer(**PLAIN | changes), changing)
    found, guards = expected_ratio(("a", "b"), first, second)
    assert found == pytest.approx(ratio)
    assert [each["code"] for each in guards] == ([code] if code else [])
    assert all((each["remedy"] and "'b'" in each["reason"]) or code in {
        "sampling_unknown", "shuffled"} for each in guards)  # fmt: skip


def test_values_are_given_once_or_once_for_each_run():
    assert [o.learning_rate for o in told_optimizers(3, 0.1, None, None, None)] == [0.1] * 3
    assert [o.batch_size for o in told_optimizers(2, None, [8, 16], None, None)] == [8, 16]
    with pytest.raises(OptionError, match="--lr is given 2 times for 3 runs"):
        told_optimizers(3, [0.1, 0.2], None, None, None)
    with pytest.raises(OptionError, match="learning_rate"):
        told_optimizers(2, -1.0, None, None, None)
    with pytest.raises(OptionError, match="one of replacement, shuffle, unknown"):
        told_optimizers(2, None, None, None, "some")
    with pytest.raises(OptionError, match="whole number"):
        told_optimizers(2, None, 2.5, None, None)


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda x: np.cumsum(np.random.default_rng(0).standard_normal(x.shape), axis=0),
         "law_too_short"),
        (lambda x: 10 + (x - 10) * np.repeat(np.exp(1.5 * np.sin(np.arange(20))), 16)[:, None],
         "law_non_gaussian"),
        (lambda x: x[:50], "law_too_few"),
        (lambda x: np.where(np.arange(len(x))[:, None] < 2, x, x[1]), "law_still"),
    ],
)  # fmt: skip
def test_a_run_without_a_law_is_refused_by_name(spoil, code):
    x = settled(320, 1, 6)
    found = compare(x, spoil(x), labels=["good", "bad"], **KNOWN, **FEW)
    own = found["compare"].to_dataset().isel(pair=0).sel(group="all")
    assert not np.isfinite(own["p_same_law"])
    told = {each["code"]: each for each in found["compare"].attrs["guards"] if "remedy" in each}
    assert code in told
    assert told[code]["runs"] == ["bad"]
    assert told[code]["remedy"]
    if code == "law_non_gaussian":
        assert np.isfinite(own["volume_ratio"])


def test_three_runs_share_directions_and_p_values_are_corrected_for_the_pairs():
    runs = [settled(200, 1, seed) for seed in (7, 8, 9)]
    found = compare(*runs, labels="abc", **KNOWN | {"lr": 0.1}, **FEW)["compare"].to_dataset()
    assert found.sizes["pair"] == 3
    assert np.isfinite(found["p_same_law"]).all()
    log = np.log(found["volume_ratio"].isel(group=0).values)
    assert log[0] + log[2] == pytest.approx(log[1], abs=1e-9)  # b/a c/b = c/a


def replicas_from_one_point(n, n_steps, seed=0):
    rng = np.random.default_rng(seed)
    turn = np.linalg.qr(rng.standard_normal((20, 3)))[0]
    rho, found = np.exp(-1 / 4), []
    for _ in range(n):
        x = np.full((n_steps, 3), 3.0)
        for t in range(1, n_steps):
            x[t] = rho * x[t - 1] + np.sqrt(1 - rho**2) * rng.standard_normal(3)
        found.append(5 + x @ turn.T)
    return found


@pytest.mark.slow  # eight runs, 28 pairs
def test_the_free_energy_of_replicas_falls_to_that_of_the_steady_state():
    runs = replicas_from_one_point(8, 128)
    found = compare(*runs, replicas=True, labels=list("abcdefgh"), **FEW)
    own = found["ensemble"].to_dataset()
    assert float(own["free_energy_fall_low"]) > 0
    assert float(own["free_energy"][-1]) == pytest.approx(0, abs=0.6)
    np.testing.assert_allclose(own["free_energy"], own["potential_energy"] - own["entropy"])
    assert own["free_energy"].attrs["units"] == "1/beta"


@pytest.mark.slow
def test_without_an_ensemble_there_is_no_free_energy():
    few = compare(*replicas_from_one_point(3, 80), replicas=True, labels="abc", **FEW)
    assert "few_replicas" in guards_of(few)
    assert "free_energy" not in few["ensemble"]
    apart = [x + number for number, x in enumerate(replicas_from_one_point(6, 80))]
    found = compare(*apart, replicas=True, labels="abcdef", **FEW)
    assert "different_starts" in guards_of(found)
    assert "free_energy" not in found["ensemble"]


def test_what_keeps_an_ensemble_from_a_free_energy_is_said_by_name():
    runs = replicas_from_one_point(6, 60)
    paths = [{"all": (Half(x[:30, :3]), Half(x[:30, :3] - x[0, :3]))} for x in runs]
    trajectories = [as_trajectory(x) for x in runs]
    labels = list("abcdef")

    def spoken(n, starts, own):
        found, guards = energy_of(labels[:n], trajectories[:n], own, starts)
        return set(found), [each["code"] for each in guards]

    assert spoken(6, ["the same"] * 15, paths)[1] == []
    assert "free_energy_fall" in spoken(6, ["the same"] * 15, paths)[0]
    assert spoken(5, ["the same"] * 10, paths[:5]) == (set(), ["few_replicas"])
    assert spoken(6, ["different"] * 15, paths) == (set(), ["different_starts"])
    assert spoken(6, [], paths) == (set(), ["different_starts"])
    assert spoken(6, ["the same"] * 15, [{}] * 6) == (set(), ["law_too_few"])
