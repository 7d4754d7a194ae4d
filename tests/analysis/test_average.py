import json

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import trajscope
from trajscope import average
from trajscope.analysis import average as averaging
from trajscope.errors import OptionError, TrajectoryError, TrajscopeWarning

SHAPES = {"fc.weight": (7, 5, 3), "fc.bias": (5,), "scale": ()}
STEPS = (0, 10, 20, 50)


def states(dtypes=("f4", "f4", "f4")):
    rng = np.random.default_rng(0)
    return [
        {
            name: rng.normal(size=shape).astype(dtype)
            for (name, shape), dtype in zip(SHAPES.items(), dtypes, strict=True)
        }
        for _ in STEPS
    ]


def written(folder, run):
    folder.mkdir()
    for step, state in zip(STEPS, run, strict=True):
        save_file(state, folder / f"step_{step}.safetensors")
    return folder


@pytest.fixture
def folder(tmp_path):
    return written(tmp_path / "run", states())


def expected(shares, run):
    shares = np.array(shares, float) / np.sum(shares)
    return {
        name: sum(c * state[name].astype(float) for c, state in zip(shares, run, strict=True))
        for name in run[0]
    }


WAYS = {
    "last": ({"last": 3}, [0, 1, 1, 1]),
    "one": ({"last": 1}, [0, 0, 0, 1]),
    "ema": ({"ema": 10}, [2**-5, 2**-4, 2**-3, 1]),
    "pairs": ({"weights": [(10, 1), (50, 3)]}, [0, 1, 0, 3]),
    "text": ({"weights": "0:0.5,20:0.5"}, [1, 0, 1, 0]),
}


@pytest.mark.parametrize(("options", "shares"), WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("width", [None, 4])
def test_an_average_is_the_weighted_mean_of_every_weight(
    folder, tmp_path, monkeypatch, options, shares, width
):
    if width:
        monkeypatch.setattr(averaging, "_width", lambda *_: width)
        monkeypatch.setattr(averaging, "_READ_BYTES", 32)
    out = average(folder, tmp_path / "out.safetensors", **options)
    found = load_file(out)
    assert list(found) == list(SHAPES) or set(found) == set(SHAPES)
    for name, values in expected(shares, states()).items():
        assert (found[name].shape, found[name].dtype) == (SHAPES[name], np.float32)
        np.testing.assert_allclose(found[name], values, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "text",
    [
        "step,weight\n10,1\n50,3\n",
        "10,1\n50,3\n",
        '{"10": 1, "50": 3}',
        '{"step": 10, "weight": 1}\n{"step": 50, "share": 3}\n',
    ],
)
def test_weights_of_checkpoints_come_from_a_file(folder, tmp_path, text):
    (tmp_path / "given.txt").write_text(text)
    out = average(folder, tmp_path / "out.safetensors", weights=tmp_path / "given.txt")
    values = expected([0, 1, 0, 3], states())["fc.weight"]
    np.testing.assert_allclose(load_file(out)["fc.weight"], values, rtol=1e-6, atol=1e-7)


def test_dtypes_are_those_of_the_checkpoints(tmp_path):
    run = states((ml_dtypes.bfloat16, "f2", "f8"))
    out = average(written(tmp_path / "run", run), tmp_path / "out.safetensors", last=2)
    found, values = load_file(out), expected([0, 0, 1, 1], run)
    for name, state in run[0].items():
        assert found[name].dtype == state.dtype
        np.testing.assert_array_equal(found[name], values[name].astype(state.dtype))


def test_weights_that_never_change_stay_as_they_are(tmp_path):
    run = [{"x": np.array([0.1, 1e30, -1e-30, 0.0], "f4")} for _ in STEPS]
    out = average(written(tmp_path / "run", run), tmp_path / "out.safetensors", ema=7.3)
    np.testing.assert_array_equal(load_file(out)["x"], run[0]["x"])


def test_the_file_says_what_it_is_and_is_read_as_a_checkpoint(folder, tmp_path):
    out = average(folder, tmp_path / "swa/out.safetensors", last=2)
    with safe_open(out, "numpy") as file:
        told = file.metadata()
    assert told["step"] == "50"
    assert told["trajscope_average"] == "mean of the last 2 checkpoints"
    assert json.loads(told["trajscope_average_steps"]) == ["20", "50"]
    average(folder, tmp_path / "swa/other.safetensors", weights=[(20, 1)])
    assert trajscope.open_trajectory(tmp_path / "swa")["step"].values.tolist() == [20, 50]


def test_running_statistics_come_from_the_last_checkpoint_and_are_told_of(tmp_path):
    run = states()
    for step, state in zip(STEPS, run, strict=True):
        state["bn.running_mean"] = np.full(3, step, "f4")
        state["bn.num_batches_tracked"] = np.array(step)
    source = written(tmp_path / "run", run)
    with pytest.warns(TrajscopeWarning) as told:
        out = average(source, tmp_path / "out.safetensors", weights=[(0, 1), (20, 1)])
    text = " ".join(str(each.message) for each in told)
    assert "Running statistics (1 arrays, first bn.running_mean) were copied" in text
    assert "recompute them" in text
    assert "lacks arrays of the checkpoints (1, first bn.num_batches" in text
    assert load_file(out)["bn.running_mean"].tolist() == [20, 20, 20]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "0 of --last, --ema and --weights were given; exactly one"),
        ({"last": 2, "ema": 3}, "2 of --last"),
        ({"last": 0}, "a number from 1 to 4"),
        ({"last": 5}, "the run has 4 checkpoints"),
        ({"ema": 0}, "a positive half-life"),
        ({"ema": float("nan")}, "a positive half-life"),
        ({"weights": "30:1"}, "no checkpoint has the step 30; steps of this run, 0 to 50"),
        ({"weights": "10:0"}, "all weights are 0"),
        ({"weights": "10:-1"}, "with weights from 0 on"),
        ({"weights": "10"}, "with weights from 0 on"),
        ({"last": 1, "memory": "1MiB"}, "is too small"),
    ],
)
def test_an_average_that_cannot_be_made_is_refused(folder, tmp_path, options, message):
    with pytest.raises(OptionError, match=message):
        average(folder, tmp_path / "out.safetensors", **options)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_file_that_is_there_or_has_another_ending_is_refused(folder, tmp_path):
    (tmp_path / "out.safetensors").write_bytes(b"mine")
    for name, message in (("out.safetensors", "exists already"), ("out.pt", "the ending")):
        with pytest.raises(OptionError, match=message):
            average(folder, tmp_path / name, last=1)
    assert (tmp_path / "out.safetensors").read_bytes() == b"mine"


def _shapes(run):
    run[1]["fc.bias"] = np.zeros(6, "f4")


def _missing(run):
    del run[2]["scale"]


def _codes(run):
    for state in run:
        state["fc.weight"] = np.ones((4, 4), "i1")
        state["fc.weight_scale"] = np.ones((4, 1), "f4")


def _narrow(run):
    for state in run:
        state["fc.weight"] = state["fc.weight"].astype(ml_dtypes.float8_e4m3fn)


def _infinite(run):
    run[3]["fc.bias"][2] = np.inf


@pytest.mark.filterwarnings("ignore::trajscope.TrajscopeWarning")
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_shapes, "'fc.bias' are of different shapes in different checkpoints"),
        (_missing, "'scale' are not in every checkpoint"),
        (_codes, "quantised"),
        (_narrow, "'fc.weight' is stored as float8_e4m3fn"),
        (_infinite, "'fc.bias' holds NaN or infinite weights at step 50"),
    ],
)
def test_weights_that_have_no_average_are_refused(tmp_path, spoil, message):
    run = states()
    spoil(run)
    out = tmp_path / "out" / "out.safetensors"
    with pytest.raises(TrajectoryError, match=message):
        average(written(tmp_path / "run", run), out, last=2)
    assert not out.exists()
