"""The figure of updates beside weights, and that of the trainer's log."""

import numpy as np
import pytest
import xarray as xr
from simulated_results import brownian, make_results

import trajscope
from trajscope.report.content.curves import curves
from trajscope.report.figures.catalogue import caption, svg
from trajscope.report.figures.log import LOGGED
from trajscope.report.figures.record import obstacle
from trajscope.report.figures.updates import UPDATES, rule_of_thumb, updates


def many_layers(n_layers, n_steps=20):
    tensors = {f"block.{k}.weight": k + 1 for k in range(n_layers)}
    return make_results(1 + brownian(n_steps, sum(tensors.values())), tensors=tensors)


def test_the_ratios_are_increment_over_norm_of_every_layer(results):
    x = brownian(300, 100) * 0.01
    found = updates(curves(results))
    assert list(found.names[:2]) == ["all", "conv1"]
    ratio = np.linalg.norm(np.diff(x[:, :28], axis=0), axis=1) / np.linalg.norm(x[:-1, :28], axis=1)
    assert found.ratios.shape == (4, 96)
    # 299 intervals in 96 stretches: the fifth holds intervals 12, 13, 14.
    start, stop = 4 * 299 // 96, 5 * 299 // 96
    np.testing.assert_allclose(found.ratios[1, 4], ratio[start:stop].mean())
    assert found.edges[4] == 1000 + 100 * start


def test_of_many_layers_the_largest_are_drawn_in_their_order_and_the_rest_is_counted():
    found = curves(many_layers(30))
    drawn = updates(found)
    assert drawn.names == ["all", *(f"block.{k}" for k in range(10, 30))]
    assert "10 smaller layers are not drawn." in caption(UPDATES, found)


def test_zero_weights_leave_a_blank_and_no_warning():
    x = np.vstack([np.zeros((2, 4)), np.ones((1, 4)), 2 * np.ones((2, 4))])
    found = curves(make_results(x, tensors={"a": 2, "b": 2}))
    np.testing.assert_array_equal(updates(found).ratios[0], [np.nan, np.nan, 1, 0])
    assert "<path" in svg(UPDATES, found)


def test_the_rule_of_thumb_grows_with_the_spacing(results):
    assert rule_of_thumb(curves(results)) == pytest.approx((0.01, 0.1))
    title = UPDATES.title(curves(results))
    assert "over 100 steps; rule of thumb 0.01" in title
    results = results.copy()
    results["trajectory"].attrs["step_unit"] = "epoch"
    assert rule_of_thumb(curves(results)) is None
    assert "rule of thumb" not in UPDATES.title(curves(results))


def test_the_picture_of_300_layers_is_small_and_names_stay_apart():
    names = [f"model.layers.{k}.self_attention.q_proj.lora_A.default.weight" for k in range(300)]
    results = make_results(1 + brownian(40, 300), tensors=dict.fromkeys(names, 1))
    found = curves(results)
    assert len(set(updates(found).names)) == 21
    assert len(svg(UPDATES, found)) < 60_000


def with_log(**series):
    results = make_results(brownian(30, 100))
    log = xr.Dataset(
        {name: ("step", np.asarray(values, float)) for name, values in series.items()},
        {"step": np.linspace(1000, 3900, len(next(iter(series.values()))))},
        {"source": "metrics.csv (train_loss)"},
    )
    results["log"] = xr.DataTree(log)
    return curves(results)


def test_a_logged_loss_and_rate_are_drawn_beside_the_curves():
    found = with_log(loss=[2.0, np.nan, 0.1], learning_rate=[0.1, 0.1, 0.01])
    assert LOGGED.title(found) == "Training log: loss 2.00 to 0.100, learning rate 0.1 to 0.01"
    drawn = svg(LOGGED, found)
    assert "loss: 2 values, first 2.00, last 0.100" in drawn
    assert "Read from metrics.csv (train_loss)." in caption(LOGGED, found)


def test_without_a_log_the_rate_of_the_checkpoints_is_drawn():
    results = make_results(brownian(30, 100))
    rates = np.full(30, 0.1)
    results["trajectory"] = (
        results["trajectory"].to_dataset().assign_coords(learning_rate=("step", rates))
    )
    found = curves(results)
    assert LOGGED.title(found) == "Training log: learning rate 0.1"
    assert "no log of the loss was found" in caption(LOGGED, found)
    assert svg(LOGGED, found)


def test_without_either_it_says_what_to_keep(results):
    assert "metrics.csv" in obstacle(LOGGED, curves(results)).to_see


def test_an_analysis_finds_the_log_beside_its_checkpoints(tmp_path):
    folder = tmp_path / "version_0" / "checkpoints"
    folder.mkdir(parents=True)
    for step, x in enumerate(brownian(16, 8), 1):
        np.savez(folder / f"step={10 * step}.npz", weight=x)
    rows = ["epoch,lr-SGD,step,train_loss,val_loss", "0,0.1,5,9,", "0,,20,2.5,", "0,,40,,2"]
    (tmp_path / "version_0" / "metrics.csv").write_text("\n".join(rows) + "\n")
    results = trajscope.analyze(folder, n_surrogates=199)
    log = results["log"].to_dataset()
    assert log["step"].values.tolist() == [20, 40]  # from the first checkpoint on
    np.testing.assert_array_equal(log["loss"], [2.5, np.nan])
    np.testing.assert_array_equal(log["validation_loss"], [np.nan, 2])
    page = trajscope.write_report(results, tmp_path / "out")
    assert "Training log: loss 2.50, validation 2.00" in page.read_text("utf-8")
    again = trajscope.open_results(tmp_path / "out" / "results.zarr")
    assert again["log"]["loss"].attrs["units"] == "loss"
