import json

import numpy as np
import pytest
from safetensors.numpy import save_file

from tests.cli.running import SHAPES, contents, in_process, write_run
from trajscope import open_results

pytestmark = pytest.mark.slow  # processes, problems, pages: seconds each


@pytest.fixture
def runs(tmp_path):
    """Two folders of a hundred checkpoints; the second moves twice as far."""
    for number, name in enumerate(("small", "large"), 1):
        folder = tmp_path / name / "checkpoints"
        folder.mkdir(parents=True)
        rng = np.random.default_rng(number)
        weights = {key: np.zeros(shape, np.float32) for key, shape in SHAPES.items()}
        for step in range(100):
            save_file(weights, folder / f"step-{10 * step}.safetensors")
            for key, shape in SHAPES.items():
                weights[key] += number * rng.standard_normal(shape, dtype=np.float32)
    return tmp_path / "small", tmp_path / "large"


@pytest.mark.slice
def test_two_runs_are_compared_and_reported(trajscope, runs, out):
    done = trajscope("compare", *runs, "-o", out)
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert "2 runs compared" in lines[0]
    assert any(
        line.startswith("large against small") or "large against small" in line for line in lines
    )
    assert lines[-1] == f"Report    {out / 'report.html'}"
    assert all(len(line) <= 100 for line in lines[:-1])
    summary = json.loads((out / "summary.json").read_text())
    assert summary["compare"]["runs"] == ["small", "large"]
    found = {(each["quantity"], each["group"]): each for each in summary["compare"]["differences"]}
    variance = found["increment_variance", "all"]
    assert variance["runs"] == ["small", "large"]
    assert variance["p_value"] <= 0.01
    assert variance["interval"][0] < 4 < variance["interval"][1]
    assert {quantity for quantity, _ in found} == {
        "increment_variance", "variance_ratio", "spectrum_shape", "drift",
    }  # fmt: skip
    assert {group for _, group in found} == {"all", "fc1", "fc2"}
    # Random walks settle nowhere, so that they have no stationary law.
    assert {each["code"] for each in summary["compare"]["guards"]} == {"law_too_short"}
    assert summary["compare"]["ratio"] is None
    assert summary["compare"]["p_same_law"] is None
    assert [case["label"] for case in summary["cases"]] == ["small", "large"]
    page = (out / "report.html").read_text()
    assert "small" in page
    assert "large" in page


def test_a_comparison_begins_with_what_is_left_out_of_the_models(trajscope, tmp_path, out):
    for name in ("one", "two"):
        write_run(tmp_path / name, 20, shapes=SHAPES | {"bn.running_mean": (40,)})
    done = trajscope("compare", tmp_path / "one", tmp_path / "two", "-o", out)
    assert done.out.startswith(
        "Warning   50% of the model's values in each checkpoint are left out"
    )
    assert done.out.count("values in each") == 1
    assert "50% of the model's values" in (out / "report.html").read_text(encoding="utf-8").replace(
        "&#39;", "'"
    )


def test_a_comparison_is_reported_again_without_the_checkpoints(trajscope, runs, out):
    trajscope("compare", *runs, "-o", out, "--quiet")
    first = {name: (out / name).read_bytes() for name in ("report.html", "summary.json")}
    done = trajscope("report", out / "results.zarr")
    assert "2 runs compared" in done.out
    assert {name: (out / name).read_bytes() for name in first} == first


def test_replicas_are_pooled_and_labels_given(trajscope, runs, out):
    done = trajscope("compare", "--replicas", *runs, "--label", "a", "--label", "b", "-o", out)
    assert done.code == 0
    told = json.loads((out / "summary.json").read_text())["compare"]
    assert told["runs"] == ["a", "b"]
    assert set(told["ensemble"]["p_pooled"]) == {
        "noise_scale", "omnibus", "confined", "constant_drift", "relaxation",
    }  # fmt: skip
    assert sum(told["ensemble"]["verdicts"].values()) == pytest.approx(1)


def test_finished_reports_are_compared(trajscope, runs, tmp_path, out):
    for run in runs:
        trajscope("analyze", run, "-o", tmp_path / f"of-{run.name}", "--quiet")
    stored = [tmp_path / f"of-{run.name}" for run in runs]
    assert trajscope("compare", *stored, "-o", out).code == 0
    told = json.loads((out / "summary.json").read_text())["compare"]
    assert [guard["code"] for guard in told["guards"]] == ["no_weights"]
    before = contents(stored[0])
    done = trajscope("compare", *stored, "-o", stored[0])
    assert done.code == 2
    assert "would be overwritten" in done.err
    assert contents(stored[0]) == before


def test_windows_are_cases_of_the_report(trajscope, runs, out):
    done = trajscope("analyze", runs[0], "--windows", "0:500,500:1000", "-o", out)
    assert done.code == 0
    assert any(line.startswith("0:500") for line in done.out.splitlines())
    summary = json.loads((out / "summary.json").read_text())
    assert summary["verdict"]["code"] == "brownian"
    assert [case["label"] for case in summary["cases"]] == ["0:500", "500:1000"]
    assert [case["trajectory"]["checkpoints"] for case in summary["cases"]] == [50, 50]
    stored = open_results(out / "results.zarr")
    assert stored["cases/2"].attrs["label"] == "500:1000"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{a}"], "at least 2 are needed"),
        (["{a}", "{a}"], "is given twice"),
        (["{a}", "{b}", "--label", "x", "--label", "x"], "'x' is the label of 2 runs"),
        (["{a}", "{b}", "--label", "x"], "1 labels are given for 2 runs"),
        (["{a}", "{other}"], "share no tensor with the same name and size"),
        (["{a}", "{one}"], "holds one checkpoint"),
        (["{a}", "{b}", "--include", "nothing*"], "nothing*"),
        (["{a}", "{b}", "--steps", "5000:"], "--steps"),
        (["{a}", "{b}", "--memory", "1MiB"], "of 2 runs"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence_and_writes_nothing(
    trajscope, runs, tmp_path, out, arguments, message
):
    write_run(tmp_path / "one", 1)
    (tmp_path / "other").mkdir()
    for step in range(100):
        save_file({"w": np.full(3, step, np.float32)}, tmp_path / f"other/step-{step}.safetensors")
    places = {"a": runs[0], "b": runs[1], "one": tmp_path / "one", "other": tmp_path / "other"}
    done = trajscope("compare", *(each.format(**places) for each in arguments), "-o", out)
    assert done.code == 2
    assert message in done.err
    assert "Traceback" not in done.err
    assert not out.exists()


@pytest.mark.parametrize("windows", ["5000:6000", "0:1", "0:10,0:10", "x", "99"])
def test_windows_that_cannot_be_had_are_one_sentence_and_write_nothing(
    trajscope, runs, out, windows
):
    done = trajscope("analyze", runs[0], "--windows", windows, "-o", out)
    assert done.code == 2
    assert "--windows" in done.err
    assert not out.exists()


def test_the_real_command_compares(runs, out):
    done = in_process("compare", *runs, "-o", out, "--quiet")
    assert done == (0, "", "")
    assert (out / "report.html").exists()


def settled(folder, scale, seed, n_steps=160):
    """A run around a minimum: three modes of a few steps, in the tensors of a small network."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    size = sum(int(np.prod(shape)) for shape in SHAPES.values())
    turn = np.linalg.qr(np.random.default_rng(0).standard_normal((size, 3)))[0]
    modes = rng.standard_normal(3)
    for step in range(n_steps):
        modes = 0.6 * modes + 0.8 * rng.standard_normal(3)
        flat = 1 + scale**0.5 * turn @ modes
        weights, start = {}, 0
        for key, shape in SHAPES.items():
            stop = start + int(np.prod(shape))
            weights[key] = flat[start:stop].reshape(shape)
            start = stop
        save_file(weights, folder / f"step-{step}.safetensors")
    return folder


def test_a_law_is_compared_with_the_ratio_that_learning_rates_let_expect(trajscope, tmp_path, out):
    runs = settled(tmp_path / "slow", 1, 1), settled(tmp_path / "fast", 2, 2)
    told = ["--lr", "0.1", "--lr", "0.2", "--batch-size", "8", "--surrogates", "199"]
    done = trajscope("compare", *runs, *told, "--sampling", "with", "--by", "none", "-o", out)
    assert done.code == 0
    assert "Law       fast against slow: stationary variance per direction" in done.out
    found = json.loads((out / "summary.json").read_text())["compare"]
    assert found["ratio_expected"] == 2
    assert found["ratio_interval"][0] < 2 < found["ratio_interval"][1]
    assert found["p_same_law"] > 0.01
    assert 0 < found["p_same_shape"] <= 1
    assert [each["learning_rate"] for each in found["training"]] == [0.1, 0.2]
    assert "Stationary laws" in (out / "report.html").read_text(encoding="utf-8")
    trajscope("compare", *runs, *told, "--by", "none", "-o", out, "--quiet")
    (guard,) = json.loads((out / "summary.json").read_text())["compare"]["guards"]
    assert guard["code"] == "sampling_unknown"
    assert "--sampling" in guard["remedy"]


def test_values_for_other_numbers_of_runs_are_refused(trajscope, runs, out):
    told = ["--lr", "0.1"] * 3
    done = trajscope("compare", *runs, *told, "-o", out)
    assert done.code == 2
    assert "--lr is given 3 times for 2 runs" in done.err
    assert not out.exists()
