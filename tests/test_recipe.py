"""The conda-forge recipe says what pyproject.toml says, as far as is seen without conda."""

import re
import tomllib
from pathlib import Path

import pytest

yaml = pytest.importorskip("yaml")
ROOT = Path(__file__).parents[1]
RECIPE = yaml.safe_load((ROOT / "recipe" / "recipe.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
CALLED: dict[str, tuple[str, ...]] = {
    "dask": ("dask-core", "distributed"),
    "matplotlib": ("matplotlib-base",),
}
"""Names on conda-forge that are not those of PyPI."""


def required(listed: list[str]) -> dict[str, str]:
    """Bound by name."""
    found = [re.match(r"([\w-]+)(?:\[.*\])?\s*(.*)", each) for each in listed]
    return {match[1]: match[2] for match in found if match}


def test_the_version_and_the_command_are_those_of_the_project():
    assert RECIPE["context"]["version"] == PROJECT["version"]
    (entry,) = RECIPE["build"]["python"]["entry_points"]
    assert entry == f"trajscope = {PROJECT['scripts']['trajscope']}"
    assert RECIPE["context"]["python_min"] == PROJECT["requires-python"].removeprefix(">=")


def test_what_it_needs_has_the_projects_bounds():
    recipe = required(RECIPE["requirements"]["run"])
    assert recipe.pop("python") == ">=${{ python_min }}"
    wanted = {
        name: bound
        for own, bound in required(PROJECT["dependencies"]).items()
        for name in CALLED.get(own, (own,))
    }
    assert recipe == wanted


def test_pytorch_is_no_older_than_the_extra_allows():
    (torch,) = PROJECT["optional-dependencies"]["torch"]
    assert RECIPE["requirements"]["run_constraints"] == [torch.replace("torch", "pytorch ")]


def test_licences_lie_where_it_says():
    assert RECIPE["about"]["license_file"] == PROJECT["license-files"]
    assert all((ROOT / file).is_file() for file in PROJECT["license-files"])
