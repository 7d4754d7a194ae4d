import json

import pytest
from safetensors.numpy import load_file, save_file

from tests.cli.running import SHAPES, in_process, on_terminal, shown, write_run

BUFFERS = {"bn.running_mean": (5,), "bn.num_batches_tracked": ()}


def test_it_says_what_would_be_read_and_what_not(trajscope, tmp_path):
    write_run(tmp_path, shapes=SHAPES | BUFFERS)
    (tmp_path / "step-120.safetensors.tmp").touch()
    done = trajscope("inspect", tmp_path)
    assert (done.code, done.err) == (0, "")
    assert done.out.splitlines() == [
        str(tmp_path),
        "Warning   13% of the model's values in each checkpoint are left out: a running",
        "          statistic, not a weight (bn.num_batches_tracked and 1 more). To take",
        "          them as well: --include '*'.",
        "Found     12 checkpoints, safetensors",
        f"Run       {tmp_path.name}",
        "Steps     0 to 110, every 10 steps",
        "From      metadata key 'step'",
        "Weights   40 weights in 3 tensors, float32",
        "Left out  2 tensors, a running statistic, not a weight: bn.num_batches_tracked,",
        "          bn.running_mean",
        "Skipped   1 file, a temporary name: writing is unfinished or was interrupted:",
        "          step-120.safetensors.tmp",
    ]


def test_inspect_and_the_screen_and_the_page_begin_with_it(trajscope, tmp_path):
    run, out = tmp_path / "run", tmp_path / "out"
    write_run(run, shapes=SHAPES | {"bn.running_mean": (20,)})
    lines = trajscope("inspect", run).out.splitlines()
    assert lines[1].startswith("Warning   33% of the model's values in each checkpoint are left")
    assert sum("values in each checkpoint" in line for line in lines) == 1
    printed = trajscope("inspect", run, "--json").out
    assert "33% of the model's values" in printed
    done = trajscope("analyze", run, "-o", out)
    told = [line for line in done.out.splitlines() if line.strip()]
    assert told[1].startswith("Warning   33% of the model's values")
    again = trajscope("report", out / "results.zarr").out
    assert again.startswith("Warning   33% of the model's values")
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.index("33% of the model") < page.index('class="word"')


def test_json_is_the_trajectory_of_the_summary(trajscope, run, out):
    def refuse(constant):
        raise AssertionError(constant)

    (run / "step-120.safetensors").write_bytes(b"\xff" * 40)
    printed = trajscope("inspect", run, "--json")
    assert printed.code == 0
    assert trajscope("analyze", run, "-o", out, "--quiet").code == 0
    summary = json.loads((out / "summary.json").read_text(), parse_constant=refuse)
    inspected = json.loads(printed.out, parse_constant=refuse)
    assert inspected == summary["trajectory"]
    assert [skipped["path"] for skipped in inspected["skipped"]] == ["step-120.safetensors"]


@pytest.mark.parametrize(
    ("options", "steps"),
    [
        ([], range(0, 120, 10)),
        (["--burn-in", "9"], range(90, 120, 10)),
        (["--burn-in", "25%"], range(30, 120, 10)),
        (["--steps", "20:70"], range(20, 70, 10)),
        (["--steps", "::4"], range(0, 120, 40)),
        (["--steps", "20::2", "--burn-in", "1"], range(40, 120, 20)),
        (["--exclude", "step-?0.*"], (0, 100, 110)),
    ],
)
def test_options_choose_the_steps(trajscope, run, options, steps):
    assert json.loads(trajscope("inspect", run, *options, "--json").out)["steps"] == list(steps)


@pytest.mark.parametrize(
    ("options", "tensors"),
    [
        ([], ["fc1.bias", "fc1.weight", "fc2.weight"]),
        (["--include", "*.bias"], ["fc1.bias"]),
        (["--include", "fc2*", "--include", "*.bias"], ["fc1.bias", "fc2.weight"]),
        (["--include", "bn.*"], ["bn.running_mean"]),
        (["--exclude", "fc1*"], ["fc2.weight"]),
        (["--include", "fc1*", "--exclude", "*.bias"], ["fc1.weight"]),
    ],
)
def test_options_choose_the_tensors(trajscope, tmp_path, options, tensors):
    write_run(tmp_path, shapes=SHAPES | {"bn.running_mean": (5,)})
    described = json.loads(trajscope("inspect", tmp_path, *options, "--json").out)
    assert described["tensors"] == tensors


def test_a_run_is_chosen_by_its_name(trajscope, tmp_path):
    write_run(tmp_path / "a", 3)
    write_run(tmp_path / "b", 4)
    described = json.loads(trajscope("inspect", tmp_path, "--run", "b", "--json").out)
    assert (described["run"], described["checkpoints"]) == ("b", 4)


def test_an_unknown_choice_is_refused_with_the_known_ones(trajscope, run):
    done = trajscope("inspect", run, "--by", "neuron")
    assert done.code == 2
    assert "'neuron' is not one of 'none', 'layer', 'tensor'" in done.err


@pytest.mark.parametrize("columns", [80, 120])
def test_a_wide_terminal_is_filled_up_to_a_hundred_columns(run, columns):
    for number in range(3):
        (run / f"another_format_{number}.h5").touch()
    lines = shown(on_terminal("inspect", run, columns=columns))
    assert min(columns, 100) - 25 < max(map(len, lines[1:])) <= min(columns, 100)


def test_a_terminal_without_unicode_gets_ascii(tmp_path, run):
    folder = tmp_path / "modèle"
    run.rename(folder)
    done = in_process("inspect", folder, env={"PYTHONIOENCODING": "ascii"})
    assert (done.code, done.err) == (0, "")
    assert "mod?le" in done.out
    assert done.out.isascii()


def test_a_packed_run_is_inspected_like_the_folder_it_came_from(trajscope, run, tmp_path):
    store = tmp_path / "packed.zarr"
    packed = trajscope("pack", run, store)
    assert packed.code == 0
    assert str(store) in packed.out
    folder, packed = (json.loads(trajscope("inspect", path, "--json").out) for path in (run, store))
    assert packed["steps"] == folder["steps"]
    assert packed["weights"] == folder["weights"]


def write_damaged_run(folder):
    """A run whose checkpoint at step 30 holds the weights of step 80."""
    write_run(folder, shapes={"fc.weight": (20, 20)})
    bad = folder / "step-30.safetensors"
    weights = load_file(folder / "step-80.safetensors")
    save_file(weights, bad, {"step": "30"})
    return folder


def test_the_audit_says_that_nothing_was_found(trajscope, run):
    plain, audited = trajscope("inspect", run), trajscope("inspect", run, "--audit")
    assert (audited.code, audited.err) == (0, "")
    assert audited.out == plain.out + "Audit     nothing found in 12 checkpoints\n"
    assert json.loads(trajscope("inspect", run, "--audit", "--json").out)["audit"] == []


def test_the_audit_lists_what_it_found(trajscope, tmp_path, out):
    run = write_damaged_run(tmp_path / "run")
    printed = trajscope("inspect", run, "--audit")
    assert printed.code == 0
    told = printed.out[printed.out.index("Audit") :].replace("\n          ", " ")
    assert told.startswith("Audit     All weights of steps 30 and 80 are equal")
    (finding,) = json.loads(trajscope("inspect", run, "--audit", "--json").out)["audit"]
    assert (finding["kind"], finding["steps"], finding["tensors"]) == ("identical", [30, 80], [])
    analyzed = trajscope("analyze", run, "-o", out)
    assert analyzed.code == 0
    assert "Audit     1 finding" in analyzed.out
    summary = json.loads((out / "summary.json").read_text())
    assert summary["audit"] == [finding]
    assert summary["trajectory"]["steps"] == [0, 10, 20, *range(40, 120, 10)]
    assert "steps 30 and 80 are equal" in (out / "report.html").read_text()


@pytest.mark.parametrize("command", ["inspect", "analyze"])
def test_strict_refuses_a_spoilt_checkpoint_until_it_is_left_out(trajscope, tmp_path, command, out):
    run = write_damaged_run(tmp_path / "run")
    options = ["--audit"] if command == "inspect" else ["-o", out]
    refused = trajscope(command, run, "--strict", *options)
    assert refused.code == 2
    assert "step-30.safetensors" in refused.err
    assert "--steps, or drop --strict" in refused.err
    for remedy in (["--steps", "40:", "--strict"], ["--steps", ":30", "--strict"], []):
        assert trajscope(command, run, *options, *remedy).code == 0


@pytest.mark.parametrize(
    "option", [("--memory", "2GiB"), pytest.param(("--workers", "2"), marks=pytest.mark.slow)]
)
def test_the_audit_takes_the_options_of_a_pass(trajscope, tmp_path, option):
    run = write_damaged_run(tmp_path / "run")
    plain = trajscope("inspect", run, "--audit", "--json")
    assert trajscope("inspect", run, "--audit", "--json", *option) == plain
    assert trajscope("inspect", run, "--audit", "--json", "--by", "none") == plain
    refused = trajscope("inspect", run, *option)
    assert (refused.code, refused.err) == (
        2, f"Error: {option[0]} needs --audit: without it no weights are read.\n"
    )  # fmt: skip


def test_the_memory_that_a_refusal_asks_for_is_enough(trajscope, tmp_path):
    run = write_damaged_run(tmp_path / "run")
    refused = trajscope("inspect", run, "--audit", "--memory", "1MiB")
    assert refused.code == 2
    enough = refused.err.partition("at least ")[2].partition(" ")[0]
    assert trajscope("inspect", run, "--audit", "--memory", enough).code == 0
