"""How real processes end: with the documented exit code, whatever the format, and without noise.

0: done; 2: refused, with one message; 130: interrupted; 1: a bug, or an exception of the caller's.
"""

import json
import subprocess
import sys

import pytest

from tests.cli.formats import FORMATS, STEPS, damage
from tests.cli.problem_files import write_problem
from tests.cli.running import in_process

# The layers that Keras and Orbax write have names that a problem's network lacks.
WITH_A_PROBLEM = [name for name in FORMATS if not name.startswith(("Keras", "Orbax"))]


def python(code, *arguments):
    """A program that uses the library, to its end."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.fixture
def folder(tmp_path, name):
    return FORMATS[name](tmp_path / "run")


@pytest.mark.parametrize("name", ["HDF5"])
def test_a_process_that_opened_hdf5_files_ends_well(folder):
    done = in_process("inspect", folder, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["checkpoints"] == len(STEPS)


def test_one_process_that_read_every_format_ends_well(tmp_path):
    for name, write in FORMATS.items():
        write(tmp_path / name)
    code = """
import sys, trajscope
for folder in sys.argv[1:]:
    print(float(trajscope.open_trajectory(folder)["weights"].sum()))
"""
    ended, out, err = python(code, *(tmp_path / name for name in FORMATS))
    assert (ended, err) == (0, "")
    assert len(set(out.split())) <= 2  # the order of the sum differs
    assert len(out.split()) == len(FORMATS)


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_every_command_ends_with_0(folder, tmp_path):
    out, store = tmp_path / "out", tmp_path / "packed.zarr"
    commands = [
        ("analyze", folder, "-o", out, "--surrogates", "199"),
        ("report", out / "results.zarr"),
        ("pack", folder, store),
        ("compare", out, store, "-o", tmp_path / "both", "--surrogates", "199"),
    ]
    for command in commands:
        assert in_process(*command, "--quiet") == (0, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_commands_that_speak_end_with_0(folder, tmp_path):
    commands = [
        ("inspect", folder),
        ("inspect", folder, "--json"),
        ("analyze", folder, "-o", tmp_path / "out", "--history", "always"),
        ("report", tmp_path / "out" / "results.zarr"),
    ]
    for command in commands:
        done = in_process(*command)
        assert (done.code, done.err) == (0, "")
        assert done.out


@pytest.mark.slow
@pytest.mark.parametrize("name", WITH_A_PROBLEM)
def test_gradient_noise_ends_with_0(folder, tmp_path):
    problem = f"{write_problem(tmp_path)}:make_problem"
    for command in ("diffusion", "analyze"):
        out = tmp_path / command
        done = in_process(command, folder, "-o", out, "--problem", problem, "--at", "100%")
        assert (done.code, done.err) == (0, "")


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMATS)
def test_damaged_files_end_with_2_and_one_message(folder, tmp_path):
    damage(folder)
    out = tmp_path / "out"
    commands = [
        ("analyze", folder, "-o", out),
        ("pack", folder, tmp_path / "packed.zarr"),
        ("compare", folder, folder, "-o", out),
        ("report", out / "results.zarr"),
    ]
    for command in commands:
        refused(in_process(*command))
    done = in_process("inspect", folder)
    # Of a store and of compressed values the headers are whole.
    assert done.code == 0 if not done.err else refused(done)


def refused(done):
    assert done.code == 2
    assert done.err.startswith("Error: ")
    assert "Traceback" not in done.err
    return True


USES = {
    "analyze": "trajscope.analyze(folder)",
    "workers": "trajscope.analyze(folder, workers=2)",
    "a thread": """
thread = threading.Thread(target=trajscope.analyze, args=(folder,))
thread.start()
thread.join()""",
    "a thread that goes on": """
def read():
    while True:
        trajscope.open_trajectory(folder)["weights"][:, :3].load()
        started.set()
started = threading.Event()
threading.Thread(target=read, daemon=True).start()
assert started.wait(60)""",
    "an error that is kept": """
values = trajscope.open_trajectory(folder)["weights"]
for path in folder.glob("*"):
    path.write_bytes(path.read_bytes()[:900])
try:
    values.load()
except trajscope.TrajscopeError as error:
    kept = error
assert kept""",
    "a child process": """
import multiprocessing
def read():
    trajscope.open_trajectory(folder)["weights"].load()
read()
child = multiprocessing.get_context("fork").Process(target=read)
child.start()
child.join()
assert child.exitcode == 0""",
    "a fork": """
trajscope.open_trajectory(folder)["weights"].load()
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
trajscope.open_trajectory(folder)["weights"][:2].load()""",
    "a fork while a thread reads": """
from trajscope.readers.hdf5.opening import opened
path = next(folder.glob("*"))
started, over = threading.Event(), threading.Event()
def use():
    with opened(path):
        started.set()
        over.wait(60)
thread = threading.Thread(target=use)
thread.start()
started.wait(60)
child = os.fork()
if child:
    over.set()
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
trajscope.open_trajectory(folder)["weights"][:2].load()""",
}
ENDS = {
    "an exception": ("1 / 0", 1, "ZeroDivisionError"),
    "sys.exit": ("sys.exit(5)", 5, ""),
    "an interrupt": ("raise KeyboardInterrupt", 130, "KeyboardInterrupt"),
}
START = """
import os, sys, threading
from pathlib import Path
import trajscope
folder = Path(sys.argv[1])
if __name__ == "__main__":
"""


def indented(code):
    return code.strip().replace("\n", "\n    ")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["HDF5"])
@pytest.mark.parametrize(
    "use",
    [
        pytest.param(each, marks=[pytest.mark.slice] * (each == "a thread that goes on"))
        for each in USES
    ],
)
def test_a_program_that_read_hdf5_files_ends_as_it_says(folder, tmp_path, use):
    program = tmp_path / "program.py"  # worker processes import it
    program.write_text(f"{START}    {indented(USES[use])}\n")
    code, _, err = python(
        f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')", folder
    )
    assert (code, err) == (0, "")


@pytest.mark.parametrize("name", ["HDF5"])
@pytest.mark.parametrize("end", ENDS)
def test_a_program_that_fails_after_reading_ends_as_it_says(folder, end):
    how, code, words = ENDS[end]
    read = 'values = trajscope.open_trajectory(folder)["weights"].load()'
    ended, _, err = python(f"{START}    {read}\n    {how}\n", folder)
    # Python ends itself by the signal of an interrupt, as shells expect.
    assert ended == (-2 if code == 130 else code)
    assert words in err
    assert "Fatal" not in err
