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


@pytest.mark.parametrize("name", main.commands)
def test_options_stand_in_groups_and_those_of_no_group_first(trajscope, name):
    said = trajscope(name, "--help").out
    headings = re.findall(r"^(\w[\w ]*):$", said, re.MULTILINE)
    known = ["Options", "Selection", "Compute", "Tests", "Gradient noise"]
    assert headings == [each for each in known if each in headings]
    assert headings[0] == "Options"
    assert said.count("--help") == 1
    assert "  DIR" not in said.split("Options:")[1]


def test_the_groups_of_analyze_hold_what_belongs_together(trajscope):
    said = trajscope("analyze", "--help").out
    groups = dict(re.findall(r"^(\w[\w ]*):\n(.*?)(?=^\w|\Z)", said, re.MULTILINE | re.DOTALL))
    for heading, option in (
        ("Selection", "--burn-in"), ("Compute", "--memory"), ("Compute", "--history"),
        ("Tests", "--alpha"), ("Gradient noise", "--problem"), ("Options", "--json"),
    ):  # fmt: skip
        assert f"  {option}" in groups[heading]
    # That of the averages, which is no selection.
    assert "STEP:WEIGHT" in trajscope("average", "--help").out.split("Selection:")[0]


def test_every_command_can_print_json():
    assert [
        name
        for name, command in main.commands.items()
        if not any("--json" in option.opts for option in command.params)
    ] == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_shell_can_ask_for_completions(shell):
    variables = {"_TRAJSCOPE_COMPLETE": f"{shell}_source"}
    done = in_process(env=os.environ | variables)
    assert "_TRAJSCOPE_COMPLETE" in done.out


def test_the_version_is_that_of_the_package():
    assert in_process("--version").out == f"trajscope, version {version('trajscope')}\n"
