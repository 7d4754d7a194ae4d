import json
import re
import socket
from contextlib import suppress

import numpy as np
import pytest

from tests.cli.running import N_WEIGHTS, in_process, on_terminal, shown, write_run
from tests.clusters import local_cluster
from trajscope import open_results
from trajscope.report.files.completeness import mark_of


def summary(folder):
    """All that the summary says but the mark of its result, which has a date."""
    told = json.loads((folder / "summary.json").read_text())
    assert told.pop("result") == mark_of(folder / "results.zarr")
    return told


def test_it_writes_the_page_the_summary_and_the_store_and_nothing_else(trajscope, run, out):
    done = trajscope("analyze", run, "-o", out)
    assert (done.code, done.err) == (0, "")
    assert {path.name for path in out.iterdir()} == {"report.html", "summary.json", "results.zarr"}
    assert (out / "report.html").read_text().startswith("<!doctype html>")
    assert open_results(out / "results.zarr").attrs["trajscope"] == summary(out)["trajscope"]


def test_the_summary_keeps_its_contract(trajscope, tmp_path, out):
    x = write_run(tmp_path / "run").astype(float)
    (tmp_path / "run" / "step-120.safetensors.tmp").touch()
    trajscope("analyze", tmp_path / "run", "-o", out)
    found = summary(out)
    kept = ("observables", "tests", "verdict", "layers", "result")
    observables, tests, verdict, layers, _ = (found.pop(key, None) for key in kept)
    assert {name: layer["code"] for name, layer in layers.items()} == dict.fromkeys(
        layers, "too_short"
    )
    assert found == {
        "trajscope": open_results(out / "results.zarr").attrs["trajscope"],
        "trajectory": {
            "checkpoints": 12,
            "steps": list(range(0, 120, 10)),
            "step_unit": "step",
            "step_source": "metadata key 'step'",
            "weights": N_WEIGHTS,
            "tensors": ["fc1.bias", "fc1.weight", "fc2.weight"],
            "left_out": [],
            "skipped": [
                {
                    "path": "step-120.safetensors.tmp",
                    "reason": "a temporary name: writing is unfinished or was interrupted",
                }
            ],
            "run": "run",
        },
        "audit": [],
        "phases": [],
        "diffusion": None,
        "dynamics": None,
        "spectra": None,
    }
    assert {test: set(told) for test, told in tests.items()} == {
        "brownian": {"p_value", "p_omnibus", "p_confined", "method"},
        "drift": {"p_value", "p_constant", "p_relaxation", "strength"},
        "noise_scale": {"p_value", "change_step", "ratio"},
        "circulation": {
            "p_value",
            "p_slow_planes",
            "p_all_planes",
            "angular_velocity",
            "radians_per_relaxation",
            "period",
            "period_interval",
            "entropy_production",
            "entropy_interval",
            "plane",
            "guard",
        },
        "river": {"river_share", "river_cosine", "hill_energy", "river_speed"},
    }
    assert (verdict["code"], verdict["alpha"]) == ("too_short", 0.01)
    assert verdict["evidence"]["least_p"] == 2.0**-10
    assert "12 checkpoints; at least 32 are needed" in verdict["sentence"]
    lengths = np.linalg.norm(np.diff(x, axis=0), axis=1)
    assert observables["path_length"] == pytest.approx(lengths.sum(), rel=1e-6)
    assert observables["displacement"] == pytest.approx(np.linalg.norm(x[-1] - x[0]), rel=1e-6)
    assert observables["weights_never_moving"] == 0


def test_the_screen_first_says_what_inspect_says_and_says_nothing_twice(trajscope, run, out):
    (run / "step-120.safetensors").write_bytes(b"\xff" * 40)
    inspected = trajscope("inspect", run).out
    printed = trajscope("analyze", run, "-o", out).out
    assert printed.startswith(inspected + "\n")
    below = printed.removeprefix(inspected)
    labels = [line[:10] for line in inspected.splitlines() if line[0] != " "]
    assert [line for line in below.splitlines() if line[:10] in labels] == []
    assert below.splitlines()[-1].startswith(f"Report    {out}/report.html   pass ")
    assert len(printed.splitlines()) < 40


@pytest.mark.slow
def test_a_process_prints_the_same_to_a_pipe_and_shows_no_progress(trajscope, run, out):
    command = ("analyze", run, "-o", out)
    done = in_process(*command)
    assert (done.code, done.err) == (0, "")
    expected = trajscope(*command).out
    timings = re.compile(r"pass .*")
    assert timings.sub("", done.out) == timings.sub("", expected)


@pytest.mark.slow
def test_quiet_prints_nothing(run, out):
    assert in_process("analyze", run, "-o", out, "--quiet") == (0, "", "")
    assert on_terminal("analyze", run, "-o", out, "--quiet") == ""
    assert (out / "report.html").exists()


def test_errors_are_printed_even_when_quiet(trajscope, tmp_path, out):
    done = trajscope("analyze", tmp_path, "-o", out, "--quiet")
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Error: ")


def test_progress_is_one_line_on_a_terminal_and_gone_at_the_end(run, out):
    sent = on_terminal("analyze", run, "-o", out, pipe_output=True)
    assert "one pass over the weights" in sent
    assert sent.count("\n") <= 1
    assert "".join(shown(sent)).strip() == ""


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.slow
def test_a_terminal_gets_the_screen_in_its_width_and_styled(run, out, columns):
    sent = on_terminal("analyze", run, "-o", out, columns=columns)
    lines = shown(sent)
    assert max(len(line) for line in lines if str(out) not in line) <= columns
    assert "one pass over the weights" not in "".join(lines)
    assert "\x1b[1;7m TOO SHORT " in sent
    assert lines[1] == "Found     12 checkpoints, safetensors"


@pytest.mark.slow
def test_no_color_leaves_bold_and_reverse_alone(run, out):
    environment = {"NO_COLOR": "1"}
    # Left out, so that there is a warning, which is yellow otherwise.
    (run / "step-50.safetensors").unlink()
    for extra, colours in (({}, True), (environment, False)):
        sent = on_terminal("analyze", run, "-o", out, environment=extra)
        screen = sent[sent.index("TOO SHORT") :]
        assert ("\x1b[33m" in screen) is colours


@pytest.mark.parametrize(
    ("by", "groups"),
    [
        ("none", ["all"]),
        ("layer", ["all", "fc1", "fc2"]),
        ("tensor", ["all", "fc1.bias", "fc1.weight", "fc2.weight"]),
    ],
)
def test_by_chooses_the_groups(trajscope, run, out, by, groups):
    assert trajscope("analyze", run, "-o", out, "--by", by).code == 0
    results = open_results(out / "results.zarr")
    assert list(results["observables"]["group"].values) == groups
    assert results.attrs["config"]["by"] == by


def test_a_result_tells_the_options_that_made_it(run, out):
    options = ["--burn-in", "1", "--exclude", "fc1*", "--memory", "512MiB", "--seed", "7"]
    options += ["--surrogates", "199", "--alpha", "0.05", "--momentum", "0.9"]
    assert in_process("analyze", run, "-o", out, *options).code == 0
    attributes = open_results(out / "results.zarr").attrs
    assert attributes["config"] == {
        "burn_in": "1", "exclude": ["fc1*"], "by": "layer", "order": "step", "weights": "live",
        "memory": 512 << 20, "seed": 7, "n_surrogates": 199, "alpha": 0.05, "momentum": 0.9,
    }  # fmt: skip
    assert attributes["command"] == (
        f"trajscope analyze {run} -o {out} --burn-in 1 --exclude 'fc1*' --memory 512MiB --seed 7 "
        "--surrogates 199 --alpha 0.05 --momentum 0.9"
    )
    assert "options" in (out / "report.html").read_text()
    assert summary(out)["trajectory"]["tensors"] == ["fc2.weight"]


def test_the_selection_reaches_the_summary(trajscope, tmp_path, out):
    write_run(tmp_path / "a")
    write_run(tmp_path / "b")
    options = ["--run", "b", "--steps", "20::2", "--include", "*.weight"]
    assert trajscope("analyze", tmp_path, "-o", out, *options).code == 0
    found = summary(out)["trajectory"]
    assert found["run"] == "b"
    assert found["steps"] == list(range(20, 120, 20))
    assert found["tensors"] == ["fc1.weight", "fc2.weight"]


def test_the_same_seed_gives_the_same_numbers(trajscope, run, tmp_path):
    trajscope("analyze", run, "-o", tmp_path / "a", "--seed", "3")
    trajscope("analyze", run, "-o", tmp_path / "b", "--seed", "3")
    assert summary(tmp_path / "a") == summary(tmp_path / "b")


@pytest.fixture
def port_of_another_cluster():
    """The port of dask's dashboards, taken here, if it is not taken already."""
    with socket.socket() as other:
        with suppress(OSError):
            other.bind(("127.0.0.1", 8787))
            other.listen()
        yield


@pytest.mark.usefixtures("port_of_another_cluster")
@pytest.mark.parametrize(
    "bad",
    [False, pytest.param(True, marks=pytest.mark.slow)],
    ids=["good weights", "a weight that is NaN"],
)
@pytest.mark.slow
def test_worker_processes_give_the_same_numbers_and_no_log_lines(run, tmp_path, bad):
    if bad:
        write_run(run, 13)
        poison(run / "step-50.safetensors")
    threads = in_process("analyze", run, "-o", tmp_path / "threads")
    workers = in_process("analyze", run, "-o", tmp_path / "workers", "--workers", "1")
    assert (workers.code, workers.err) == (threads.code, threads.err) == (0, "")
    assert_close(summary(tmp_path / "workers"), summary(tmp_path / "threads"))


def poison(path):
    """Make the last weight in the file NaN."""
    stored = path.read_bytes()
    path.write_bytes(stored[:-4] + np.float32(np.nan).tobytes())


def assert_close(actual, expected):
    """Sums of blocks that are cut in another way differ in their last digits."""
    assert actual.pop("observables") == pytest.approx(expected.pop("observables"), rel=1e-6)
    assert actual == expected


@pytest.mark.slow
def test_a_running_cluster_does_the_work(run, tmp_path):
    with local_cluster(1, protocol="tcp") as cluster:
        address = cluster.scheduler_address
        done = in_process("analyze", run, "-o", tmp_path / "cluster", "--scheduler", address)
    assert (done.code, done.err) == (0, "")
    assert in_process("analyze", run, "-o", tmp_path / "threads").code == 0
    assert_close(summary(tmp_path / "cluster"), summary(tmp_path / "threads"))


@pytest.mark.slow
def test_names_that_are_no_utf_8_are_shown_as_escapes(run, out):
    folder = run.parent / "run\udcff"
    run.rename(folder)
    done = in_process("analyze", folder, "-o", out)
    assert (done.code, done.err) == (0, "")
    assert str(out) in done.out
    assert "run\\udcff" in done.out
    assert "run\\udcff" in (out / "report.html").read_text()
