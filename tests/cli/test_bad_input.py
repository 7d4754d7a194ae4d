import json
import os
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.cli.running import SHAPES, contents, cut, in_process, report_in, write_run
from trajscope import open_results


def nothing_at_all(folder):
    folder.mkdir()


def nothing_recognised(folder):
    folder.mkdir()
    (folder / "notes.txt").touch()
    (folder / "weights.gguf").touch()


def one_checkpoint(folder):
    write_run(folder, 1)


def no_step(folder):
    folder.mkdir()
    for name in ("alpha", "beta", "gamma"):
        save_file({"w": np.ones(3)}, folder / f"{name}.safetensors")


def all_cut_short(folder):
    write_run(folder, 4)
    for path in folder.iterdir():
        cut(path)


def two_runs(folder):
    write_run(folder / "a", 3)
    write_run(folder / "b", 4)


def a_file(folder):
    folder.write_bytes(b"")


def a_pipe(folder):
    os.mkfifo(folder)


def only_a_pipe_inside(folder):
    folder.mkdir()
    os.mkfifo(folder / "step-1.safetensors")


def all_nan(folder):
    folder.mkdir()
    for step in range(4):
        save_file({"w": np.full(3, np.nan)}, folder / f"step-{step}.safetensors")


def overflowing(folder):
    folder.mkdir()
    for step in range(4):
        save_file({"w": np.full(3, 1e300 * step)}, folder / f"step-{step}.safetensors")


def a_result(folder):
    folder.mkdir()
    (folder / "zarr.json").write_text('{"node_type": "group", "attributes": {"trajscope": "0.1"}}')


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (nothing_at_all, r"checkpoints were expected .*none were found\. Give the folder that"),
        (nothing_recognised, r"none can be read.*\n  weights\.gguf: an unsupported format"),
        (one_checkpoint, r"holds one checkpoint, step-0\.safetensors; at least 2 are needed"),
        (no_step, r"the step of each checkpoint was expected .* rename the files"),
        (
            all_cut_short,
            r"none can be read(.|\n)*step-0\.safetensors and \d more: .*may be unfinished",
        ),
        (two_runs, r"holds 2 runs(.|\n)*  a  \(3 checkpoints\)\n  b  \(4 .*\n.*--run NAME"),
        (a_file, r"is a file; a folder of checkpoints was expected.* Give its folder: "),
        (a_pipe, r"is a file; a folder of checkpoints was expected"),
        (only_a_pipe_inside, r"step-1\.safetensors: not a regular file, so it is not opened"),
        (all_nan, r"0 of 4 checkpoints hold finite weights only; .*Did the run diverge at once\?"),
        (overflowing, r"squares of their increments overflow.*last checkpoints with --steps"),
        (a_result, r"is a result of trajscope; checkpoints were expected"),
    ],
)
def test_what_cannot_be_analysed_is_refused_with_a_reason(trajscope, tmp_path, make, message):
    folder = tmp_path / "folder"
    make(folder)
    done = trajscope("analyze", folder, "-o", tmp_path / "out")
    assert done.code == 2
    assert done.err.startswith("Error: ")
    assert re.search(message, done.err)
    assert report_in(tmp_path / "out") == {}


@pytest.mark.parametrize("command", ["inspect", "analyze"])
@pytest.mark.parametrize("arguments", [[], ["nowhere"]])
def test_a_folder_that_is_missing_is_refused(trajscope, command, arguments):
    done = trajscope(command, *arguments)
    assert done.code == 2
    assert re.search(r"Missing argument 'DIR'|Path 'nowhere' does not exist", done.err)


def one_cut_short(folder):
    cut(folder / "step-30.safetensors")


def one_nan(folder):
    tensors = load_file(folder / "step-30.safetensors")
    tensors["fc1.bias"][2] = np.nan
    save_file(tensors, folder / "step-30.safetensors", {"step": "30"})


def another_shape(folder):
    tensors = {name: np.zeros((7, 2), np.float32) for name in SHAPES}
    save_file(tensors, folder / "step-30.safetensors", {"step": "30"})


@pytest.mark.parametrize(
    ("spoil", "on_screen"),
    [
        (one_cut_short, "Warning   1 of 12 checkpoints cannot be read"),
        (one_nan, "Audit     1 finding: 1 of 12 checkpoints hold NaN or infinite weights"),
        (another_shape, "Warning   1 checkpoint skipped, first step-30.safetensors"),
    ],
)
def test_one_bad_checkpoint_is_left_out_warned_of_and_counted(
    trajscope, run, out, spoil, on_screen
):
    spoil(run)
    done = trajscope("analyze", run, "-o", out)
    assert (done.code, done.err) == (0, "")
    assert on_screen in done.out
    assert "Skipped   1 file" in done.out
    found = json.loads((out / "summary.json").read_text())["trajectory"]
    assert (found["checkpoints"], len(found["skipped"])) == (11, 1)
    assert found["skipped"][0]["path"].endswith("step-30.safetensors")
    assert 30 not in found["steps"]


@pytest.mark.parametrize("spoil", [one_cut_short, one_nan, another_shape])
def test_strict_fails_where_a_checkpoint_would_be_left_out(trajscope, run, out, spoil):
    spoil(run)
    done = trajscope("analyze", run, "-o", out, "--strict")
    assert done.code == 2
    assert "step-30.safetensors" in done.err
    assert report_in(out) == {}


def test_strict_is_content_with_good_checkpoints(trajscope, run, out):
    assert trajscope("analyze", run, "-o", out, "--strict", "--quiet") == (0, "", "")


def test_a_step_that_occurs_twice_is_taken_once_and_told(trajscope, run, out):
    for number in (30, 40):  # both now claim to be step 40
        tensors = load_file(run / f"step-{number}.safetensors")
        save_file(tensors, run / f"step-{number}.safetensors", {"step": "40"})
    done = trajscope("analyze", run, "-o", out)
    assert done.code == 0
    assert re.search(r"Warning   1 checkpoint\S* repeats? a step", done.out)
    assert re.search(r"Skipped   1 file, step 40 repeated", done.out)
    found = json.loads((out / "summary.json").read_text())["trajectory"]
    assert found["steps"].count(40) == 1
    assert len(found["skipped"]) == 1


def test_a_tensor_that_is_missing_once_is_left_out_and_told(trajscope, run, out):
    tensors = load_file(run / "step-30.safetensors")
    del tensors["fc1.bias"]
    save_file(tensors, run / "step-30.safetensors", {"step": "30"})
    done = trajscope("analyze", run, "-o", out)
    assert done.code == 0
    assert "Left out  1 tensor, missing at step 30 (step-30.safetensors): fc1.bias" in done.out
    found = json.loads((out / "summary.json").read_text())["trajectory"]
    assert [each["name"] for each in found["left_out"]] == ["fc1.bias"]


def test_a_pipe_among_the_checkpoints_is_not_waited_for(trajscope, run, out):
    os.mkfifo(run / "step-120.safetensors")
    done = trajscope("analyze", run, "-o", out)
    assert done.code == 0
    assert "not a regular file, so it is not opened: step-120.safetensors" in done.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--memory", "plenty"], r"--memory plenty is invalid; .* such as 2GiB"),
        (["--memory", "1KiB"], r"--memory 1024B is too small .* Raise --memory"),
        (["--workers", "0"], r"--workers is 0; a positive number is expected"),
        (["--workers", "some"], r"'some' is not a valid integer"),
        (["--workers", "1", "--scheduler", "tcp://a:1"], r"were both given; one is expected"),
        (
            ["--burn-in", "200%"],
            r"--burn-in '200%': a number of checkpoints \(20\) or a percentage",
        ),
        (["--burn-in", "11"], r"the selection left 1; at least 2 are needed"),
        (["--steps", "few"], r"--steps 'few': START:STOP:STRIDE was expected"),
        (["--include", "zz*"], r"--include 'zz\*' matches no tensor"),
        (["--exclude", "zz*"], r"--exclude 'zz\*' matches no tensor and no file"),
        (["--run", "other"], r"No run named 'other' exists(.|\n)*  run  \(12 checkpoints\)"),
        (["--seed", "x"], r"'x' is not a valid integer"),
    ],
)
def test_options_that_ask_for_what_cannot_be_are_refused(trajscope, run, out, options, message):
    done = trajscope("analyze", run, "-o", out, *options)
    assert done.code == 2
    assert re.search(message, done.err)
    assert not out.exists()


@pytest.mark.parametrize(
    "address",
    [
        "nonsense",
        pytest.param("tcp://127.0.0.1:9", marks=pytest.mark.slow),
    ],
)
def test_a_scheduler_that_does_not_answer_is_named(run, out, address):
    done = in_process("analyze", run, "-o", out, "--scheduler", address, "--quiet")
    assert done.code == 2
    assert re.fullmatch(
        rf"Error: --scheduler {re.escape(address)}: no dask scheduler answered .*\n", done.err
    )


def test_an_output_that_cannot_be_is_refused_before_the_pass(trajscope, run, tmp_path):
    (tmp_path / "file").touch()
    below = trajscope("analyze", run, "-o", tmp_path / "file" / "out")
    assert (below.code, below.out) == (2, "")
    assert re.search(
        r"out is expected to be a folder .*/file is not a folder\. Choose another", below.err
    )
    itself = trajscope("analyze", run, "-o", tmp_path / "file")
    assert itself.code == 2
    assert "file' is a file" in itself.err


def test_an_output_without_permission_is_refused_before_the_pass(
    trajscope, run, tmp_path, monkeypatch
):
    # Said, not done, since root may write everywhere.
    monkeypatch.setattr(os, "access", lambda _, mode: mode == os.R_OK)
    done = trajscope("analyze", run, "-o", tmp_path / "new" / "out")
    assert (done.code, done.out) == (2, "")
    assert re.search(rf"but {tmp_path} is not writable\. Choose another with", done.err)


def test_an_output_that_fails_in_the_end_is_one_message(trajscope, run):
    done = trajscope("analyze", run, "-o", "/proc/trajscope")  # not even root can make it
    assert done.code == 2
    assert re.match(r"Error: /proc/trajscope.* (cannot|may not) be written", done.err)


def test_what_lies_at_the_place_of_the_result_is_left_alone(trajscope, run, out):
    (out / "results.zarr").mkdir(parents=True)
    (out / "results.zarr" / "mine").touch()
    done = trajscope("analyze", run, "-o", out)
    assert (done.code, done.out) == (2, "")
    assert "results.zarr exists and is not a result of trajscope" in done.err
    assert contents(out) == {"results.zarr/mine": b""}


@pytest.mark.parametrize("spoil", [all_nan, all_cut_short])
def test_a_run_that_fails_leaves_an_earlier_report_as_it_is(trajscope, run, out, tmp_path, spoil):
    assert trajscope("analyze", run, "-o", out).code == 0
    before = report_in(out)
    spoil(tmp_path / "bad")
    assert trajscope("analyze", tmp_path / "bad", "-o", out).code == 2
    assert report_in(out) == before


def test_another_run_replaces_an_earlier_report(trajscope, run, out):
    assert trajscope("analyze", run, "-o", out).code == 0
    assert trajscope("analyze", run, "-o", out, "--burn-in", "4").code == 0
    assert open_results(out / "results.zarr")["trajectory"].sizes["step"] == 8
    assert json.loads((out / "summary.json").read_text())["trajectory"]["checkpoints"] == 8
    assert {name.partition("/")[0] for name in report_in(out)} == {
        "report.html",
        "summary.json",
        "results.zarr",
    }


HOSTILE = "\x1b[2J\x1b]0;owned\x07\n\u202e<script>alert(1)</script>"


@pytest.mark.slow
def test_hostile_names_reach_no_terminal_and_no_page(run, out):
    folder = run.parent / HOSTILE.replace("/", "_")
    run.rename(folder)
    for path in sorted(folder.iterdir()):
        tensors = {f"{name}{HOSTILE}": values for name, values in load_file(path).items()}
        tensors[f"{HOSTILE}.running_mean"] = np.zeros(3, np.float32)
        save_file(tensors, folder / f"{path.stem}\x1b[31m.safetensors")
        path.unlink()
    (folder / f"\x1b[31m\u202e{'x' * 100}.h5").touch()
    (folder / "step-5\x1b[31m.safetensors").write_bytes(b"\xff" * 40)
    printed = [
        in_process("inspect", folder),
        in_process("inspect", folder, "--json"),
        in_process("analyze", folder, "-o", out),
        in_process("report", out / "results.zarr"),
        in_process("analyze", folder, "-o", out, "--run", HOSTILE),
        in_process("analyze", folder, "-o", out, "--include", HOSTILE),
        in_process("analyze", folder, "-o", folder / "step-0\x1b[31m.safetensors" / "out"),
    ]
    assert [done.code for done in printed] == [0, 0, 0, 0, 2, 2, 2]
    for line in "".join(done.out + done.err for done in printed).splitlines():
        assert line.isprintable()
    page = (out / "report.html").read_text()
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page
