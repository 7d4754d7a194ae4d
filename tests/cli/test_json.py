"""What every command prints for other programs."""

import json
import logging

import pytest
from safetensors.numpy import load_file

from tests.cli.problem_files import write_fitting_run, write_problem
from tests.cli.running import in_process, write_run


def told(done):
    """What a command printed, as JSON and nothing else."""
    assert (done.code, done.err) == (0, "")
    return json.loads(done.out)


def test_analyze_prints_the_summary_and_where_the_report_is(trajscope, run, out):
    printed = told(trajscope("analyze", run, "-o", out, "--json"))
    written = json.loads((out / "summary.json").read_text())
    del written["result"]
    assert printed.pop("report") == str(out / "report.html")
    assert printed == written


def test_report_prints_the_same(trajscope, run, out):
    first = told(trajscope("analyze", run, "-o", out, "--json"))
    assert told(trajscope("report", out / "results.zarr", "--json")) == first


def test_compare_prints_the_differences(trajscope, tmp_path, run, out):
    write_run(tmp_path / "other", n_steps=40, seed=1)
    write_run(tmp_path / "third", n_steps=40, seed=2)
    pair = tmp_path / "other", tmp_path / "third"
    printed = told(trajscope("compare", *pair, "-o", out, "--json", "--surrogates", 199))
    assert printed["compare"]["runs"] == ["other", "third"]
    assert printed["report"] == str(out / "report.html")


def test_pack_and_average_print_what_they_wrote(trajscope, run, tmp_path):
    assert told(trajscope("pack", run, tmp_path / "a.zarr", "--json")) == {
        "store": str(tmp_path / "a.zarr")
    }
    file = tmp_path / "a.safetensors"
    assert told(trajscope("average", run, "--last", 3, "-o", file, "--json"))["file"] == str(file)
    assert load_file(file)


def test_diffusion_prints_the_numbers_of_d(trajscope, tmp_path, out):
    write_problem(tmp_path)
    write_fitting_run(tmp_path / "run", n_steps=12)
    problem = f"{tmp_path}/problem.py:make_problem"
    printed = told(
        trajscope("diffusion", tmp_path / "run", "--problem", problem, "-o", out, "--json")
    )
    assert printed["diffusion"]["checkpoints"]
    assert printed["report"] == str(out / "report.html")


@pytest.mark.slow
def test_the_demo_prints_the_summary(tmp_path):
    done = in_process("demo", tmp_path / "demo", "--json")
    assert told(done)["trajectory"]["checkpoints"] == 501


def test_progress_goes_to_the_logger_of_the_package(run, out, caplog):
    import trajscope as package

    with caplog.at_level(logging.INFO, logger="trajscope"):
        package.write_report(package.analyze(run), out)
    assert [record.name.partition(".")[0] for record in caplog.records] == ["trajscope"] * 3
    assert "one pass over 12 checkpoints" in caplog.text
    assert str(out) in caplog.text
