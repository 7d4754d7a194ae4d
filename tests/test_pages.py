"""What the pages say, done: their code and commands are run as they stand, their links followed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests import quoted
from tests.cli.running import COMMAND, write_run

ROOT = Path(__file__).parents[1]
QUICK = ("rate_drop", "slurm")
"""Tutorials that continuous integration runs; the demo of another one is run there by itself."""
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.md"))
BLOCK = re.compile(r"(<!-- not run -->\n)?^```(sh|python)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def program(blocks):
    """The blocks of a page as one program: commands go to a shell, Python shares its names."""
    lines = ["import subprocess"]
    for not_run, language, text in blocks:
        if language == "python" and not not_run:
            lines.append(text)
        elif not not_run:
            lines.append(f"subprocess.run(['bash', '-ec', {text!r}], check=True)")
    return "\n".join(lines)


def run(code, folder):
    """Run a program there, with the command on its path."""
    surroundings = os.environ | {
        "PATH": f"{COMMAND.parent}{os.pathsep}{os.environ['PATH']}",
        "OMP_NUM_THREADS": "1",
        "MPLBACKEND": "agg",
    }
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=surroundings, capture_output=True,
        text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        pytest.param(page, id=page.stem, marks=pytest.mark.slice if page.stem in QUICK else ())
        for page in TUTORIALS
    ],
)
def test_a_tutorial_works_as_it_stands(page, tmp_path):
    run(program(BLOCK.findall(page.read_text(encoding="utf-8"))), tmp_path)


@pytest.mark.slow
@pytest.mark.slice
def test_the_readme_works_as_it_stands_once_it_is_installed(tmp_path):
    write_run(tmp_path / "runs/resnet18/checkpoints", n_steps=40)
    install, *rest = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert install[2] == "pip install -c constraints.txt . && trajscope demo\n"  # nox -s packages
    assert {language for _, language, _ in rest} == {"sh", "python"}
    run(program(rest), tmp_path)
    assert (tmp_path / "out" / "report.html").exists()


@pytest.mark.parametrize("page", quoted.pages(), ids=lambda page: page.stem)
def test_quoted_help_texts_are_those_of_the_commands(page):
    text = page.read_text(encoding="utf-8")
    assert quoted.remade(text) == text, "make them again: python -m tests.quoted"


def test_the_help_of_every_command_is_quoted():
    from trajscope.cli import main

    text = (ROOT / "docs" / "command_line.md").read_text(encoding="utf-8")
    told = re.findall(r"^\$ trajscope (\w+) --help$", text, re.MULTILINE)
    assert sorted(told) == sorted(main.commands)
