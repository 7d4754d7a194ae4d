"""Where torch is missing, everything but gradients works, and what needs it names the extra."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from tests.cli.problem_files import write_fitting_run, write_problem
from tests.cli.running import Finished, write_run

HIDDEN = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")

sys.meta_path.insert(0, Hidden())
"""


def without_torch(code, *arguments):
    """A Python without torch."""
    done = subprocess.run(
        [sys.executable, "-c", HIDDEN + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Finished(done.returncode, done.stdout, done.stderr)


def command(*arguments):
    return without_torch("from trajscope.cli import main\nmain(prog_name='trajscope')", *arguments)


def test_runs_are_inspected_analyzed_reported_and_compared(tmp_path):
    write_run(tmp_path / "run")
    write_run(tmp_path / "other", seed=1)
    code = """
from trajscope.cli import main
out = sys.argv[1]
for arguments in (
    ["inspect", f"{out}/run", "--audit"],
    ["analyze", f"{out}/run", "-o", f"{out}/a", "--spectra", "100%"],
    ["report", f"{out}/a/results.zarr", "--quiet"],
    ["compare", f"{out}/run", f"{out}/other", "-o", f"{out}/c"],
    ["average", f"{out}/run", "--last", "3", "-o", f"{out}/mean.safetensors"],
):
    try:
        main(arguments, prog_name="trajscope")
    except SystemExit as end:
        assert end.code in (0, None), arguments
assert "torch" not in sys.modules
"""
    done = without_torch(code, tmp_path)
    assert (done.code, done.err) == (0, "")
    assert (tmp_path / "a" / "report.html").exists()
    assert (tmp_path / "c" / "report.html").exists()


def test_checkpoints_of_torch_are_read_without_it(tmp_path):
    for step in range(3):
        weights = {"w": torch.full((4,), float(step), dtype=torch.bfloat16)}
        torch.save({"model": weights, "step": step}, tmp_path / f"step-{step}.pt")
    done = command("inspect", tmp_path, "--json")
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["weights"] == 4


def test_the_demo_trains_and_writes_its_checkpoints(tmp_path):
    done = without_torch(
        "from pathlib import Path\nfrom trajscope.demo import training\n"
        "training.WARM_UP = 1\n"
        "training.train_demo(Path(sys.argv[1]), epochs=1)",
        tmp_path / "demo",
    )
    assert (done.code, done.err) == (0, "")
    assert len(list((tmp_path / "demo" / "checkpoints").iterdir())) == 2


def test_arrays_are_saved_and_what_is_no_array_is_refused(tmp_path):
    code = """
import numpy as np, trajscope
trajscope.save_checkpoint(sys.argv[1], {"w": np.zeros(3)}, step=1)
trajscope.save_checkpoint(sys.argv[1], {"w": [1, 2]}, step=1)
"""
    done = without_torch(code, tmp_path / "a.safetensors")
    assert "OptionError" not in done.out
    assert re.search(r"The entry 'w' is a list; tensors and arrays were expected", done.err)
    assert (tmp_path / "a.safetensors").exists()


@pytest.mark.parametrize("name", ["diffusion", pytest.param("analyze", marks=pytest.mark.slow)])
def test_gradient_noise_is_refused_at_once_with_the_extra_to_install(tmp_path, name):
    write_problem(tmp_path)
    write_fitting_run(tmp_path / "run", n_steps=12)
    problem = f"{tmp_path}/problem.py:make_problem"
    done = command(name, tmp_path / "run", "--problem", problem, "-o", tmp_path / "out")
    assert done.code == 2
    (extra,) = re.findall(
        r"Gradient noise is computed with torch, which cannot be imported \(No module named "
        r"'torch'\)\. Install it with: pip install 'trajscope\[(\w+)\]'",
        " ".join(done.err.split()),
    )
    assert not (tmp_path / "out" / "report.html").exists()
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    assert any(each.startswith("torch>") for each in project["optional-dependencies"][extra])
    assert not any(each.startswith("torch") for each in project["dependencies"])
