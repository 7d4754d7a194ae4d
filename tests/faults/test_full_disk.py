"""Disks that are full: one sentence, nothing half written, and what was there before stays."""

import re
import resource
import subprocess

import pytest

from tests.cli.problem_files import write_fitting_run, write_problem
from tests.cli.running import COMMAND, Finished, in_process, write_run
from tests.faults.test_kills import names_in

pytestmark = pytest.mark.slow

FULL = "cannot be written: File too large"


def on_small_disk(n_bytes, *arguments):
    """The command where no file may be longer: the system refuses what would not fit."""

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes))

    done = subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=limit,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


@pytest.mark.slice
def test_a_demo_on_a_full_disk_ends_in_a_sentence(tmp_path):
    done = on_small_disk(1000, "demo", tmp_path / "demo")
    assert done.code == 2
    assert re.fullmatch(rf"Error: .*step-\d+\.safetensors {FULL}\. Free .*\n", done.err)
    assert names_in(tmp_path / "demo/checkpoints") == []


@pytest.mark.parametrize("room", [1000, 20_000, 100_000])
def test_an_analysis_on_a_full_disk_keeps_the_old_one(room, tmp_path):
    write_run(tmp_path / "run")
    out = tmp_path / "out"
    assert in_process("analyze", tmp_path / "run", "-o", out, "--quiet").code == 0
    before = {name: (out / name).stat().st_ino for name in names_in(out)}
    page = (out / "report.html").read_bytes()
    done = on_small_disk(room, "analyze", tmp_path / "run", "-o", out, "--quiet")
    assert done.code == 2
    assert re.fullmatch(rf"Error: {out}/\S+ {FULL}\. Choose another folder .*\n", done.err)
    assert {name: (out / name).stat().st_ino for name in names_in(out)} == before
    assert (out / "report.html").read_bytes() == page


def test_gradient_noise_on_a_full_disk_is_told_of_its_folder(tmp_path):
    problem = f"{write_problem(tmp_path)}:make_problem"
    write_fitting_run(tmp_path / "run")
    work = tmp_path / "work"
    command = (
        "diffusion", tmp_path / "run", "--problem", problem, "-o", tmp_path / "out",
        "--work-dir", work,
    )  # fmt: skip
    done = on_small_disk(200, *command)
    assert done.code == 2
    assert re.fullmatch(rf"Error: --work-dir: {work} cannot be written to: File too .*\n", done.err)
    assert in_process(*command).code == 0


def test_a_pack_on_a_full_disk_ends_in_a_sentence(tmp_path):
    write_run(tmp_path / "run")
    done = on_small_disk(300, "pack", tmp_path / "run", tmp_path / "run.zarr")
    assert done.code == 2
    assert done.err == (
        f"Error: {tmp_path / 'run.zarr.tmp'} cannot be written: File too large. Check the "
        "permissions and the free disk space.\n"
    )
    assert in_process("pack", tmp_path / "run", tmp_path / "run.zarr").code == 0


@pytest.mark.parametrize("command", ["inspect", "analyze", "--help"])
def test_an_output_that_is_full_is_one_sentence(command, tmp_path):
    write_run(tmp_path / "run")
    arguments = {
        "inspect": ("inspect", tmp_path / "run"),
        "analyze": ("analyze", tmp_path / "run", "-o", tmp_path / "out"),
        "--help": ("--help",),
    }
    with open("/dev/full", "wb") as full:
        done = subprocess.run(
            [COMMAND, *map(str, arguments[command])],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert (done.returncode, done.stderr) == (
        2,
        "Error: The output cannot be written: No space left on device. Free disk space, and try "
        "again.\n",
    )
