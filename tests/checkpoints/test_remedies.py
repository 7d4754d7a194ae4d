"""What a refusal says to do works when it is done, as it stands."""

import os
import re
import shlex
from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.numpy import save_file

from trajscope.cli import main

WEIGHTS = {"a.weight": np.ones((4, 3), "f4"), "b.bias": np.ones(3, "f4")}


def save(folder, *names, weights=None):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        state = WEIGHTS if weights is None else weights
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save({key: torch.from_numpy(value) for key, value in state.items()}, path)


def several_runs(folder):
    save(folder, *(f"version_{v}/step_{v * 3 + n}.pt" for v in (0, 1) for n in range(3)))


def runs_in_one_folder(folder):
    save(folder, *(f"all/seed{v}_step_{n}.pt" for v in (0, 1) for n in range(3)))
    save(folder, *(f"other/step_{n}.pt" for n in range(3)))


def no_numbers(folder):
    for number, name in enumerate(("b.pt", "a.pt", "c.pt")):
        save(folder, name)
        os.utime(folder / name, (number, number))


def an_average_beside(folder):
    save(folder, *(f"net_{n}.pt" for n in range(3)), *(f"net_ema_{n}.pt" for n in range(3)))


def a_damaged_file(folder):
    save(folder, *(f"step_{n}.safetensors" for n in range(4)))
    (folder / "step_2.safetensors").write_bytes(b"cut")


def a_missing_shard(folder):
    for n in range(4):
        for part in ("1", "2"):
            name = f"step_{n}/model-0000{part}-of-00002.safetensors"
            save(folder, name, weights={f"w{part}": np.ones(3, "f4")})
    (folder / "step_3" / "model-00002-of-00002.safetensors").unlink()


def a_repeated_step(folder):
    save(folder, *(f"step_{n}.pt" for n in range(4)))
    other = {name: values + 1 for name, values in WEIGHTS.items()}
    save(folder, "step_02.pt", weights=other)


def a_tensor_that_grows(folder):
    save(folder, *(f"step_{n}.pt" for n in range(3)))
    save(folder, "step_3.pt", weights=WEIGHTS | {"a.weight": np.ones((5, 3), "f4")})


def another_model(folder):
    save(folder, *(f"step_{n}.pt" for n in range(3)))
    save(folder, "step_3.pt", weights={"x.weight": np.ones((5, 3), "f4")})


def nothing_but_statistics(folder):
    state = {"bn.running_mean": np.ones(3, "f4"), "bn.running_var": np.ones(3, "f4")}
    save(folder, *(f"step_{n}.pt" for n in range(3)), weights=state)


def whole_models_of_ranks(folder):
    save(folder, *(f"step_{n}/rank_{rank}.pt" for n in range(3) for rank in range(2)))


def branches(folder):
    save(folder, *(f"step{n}.pt" for n in range(100, 1300, 100)))
    save(folder, *(f"cooldown-from-600-step{n}.pt" for n in (620, 640)))


def names_that_fit_in_several_ways(folder):
    same = {name: np.ones((3, 3), "f4") for name in ("a.x", "b.y", "c.z")}
    save(folder, *(f"step_{n}.safetensors" for n in range(3)), weights=same)
    other = dict(zip(("q", "r", "s"), same.values(), strict=True))
    save(folder, *(f"step_{n}.safetensors" for n in range(3, 6)), weights=other)


def averages_alone(folder):
    for n in range(3):
        torch.save({"ema": {"w": torch.ones(3)}}, folder / f"step_{n}.pt")


@dataclass(frozen=True)
class Case:
    """A folder, what is said of it, and the options that it says to use.

    `remedies` are options, or patterns in the message whose groups are options.
    """

    write: object
    said: str
    remedies: tuple
    options: tuple = field(default=())
    fails: bool = True


CASES = (
    Case(several_runs, "holds 2 runs", ("--run version_0", "--run 'version_*'",
                                        "--run version_0,version_1")),
    Case(runs_in_one_folder, "'all' holds 2 runs", (r"(--run 'all/\*')",), ("--run", "all")),
    Case(no_numbers, "neither contains a number", ("--order mtime", "--order name")),
    Case(an_average_beside, "with --weights ema", ("--weights ema",), fails=False),
    Case(averages_alone, "use --weights ema", ("--weights ema",), fails=False),
    Case(a_damaged_file, "or leave it out with --exclude", ("--exclude step_2.safetensors",),
         ("--strict",)),
    Case(a_missing_shard, "leave it out with --exclude", ("--exclude step_3/*",), ("--strict",)),
    Case(a_repeated_step, "Leave one out with --exclude", ("--exclude step_02.pt",),
         ("--strict",)),
    Case(a_tensor_that_grows, "Leave out the tensor or the checkpoint with --exclude",
         ("--exclude a.weight", "--exclude step_3.pt"), ("--strict",)),
    Case(another_model, "with --exclude", ("--exclude step_3.pt",), ("--strict",)),
    Case(nothing_but_statistics, "Select some of them with --include", ("--include bn.*",)),
    Case(whole_models_of_ranks, "keep one file with --exclude", ("--exclude rank_1.pt",)),
    Case(branches, "To continue into one", (r"(--run '[^']*')",), fails=False),
    Case(names_that_fit_in_several_ways, "Open one part with --steps",
         ("--steps :3", "--steps 3:")),
)  # fmt: skip


def inspect(*arguments):
    done = CliRunner().invoke(main, ["inspect", *map(str, arguments)], env={"COLUMNS": "1000"})
    return done.exit_code, re.sub(r"\s+", " ", done.output)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.write.__name__)
def test_what_a_refusal_says_to_do_works(case, tmp_path):
    case.write(tmp_path)
    code, said = inspect(tmp_path, *case.options)
    assert (code == 2) == case.fails
    assert case.said in said
    strict = [each for each in case.options if each == "--strict"]
    for remedy in case.remedies:
        printed = re.search(remedy, said) if remedy.startswith("(") else None
        code, after = inspect(tmp_path, *strict, *shlex.split(printed[1] if printed else remedy))
        assert code == 0, after
        assert case.said not in after
