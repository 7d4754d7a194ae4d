import os
import re
import shlex
import subprocess
from importlib.metadata import version

import pytest

from tests.cli.problem_files import write_fitting_run, write_problem
from tests.cli.running import COMMAND, in_process, write_run
from trajscope import analyze, write_report
from trajscope.cli import main

SLOW = {"demo": [pytest.mark.slow]}
EXAMPLES = [
    pytest.param(name, example, id=name, marks=SLOW.get(name, ()))
    for name, command in main.commands.items()
    for example in re.findall(r"Example: (.*)", command.help)
]
ENDLESS = "watch"  # its example is run in test_watch.py


def test_every_command_has_an_example():
    assert {example.id for example in EXAMPLES} == {
        "inspect", "analyze", "average", "compare", "diffusion", "pack", "report", "demo", "watch",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "example"), [each for each in EXAMPLES if each.values[0] != ENDLESS]
)
@pytest.mark.slow
def test_the_example_in_the_help_works_as_it_stands(name, example, tmp_path):
    write_run(tmp_path / "runs/resnet18/checkpoints")
    for seed in (1, 2) if name == "compare" else ():
        write_run(tmp_path / f"runs/seed-{seed}")
    if name == "diffusion":
        write_problem(tmp_path)
        write_fitting_run(tmp_path / "runs/resnet18/checkpoints", n_steps=12)
    if name == "report":
        results = analyze(tmp_path / "runs/resnet18/checkpoints")
        write_report(results, tmp_path / "trajscope-report")
    done = subprocess.run(
        shlex.split(example),
        cwd=tmp_path,
        env=os.environ | {"PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=280,
        check=True,
    )
    assert done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize("name", [None, *main.commands])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_help_tells_every_option(trajscope, name, flag):
    done = trajscope(*([name] if name else []), flag)
    assert (done.code, done.err) == (0, "")
    options = main.commands[name].params if name else main.params
    for option in options:
        for spelling in option.opts if option.param_type_name == "option" else ():
            assert spelling in done.out
    for command in [] if name else main.commands:
        assert f"  {command} " in done.out


def test_the_version_is_that_of_the_package():
    assert in_process("--version").out == f"trajscope, version {version('trajscope')}\n"
