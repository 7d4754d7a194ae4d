"""Folders named as public suites name their revisions and trainers their files."""

import json
import time
from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
import torch
import xarray as xr
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from tests.checkpoints.conftest import model
from trajscope import analyze
from trajscope.checkpoints.base import Candidate, CheckpointPart, FoundFile
from trajscope.checkpoints.likeness import Models
from trajscope.checkpoints.names import read_name
from trajscope.checkpoints.runs import find_runs
from trajscope.checkpoints.selection import Selection
from trajscope.checkpoints.series import find_series
from trajscope.cli import main
from trajscope.errors import OptionError, TrajectoryError, TrajscopeWarning
from trajscope.packing import pack
from trajscope.readers import READERS
from trajscope.readers.base import Header, TensorSpec
from trajscope.report import open_results, save_results
from trajscope.trajectory import open_selection, open_trajectory, tensor, with_buffers

BILLION = 10**9
LOG_SPACED = [0, *(2**power for power in range(10)), *range(1000, 5000, 1000)]


def write(folder, names, file="model.safetensors", seed=0):
    """A checkpoint with other weights under each of the names."""
    for count, name in enumerate(names):
        path = folder / name / file if file else folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        state = model(seed + count)
        if path.suffix == ".safetensors":
            save_file(state, path)
        else:
            torch.save({key: torch.from_numpy(each) for key, each in state.items()}, path)


def steps(opened):
    return opened["step"].values.tolist()


SUITES = {
    "Pythia": ([f"step{step}" for step in LOG_SPACED], LOG_SPACED, "step", {}),
    "OLMo 1": (
        [f"step{1000 * n}-tokens{4 * n}B" for n in range(1, 31)],
        [1000 * n for n in range(1, 31)],
        "step",
        {"tokens": [4 * n * BILLION for n in range(1, 31)]},
    ),
    "OLMo 2, tokens rounded to the same": (
        [f"stage1-step{100 * n}-tokens{n // 4}B" for n in range(12)],
        [100 * n for n in range(12)],
        "step",
        {"tokens": [n // 4 * BILLION for n in range(12)]},
    ),
    "FineWeb ablations": (
        [f"step-{1000 * n:06d}-{2 * n}BT" for n in range(1, 15)],
        [1000 * n for n in range(1, 15)],
        "step",
        {"tokens": [2 * n * BILLION for n in range(1, 15)]},
    ),
    "TinyLlama": (
        [f"tinyllama-1.1b-step-{10 * n}k-token-{21 * n}b" for n in range(1, 6)],
        [10_000 * n for n in range(1, 6)],
        "step",
        {"tokens": [21 * n * BILLION for n in range(1, 6)]},
    ),
    "TinyLlama's own names": (
        [
            "TinyLlama-1.1B-step-50K-105b",
            "TinyLlama-1.1B-intermediate-step-240k-503b",
            "TinyLlama-1.1B-intermediate-step-480k-1T",
            "TinyLlama-1.1B-intermediate-step-715k-1.5T",
            "TinyLlama-1.1B-intermediate-step-955k-token-2T",
            "TinyLlama-1.1B-intermediate-step-1195k-token-2.5T",
            "TinyLlama-1.1B-intermediate-step-1431k-3T",
        ],
        [50_000, 240_000, 480_000, 715_000, 955_000, 1_195_000, 1_431_000],
        "step",
        {"tokens": [each * BILLION for each in (105, 503, 1000, 1500, 2000, 2500, 3000)]},
    ),
    "MultiBERTs": (
        [f"multiberts-seed_0-step_{20 * n}k" for n in range(6)],
        [20_000 * n for n in range(6)],
        "step",
        {},
    ),
    "SmolLM3, steps go on": (
        [
            *(f"stage1-step-{40_000 * n}" for n in range(1, 6)),
            *(f"stage2-step-{200_000 + 40_000 * n}" for n in range(1, 3)),
            *(f"stage3-step-{280_000 + 40_000 * n}" for n in range(1, 3)),
        ],
        [40_000 * n for n in range(1, 10)],
        "step",
        {"stage": [1] * 5 + [2] * 2 + [3] * 2},
    ),
    "SmolLM3, long context at the end": (
        [
            *(f"stage1-step-{40_000 * n}" for n in range(1, 4)),
            *(f"lc-4k-to-32k-step-{4000 * n}" for n in range(1, 4)),
            *(f"lc-32k-to-64k-step-{4000 * n}" for n in range(1, 3)),
        ],
        [40_000, 80_000, 120_000, 124_000, 128_000, 132_000, 136_000, 140_000],
        "step",
        {
            "stage": ["1"] * 3 + ["lc-4k-to-32k"] * 3 + ["lc-32k-to-64k"] * 2,
            "stage_step": [40_000, 80_000, 120_000, 4000, 8000, 12_000, 4000, 8000],
        },
    ),
    "OpenCoder, steps start again": (
        [
            *(f"pretrain_iter_{1000 * n:07d}" for n in range(1, 5)),
            *(f"anneal_iter_{500 * n:07d}" for n in range(1, 4)),
        ],
        [1000, 2000, 3000, 4000, 4500, 5000, 5500],
        "step",
        {
            "stage": ["pretrain"] * 4 + ["anneal"] * 3,
            "stage_step": [1000, 2000, 3000, 4000, 500, 1000, 1500],
        },
    ),
    "LLM360 Amber": ([f"ckpt_{n:03d}" for n in range(12)], list(range(12)), "index", {}),
    "LLM360 CrystalCoder": (
        [
            *(f"CrystalCoder_phase1_checkpoint_{5000 * n:06d}" for n in range(1, 4)),
            *(f"CrystalCoder_phase2_checkpoint_{5000 * n:06d}" for n in range(4, 8)),
        ],
        [5000 * n for n in range(1, 8)],
        "step",
        {"stage": [1] * 3 + [2] * 4},
    ),
    "Apertus": (
        [f"step{50_000 * n}-tokens{n * 210}B" for n in range(1, 6)] + ["step300000-tokens1.3T"],
        [50_000 * n for n in range(1, 7)],
        "step",
        {"tokens": [210 * n * BILLION for n in range(1, 6)] + [1300 * BILLION]},
    ),
    "BLOOM": (
        [f"global_step{1000 * n}" for n in (1, 10, 100)],
        [1000, 10_000, 100_000],
        "step",
        {},
    ),
    "BabyLM": (
        [f"chck_{n}M" for n in (1, 2, 10, 100)],
        [n * 10**6 for n in (1, 2, 10, 100)],
        "step",
        {},
    ),
    "tokens alone": (
        [f"{n}b_tokens" for n in (240, 280, 320)],
        [0, 1, 2],
        "index",
        {"tokens": [n * BILLION for n in (240, 280, 320)]},
    ),
    "tokens alone, as a number": (
        ["500M", "1B", "1.5B", "2B"],
        [0, 1, 2, 3],
        "index",
        {"tokens": [n * BILLION // 2 for n in (1, 2, 3, 4)]},
    ),
}


@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
@pytest.mark.parametrize("suite", SUITES)
def test_revisions_of_a_suite_are_one_run(suite, file, tmp_path):
    names, expected, unit, coordinates = SUITES[suite]
    write(tmp_path, names, file)
    opened = open_trajectory(tmp_path)
    assert steps(opened) == expected
    assert opened.attrs["step_unit"] == unit
    assert opened.attrs["warnings"] == []
    assert opened.attrs["skipped"] == []
    own = set(opened.coords) - {
        "step", "path", "fingerprint", "tensor", "row_size", "group", "shape", "stored_dtype",
    }  # fmt: skip
    assert own == set(coordinates)
    for name, values in coordinates.items():
        assert opened[name].dims == ("step",)
        assert opened[name].values.tolist() == values
    read = tensor(opened, "fc1.bias").values
    np.testing.assert_array_equal(read, [model(n)["fc1.bias"] for n in range(len(names))])


# --- names that are mixed in one folder


def mixed(first_tokens):
    """40 names of one model, of two kinds, each with its own count of tokens."""
    return [
        *(f"step{1000 * n}-tokens{4 * n}B" for n in range(1, 21)),
        *(f"stage1-step{1000 * n}-tokens{first_tokens(n)}B" for n in range(21, 41)),
    ]


def test_mixed_names_of_one_model_are_one_run_where_steps_and_tokens_agree(tmp_path):
    write(tmp_path, mixed(lambda n: 4 * n))
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [1000 * n for n in range(1, 41)]
    assert opened["tokens"].values.tolist() == [4 * n * BILLION for n in range(1, 41)]
    assert opened.attrs["skipped"] == []
    assert any("From step 21000 on the files have other names" in text
               for text in opened.attrs["decisions"])  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        mixed(lambda n: n),
        [*mixed(lambda n: 4 * n), "stage1-step1000-tokens5B", "stage1-step2000-tokens9B"],
    ],
    ids=["tokens fall", "a step twice"],
)
def test_mixed_names_that_disagree_are_listed_and_can_be_joined(names, tmp_path):
    write(tmp_path, names)
    with pytest.raises(TrajectoryError, match=r"holds 2 runs(.|\n)*--run NAME,NAME") as error:
        open_trajectory(tmp_path)
    listed = [line.split("  (")[0].strip() for line in str(error.value).split("\n")[1:3]]
    assert len(open_trajectory(tmp_path, run=listed[1])["step"]) == 20
    both = open_trajectory(tmp_path, run=f"{listed[1]},{listed[0]}")
    assert both["step"].values[-1] == 40_000


def test_most_files_of_a_model_are_never_dropped_as_strays(tmp_path):
    names = [f"net_{'abcdefghijklmnopqrst'[n]}_{n}" for n in range(20)]
    write(tmp_path, [f"{name}.safetensors" for name in names], file="")
    write(tmp_path, ["net_z_50.safetensors", "net_z_51.safetensors"], file="")
    with pytest.raises(TrajectoryError, match=r"holds 21 runs(.|\n)*--run 'GLOB'"):
        open_trajectory(tmp_path)
    opened = open_trajectory(tmp_path, run="net_*")
    assert steps(opened) == [*range(20), 50, 51]


def test_a_few_strays_are_still_left(tmp_path):
    write(tmp_path, [*(f"step_{n}.safetensors" for n in range(1, 9)), "trial_a_7.safetensors"], "")
    opened = open_trajectory(tmp_path)
    assert steps(opened) == list(range(1, 9))
    assert [each["path"] for each in opened.attrs["skipped"]] == ["trial_a_7.safetensors"]


# --- stages and branches

BRANCHED = [
    *(f"stage1-step{1000 * n}-tokens{4 * n}B" for n in range(1, 6)),
    *(
        f"stage2-ingredient{k}-step{1000 * n}-tokens{4 * n}B"
        for k in (1, 2, 3)
        for n in range(1, 4)
    ),
]


def test_the_trunk_is_opened_and_the_branches_are_named(tmp_path):
    write(tmp_path, BRANCHED)
    with pytest.warns(TrajscopeWarning, match="3 branches of this run are left out") as told:
        trunk = open_trajectory(tmp_path)
    assert steps(trunk) == [1000, 2000, 3000, 4000, 5000]
    assert trunk["tokens"].values.tolist() == [4 * n * BILLION for n in range(1, 6)]
    remedy = str(told[0].message).split("--run '")[1].split("'")[0]
    whole = open_trajectory(tmp_path, run=remedy)
    assert steps(whole) == [1000 * n for n in range(1, 9)]
    assert whole["stage"].values.tolist() == [1] * 5 + [2] * 3
    assert whole["stage_step"].values.tolist() == [1000, 2000, 3000, 4000, 5000, 1000, 2000, 3000]
    expected = [model(n)["fc1.bias"] for n in range(8)]
    np.testing.assert_array_equal(tensor(whole, "fc1.bias").values, expected)


@pytest.mark.parametrize("run", ["stage1-*,stage2-ingredient2-*", "stage[1]*,*ingredient2*"])
def test_globs_join_a_trunk_and_a_branch(run, tmp_path):
    write(tmp_path, BRANCHED)
    whole = open_trajectory(tmp_path, run=run)
    assert steps(whole) == [1000 * n for n in range(1, 9)]
    expected = [model(n)["fc1.bias"] for n in (0, 1, 2, 3, 4, 8, 9, 10)]
    np.testing.assert_array_equal(tensor(whole, "fc1.bias").values, expected)


def test_two_branches_are_not_joined(tmp_path):
    write(tmp_path, BRANCHED)
    with pytest.raises(TrajectoryError, match=r"Two parts are the stage 2.*Select one with --run"):
        open_trajectory(tmp_path, run="stage*")


def test_branches_of_one_checkpoint_each_are_branches(tmp_path):
    last = [f"stage2-ingredient{k}-step{step}-tokens50B" for k, step in ((1, 119), (2, 118))]
    write(tmp_path, [*BRANCHED[:5], *last])
    with pytest.warns(TrajscopeWarning, match="2 branches of this run are left out") as told:
        assert len(open_trajectory(tmp_path)["step"]) == 5
    remedy = str(told[0].message).split("--run '")[1].split("'")[0]
    assert steps(open_trajectory(tmp_path, run=remedy))[-1] == 5119


def test_one_branch_alone_is_the_second_stage(tmp_path):
    write(tmp_path, BRANCHED[:8])
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [1000 * n for n in range(1, 9)]
    assert opened.attrs["warnings"] == []
    assert any("start again in stage 2" in text
               for text in opened.attrs["decisions"])  # fmt: skip


def test_what_follows_branches_is_no_part_of_the_trunk(tmp_path):
    write(tmp_path, [*BRANCHED, "stage3-step1000-tokens4B", "stage3-step2000-tokens8B"])
    with pytest.warns(TrajscopeWarning, match="4 branches of this run are left out"):
        assert len(open_trajectory(tmp_path)["step"]) == 5


@pytest.mark.parametrize(
    ("first", "second"),
    [("stage1/step{}", "stage2/step{}"), ("pretrain/iter_{}", "anneal/iter_{}"),
     ("phase_1/checkpoint-{}", "phase_2/checkpoint-{}"), ("st/stage1/{}", "st/stage2/{}")],
)  # fmt: skip
def test_stages_in_folders_of_their_own(first, second, tmp_path):
    write(tmp_path, [*(first.format(100 * n) for n in range(1, 4)),
                     *(second.format(50 * n) for n in range(1, 3))])  # fmt: skip
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [100, 200, 300, 350, 400]
    assert len(set(opened["stage"].values.tolist())) == 2
    assert opened["stage_step"].values.tolist() == [100, 200, 300, 50, 100]


def test_a_stage_that_leaves_before_the_end_replaces_what_came_after(tmp_path):
    write(tmp_path, [*(f"stage1-step{100 * n}" for n in range(1, 11)),
                     *(f"stage2-step{100 * n}" for n in (8, 9, 10, 11))])  # fmt: skip
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [100 * n for n in range(1, 12)]
    assert opened["stage"].values.tolist() == [1] * 7 + [2] * 4
    assert len(opened.attrs["skipped"]) == 3


# --- runs joined by name


def save_runs(folder, runs, pattern="{}/checkpoints/epoch=0-step={}.ckpt"):
    """Runs of given steps; every checkpoint is filled with a number of its own."""
    count = 0
    for name, own in runs.items():
        for step in own:
            path = folder / pattern.format(name, step)
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.save({"w": torch.full((3,), float(count))}, path)
            count += 1


RESUMED = {"version_0": [10, 20, 30], "version_1": [30, 40], "version_10": [40, 50, 60]}


@pytest.mark.parametrize(
    "run",
    ["version_*", "version_0,version_1,version_10", "version_0/checkpoints,version_1*",
     "*/checkpoints", "version_?,version_10/"],
)  # fmt: skip
def test_resumed_runs_are_joined_and_the_later_part_replaces(run, tmp_path):
    save_runs(tmp_path, RESUMED)
    opened = open_trajectory(tmp_path, run=run)
    assert steps(opened) == [10, 20, 30, 40, 50, 60]
    assert opened["weights"].values[:, 0].tolist() == [0, 1, 3, 5, 6, 7]
    assert opened.attrs["selection"]["run"] == run
    assert opened.attrs["run"] == run
    assert len(opened.attrs["skipped"]) == 2
    joined = next(text for text in opened.attrs["decisions"] if text.startswith("Joined"))
    assert joined.index("version_1/") < joined.index("version_10/")


def test_a_run_that_was_left_is_not_mixed_with_the_one_that_was_resumed(tmp_path):
    save_runs(tmp_path, {"a": [100, 200, 300, 400], "b": [250, 350, 450]}, "{}/step_{}.pt")
    opened = open_trajectory(tmp_path, run="a,b")
    assert steps(opened) == [100, 200, 250, 350, 450]
    assert any("b/step_250.pt continues" in text for text in opened.attrs["decisions"])


def test_a_glob_of_one_run_is_its_name_and_an_exact_name_wins(tmp_path):
    save_runs(tmp_path, RESUMED)
    assert steps(open_trajectory(tmp_path, run="*_10")) == [40, 50, 60]
    assert steps(open_trajectory(tmp_path, run="version_1")) == [30, 40]
    save_runs(tmp_path, {"odd,name": [1, 2], "odd": [5, 6]}, "{}/step_{}.pt")
    assert steps(open_trajectory(tmp_path, run="odd,name")) == [1, 2]


def test_positions_go_on_counting(tmp_path):
    save_runs(tmp_path, {"a": [0, 1, 2], "b": [0, 1]}, "{}/model_{}.pt")
    opened = open_trajectory(tmp_path, run="a,b")
    assert steps(opened) == [0, 1, 2, 3, 4]
    assert opened["weights"].values[:, 0].tolist() == [0, 1, 2, 3, 4]
    assert opened.attrs["step_unit"] == "index"


def test_numbers_that_go_on_in_the_next_run_are_positions_still(tmp_path):
    save_runs(tmp_path, {"a": [0, 1, 2], "b": [3, 4]}, "{}/model_{}.pt")
    opened = open_trajectory(tmp_path, run="?")
    assert (steps(opened), opened.attrs["step_unit"]) == ([0, 1, 2, 3, 4], "index")


def test_parts_that_count_different_things_are_refused(tmp_path):
    save_runs(tmp_path, {"a": [10, 20]}, "{}/step_{}.pt")
    save_runs(tmp_path, {"b": [1, 2]}, "{}/epoch_{}.pt")
    with pytest.raises(TrajectoryError, match=r"expected to count the same; found .*step .*epoch"):
        open_trajectory(tmp_path, run="a,b")
    assert len(open_trajectory(tmp_path, run="a,b", order="name")["step"]) == 4


@pytest.mark.parametrize("run", ["nothing*", "version_0,nothing", "version_", "", ","])
def test_a_name_or_glob_that_matches_nothing_is_refused(run, tmp_path):
    save_runs(tmp_path, RESUMED)
    with pytest.raises(OptionError, match=r"No run named .*\n  version_0/checkpoints"):
        open_trajectory(tmp_path, run=run)


def test_a_folder_of_several_runs_is_refused_with_what_joins_them(tmp_path):
    save_runs(tmp_path, {"a": [1, 2], "b": [3, 4]}, "exp/{}/step_{}.pt")
    save_runs(tmp_path, {"c": [1, 2]}, "{}/step_{}.pt")
    with pytest.raises(OptionError, match=r"'exp' holds 2 runs(.|\n)*--run 'exp/\*'"):
        open_trajectory(tmp_path, run="exp")
    assert steps(open_trajectory(tmp_path, run="exp/*")) == [1, 2, 3, 4]


def test_parts_of_different_models_are_refused(tmp_path):
    save_runs(tmp_path, {"a": [1, 2]}, "{}/step_{}.pt")
    for step in (3, 4):
        path = tmp_path / f"b/step_{step}.pt"
        path.parent.mkdir(exist_ok=True)
        torch.save({"other": torch.ones(7)}, path)
    with pytest.raises(TrajectoryError, match="different tensors"):
        open_trajectory(tmp_path, run="a,b")


# --- runs that change on the way


def renamed(state, how):
    return {how(name): values for name, values in state.items()}


LAYERS = {
    f"model.layers.{n}.{name}": shape
    for n in range(3)
    for name, shape in {"attn.q.weight": (4, 4), "attn.k.weight": (4, 4), "mlp.weight": (4, 6),
                        "norm.weight": (4,), "norm.bias": (4,)}.items()
}  # fmt: skip


def layered(seed):
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype("f4") for name, shape in LAYERS.items()}


RENAMES = {
    "another prefix": lambda name: name.replace("model.layers", "transformer.h"),
    "no prefix": lambda name: name.replace("model.", ""),
    "DDP": lambda name: f"module.{name}",
    "gamma and beta": lambda name: name.replace("norm.weight", "norm.gamma").replace(
        "norm.bias", "norm.beta"
    ),
    "other names of modules": lambda name: name.replace("mlp", "ffn").replace("model.", "net."),
}


@pytest.mark.parametrize("how", RENAMES.values(), ids=RENAMES)
@pytest.mark.parametrize("split", [2, 3, 5])
@pytest.mark.parametrize("change", ["bin to safetensors", "the names alone", "nested"])
def test_layers_that_get_other_names_stay_the_same_tensors(how, split, change, tmp_path):
    for step in range(6):
        state = layered(step)
        state = renamed(state, how) if step >= split else state
        folder = tmp_path / f"step_{step * 10}"
        folder.mkdir()
        tensors = {name: torch.from_numpy(values) for name, values in state.items()}
        if step >= split or change == "the names alone":
            save_file(state, folder / "model.safetensors")
        elif change == "nested":
            moments = {"state": {0: {"exp_avg": torch.ones(4, 4)}}}
            torch.save({"model": tensors, "optimizer": moments}, folder / "pytorch_model.bin")
        else:
            torch.save(tensors, folder / "pytorch_model.bin")
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [0, 10, 20, 30, 40, 50]
    assert opened.attrs["warnings"] == []
    assert len(opened["tensor"]) == len(LAYERS)
    names = opened["tensor"].values.tolist()
    own = list(LAYERS) if set(names) == set(LAYERS) else [how(name) for name in LAYERS]
    own = [name.removeprefix("module.") for name in own]
    for name, original in zip(own, LAYERS, strict=True):
        expected = [layered(step)[original] for step in range(6)]
        np.testing.assert_array_equal(tensor(opened, name).values, expected)
    said = " ".join(opened.attrs["decisions"])
    if change != "the names alone":
        assert f"From step {split * 10} on the files are in another format: safetensors" in said
    if "module." not in how("x"):
        assert "have other names" in said


def test_tensors_that_cannot_be_told_apart_are_refused(tmp_path):
    for step in range(6):
        names = "abc" if step < 3 else "xyz"
        tensors = {f"{name}.weight": np.full((2, 2), step, "f4") for name in names}
        save_file(tensors, tmp_path / f"step_{step}.safetensors")
    with pytest.raises(TrajectoryError, match=r"step_3.*which is which cannot be said.*--steps"):
        open_trajectory(tmp_path)
    assert steps(open_trajectory(tmp_path, steps=":3")) == [0, 1, 2]


def test_the_order_of_the_model_tells_tensors_apart(tmp_path):
    for step in range(4):
        names = ("first", "second", "last") if step < 2 else ("one", "two", "three")
        tensors = {f"{n}.w": torch.full((2, 2), 10.0 * step + k) for k, n in enumerate(names)}
        torch.save(tensors, tmp_path / f"step_{step}.pt")
    opened = open_trajectory(tmp_path)
    assert tensor(opened, "second.w").values[:, 0, 0].tolist() == [1, 11, 21, 31]


def test_a_head_of_another_task_is_not_the_old_one(tmp_path):
    for step in range(4):
        state = {f"body.{n}.weight": np.full((3, 3), step, "f4") for n in range(4)}
        state["head_a.weight" if step < 2 else "head_b.weight"] = np.full(2, step, "f4")
        save_file(state, tmp_path / f"step_{step}.safetensors")
    with pytest.warns(TrajscopeWarning, match="left out"):
        opened = open_trajectory(tmp_path)
    assert len(opened["tensor"]) == 4


def test_a_resized_vocabulary_leaves_one_run(tmp_path):
    for step in range(1, 7):
        rows = 2 if step < 4 else 3
        state = {**model(step), "embed.weight": np.full((rows, 1), step, "f4")}
        name = f"step_{step}.safetensors" if step < 4 else f"resized_step_{step}.safetensors"
        save_file(state, tmp_path / name)
    with pytest.warns(TrajscopeWarning, match=r"'embed.weight' is left out: shape \(\d, 1\)"):
        opened = open_trajectory(tmp_path)
    assert steps(opened) == [1, 2, 3, 4, 5, 6]
    assert any("From step 4 on the files have other names" in text
               for text in opened.attrs["decisions"])  # fmt: skip


def test_a_run_of_which_some_were_converted_is_one(tmp_path):
    write(tmp_path, [f"step{n}" for n in range(8)], "pytorch_model.bin")
    for n in (2, 5):
        write(tmp_path, [f"step{n}"], "model.safetensors", seed=n)
    (tmp_path / "step5/pytorch_model.bin").unlink()
    opened = open_trajectory(tmp_path)
    assert steps(opened) == list(range(8))
    expected = [model(n)["fc1.bias"] for n in range(8)]
    np.testing.assert_array_equal(tensor(opened, "fc1.bias").values, expected)


@pytest.mark.parametrize("number", ["step_{}", "model_{}", "{}"])
def test_a_flat_run_that_changes_its_format_is_one(number, tmp_path):
    names = [*(f"{number.format(n)}.pt" for n in range(4)),
             *(f"{number.format(n)}.safetensors" for n in range(4, 7))]  # fmt: skip
    write(tmp_path, names, file="")
    opened = open_trajectory(tmp_path)
    assert steps(opened) == list(range(7))
    assert opened.attrs["format"] == "safetensors, torch archive"
    expected = [model(n)["fc1.bias"] for n in range(7)]
    np.testing.assert_array_equal(tensor(opened, "fc1.bias").values, expected)


def test_both_formats_of_every_checkpoint_are_read_once(tmp_path):
    folders = [f"step{1000 * n}" for n in range(4)]
    write(tmp_path, folders, "pytorch_model.bin")
    write(tmp_path, folders, "model.safetensors")
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [0, 1000, 2000, 3000]
    assert opened.attrs["format"] == "safetensors"
    assert len(opened.attrs["skipped"]) == 4
    assert "in another format, according to its name" in opened.attrs["skipped"][0]["reason"]


def test_two_models_in_two_formats_beside_one_another_stay_apart(tmp_path):
    folders = [f"step{1000 * n}" for n in range(4)]
    write(tmp_path, folders, "generator.pt")
    write(tmp_path, folders, "critic.safetensors")
    with pytest.raises(TrajectoryError, match="holds 2 runs"):
        open_trajectory(tmp_path)


# --- files as trainers name them

TRAINERS = {
    "Composer": (
        [f"ep{n // 3}-ba{100 * n}-rank0.pt" for n in range(7)],
        [100 * n for n in range(7)],
        "step",
        {"epoch": [n // 3 for n in range(7)]},
    ),
    "torchtune, a checkpoint for each epoch": (
        [f"epoch_{n}/model.safetensors" for n in range(4)], [0, 1, 2, 3], "epoch", {}
    ),
    "torchtune, by steps": (
        [f"step_{n}/model.safetensors" for n in (50, 100, 150)], [50, 100, 150], "step", {}
    ),
    "Lightning": (
        [f"epoch={n}-step={90 * n + 90}.ckpt" for n in range(4)],
        [90, 180, 270, 360],
        "step",
        {"epoch": [0, 1, 2, 3]},
    ),
    "fairseq": (
        ["checkpoint_1_500.pt", "checkpoint_1_1000.pt", "checkpoint_2_1500.pt"],
        [500, 1000, 1500],
        "step",
        {"checkpoint": [1, 1, 2]},
    ),
    "NeMo": (
        [f"gpt--val_loss={8.5 - n}-step={n}00-consumed_samples={n}25600.0.ckpt" for n in (1, 2, 3)],
        [100, 200, 300],
        "step",
        {"samples": [125_600, 225_600, 325_600]},
    ),
    "a checkpoint counted in epochs too": (
        [f"ckpt_{1000 * n}_epoch_{n // 2}.pt" for n in range(1, 6)],
        [1000 * n for n in range(1, 6)],
        "step",
        {"epoch": [n // 2 for n in range(1, 6)]},
    ),
    "metrics of every kind": (
        ["s_step=10_loss=2.31_acc=0.5.pt", "s_step=20_loss=-0.4_acc=0.5.pt",
         "s_step=30_loss=nan_acc=1e-05.pt", "s_step=40_loss=1.5e+01_acc=0.25.pt"],
        [10, 20, 30, 40],
        "step",
        {},
    ),
    "thousands and millions": (
        ["model_500k.pt", "model_1M.pt", "model_1.5M.pt"], [500_000, 10**6, 1_500_000], "step", {}
    ),
    "samples": (
        [f"step_{n}_seen_{256 * n}_samples.pt" for n in (1, 2, 4)],
        [1, 2, 4],
        "step",
        {"samples": [256, 512, 1024]},
    ),
    "a name that trajectories have": (
        [f"path_{n}_group_{2 * n}_step_{n}.pt" for n in (1, 2, 4)],
        [1, 2, 4],
        "step",
        {"path_2": [1, 2, 4], "group_2": [2, 4, 8]},
    ),
}  # fmt: skip


@pytest.mark.parametrize("trainer", TRAINERS)
def test_files_of_a_trainer_are_one_run(trainer, tmp_path):
    names, expected, unit, coordinates = TRAINERS[trainer]
    write(tmp_path, names, file="")
    series = find_series(tmp_path)
    assert [checkpoint.step for checkpoint in series.checkpoints] == expected
    assert series.step_unit == unit
    assert series.skipped == ()
    columns = zip(*(checkpoint.counts for checkpoint in series.checkpoints), strict=True)
    found = dict(zip(series.coordinates, map(list, columns), strict=True))
    assert found == coordinates


@pytest.mark.parametrize(
    "names", [["epoch_{}/hf_model_0001_{}.pt", "epoch_{}/hf_model_0002_{}.pt"],
              ["hf_model_0001_{}.pt", "hf_model_0002_{}.pt"],
              ["epoch_{}/hf_model_0001.safetensors", "epoch_{}/hf_model_0002.safetensors"],
              ["epoch_{}/ft-model-00001-of-00002.safetensors",
               "epoch_{}/ft-model-00002-of-00002.safetensors"]]
)  # fmt: skip
def test_the_shards_of_torchtune_are_one_checkpoint(names, tmp_path):
    for epoch in range(3):
        for shard, name in enumerate(names):
            path = tmp_path / name.format(epoch, epoch)
            path.parent.mkdir(exist_ok=True)
            state = {f"layer.{shard}.weight": torch.full((2, 2), 10.0 * epoch + shard)}
            if path.suffix == ".pt":
                torch.save(state, path)
            else:
                save_file({key: each.numpy() for key, each in state.items()}, path)
    (tmp_path / "recipe_state").mkdir()
    torch.save({"optimizer": {}, "epochs_run": 3}, tmp_path / "recipe_state/recipe_state.pt")
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [0, 1, 2]
    assert opened.attrs["step_unit"] == ("epoch" if "epoch" in names[0] else "index")
    assert tensor(opened, "layer.1.weight").values[:, 0, 0].tolist() == [1, 11, 21]
    assert any("consists of several files" in text for text in opened.attrs["decisions"])
    path.unlink()
    with pytest.warns(TrajscopeWarning, match="1 of 3 checkpoints cannot be read"):
        assert steps(open_trajectory(tmp_path)) == [0, 1]


def test_seeds_of_a_suite_are_runs_and_the_final_model_is_none(tmp_path):
    for seed in range(2):
        names = [f"multiberts-seed_{seed}-step_{20 * n}k" for n in range(4)]
        write(tmp_path, names, "pytorch_model.bin")
        write(tmp_path, [f"multiberts-seed_{seed}"], "pytorch_model.bin")
    with pytest.raises(TrajectoryError, match=r"holds 2 runs(.|\n)*multiberts-seed_1-step_\*"):
        open_trajectory(tmp_path)
    opened = open_trajectory(tmp_path, run="*seed_1*")
    assert steps(opened) == [0, 20_000, 40_000, 60_000]
    reasons = {each["path"]: each["reason"] for each in opened.attrs["skipped"]}
    assert "not part of a series" in reasons["multiberts-seed_1/pytorch_model.bin"]


def test_the_newest_revision_and_pull_requests_are_no_checkpoints(tmp_path):
    write(tmp_path, [*(f"step{1000 * n}" for n in range(5)), "main", "refs/pr/1", "refs/pr/2"])
    opened = open_trajectory(tmp_path)
    assert steps(opened) == [0, 1000, 2000, 3000, 4000]
    reasons = {each["path"]: each["reason"] for each in opened.attrs["skipped"]}
    assert reasons["main/model.safetensors"].startswith("an alias of another checkpoint")
    assert reasons["refs/pr/1/model.safetensors"].startswith("a pull request")


def test_a_revision_may_contain_slashes(tmp_path):
    write(tmp_path, [f"checkpoints/step/{1000 * n}" for n in range(1, 4)])
    assert steps(open_trajectory(tmp_path)) == [1000, 2000, 3000]


def test_weights_of_another_framework_are_no_part_of_the_checkpoint(tmp_path):
    h5py = pytest.importorskip("h5py")
    for step in (10, 20):
        write(tmp_path, [f"step_{step}"], "pytorch_model.bin", seed=step)
        with h5py.File(tmp_path / f"step_{step}/tf_model.h5", "w") as file:
            file["dense/kernel"] = np.ones((3, 4), "f4")
    opened = open_trajectory(tmp_path)
    assert sorted(opened["tensor"].values.tolist()) == sorted(model())
    assert len(opened.attrs["skipped"]) == 2


# --- whatever the pattern, one run of rising numbers

CLOCK_WORDS = ["tokens", "samples", "epoch", "batch", "checkpoint", "ckpt", "images", "x", ""]


@st.composite
def rising_names(draw):
    """Names of one run: its steps, other counts that rise with them, and constants."""
    steps_ = sorted(draw(st.sets(st.integers(0, 10**7), min_size=3, max_size=8)))
    words = draw(st.lists(st.sampled_from(CLOCK_WORDS), max_size=3))
    columns = []
    for word in words:
        slope = draw(st.sampled_from([1e-6, 1e-3, 0.5, 3, 2048]))
        unit = draw(st.sampled_from(["", "B"])) if word == "tokens" and slope < 100 else ""
        columns.append([f"{word}{int(slope * step)}{unit}" for step in steps_])
    word = draw(st.sampled_from(["step", "steps_", "step=", "iter_", "global_step", "iteration-"]))
    pad = draw(st.sampled_from([0, 8]))
    columns.append([f"{word}{step:0{pad}d}" for step in steps_])
    constant = draw(st.sampled_from(["llama-7b", "resnet18", "v2", "seed_3", "net", "1.1B"]))
    columns.append([constant] * len(steps_))
    if draw(st.booleans()):
        columns.append([f"loss={draw(st.floats(-9, 9)):.3f}" for _ in steps_])
    if draw(st.booleans()):
        clock = draw(st.permutations(range(len(steps_))))
        columns.append([f"20260514-1015{each:02d}" for each in clock])
    columns = draw(st.permutations(columns))
    separator = draw(st.sampled_from(["-", "_", "--"]))
    return steps_, [separator.join(parts) for parts in zip(*columns, strict=True)]


@settings(max_examples=150, deadline=None)
@given(rising_names(), st.booleans())
def test_any_names_of_rising_numbers_are_one_run_with_the_true_steps(names, in_folders):
    true_steps, written = names
    found = [
        candidate(f"{name}/model.safetensors" if in_folders else f"{name}.safetensors")
        for name in written
    ]
    runs, skipped = find_runs(found, Path("/run"), Models())
    assert not skipped
    assert len(runs) == 1
    (segment,) = runs[0].segments
    told = {each.relative: step for each, step in zip(
        segment.candidates, segment.sources[0].values, strict=True)}  # fmt: skip
    assert [told[each.relative] for each in found] == true_steps
    assert segment.sources[0].unit == "step"


def candidate(relative):
    """A candidate with one tensor; no file is needed."""
    path = Path("/run") / relative
    file = FoundFile(path, relative, 8, 0, (0, crc32(relative.encode())))
    part = CheckpointPart(file, READERS[0], HEADER)
    return Candidate(path, relative, read_name(relative, ".safetensors"), (part,))


HEADER = Header({"w": TensorSpec((2,), "float32", 0)})


@pytest.mark.parametrize("pattern", ["step-{n}", "stage1-step{n}000-tokens{n}B/model"])
@pytest.mark.timeout(20)
def test_many_names_are_sorted_out_by_pattern(pattern):
    found = [candidate(f"{pattern.format(n=n)}.safetensors") for n in range(20_000)]
    started = time.perf_counter()
    runs, _ = find_runs(found, Path("/run"), Models())
    assert [run.readable for run in runs] == [20_000]
    assert time.perf_counter() - started < 5  # 0.5 s on an idle core


# --- the coordinates go with the trajectory


def test_coordinates_are_selected_with_the_steps(tmp_path):
    write(tmp_path, [f"step{100 * n}-tokens{n}B" for n in range(1, 7)])
    opened = open_trajectory(tmp_path)
    assert opened.isel(step=[1, 3])["tokens"].values.tolist() == [2 * BILLION, 4 * BILLION]
    assert opened.sel(step=300)["tokens"].item() == 3 * BILLION
    part = open_trajectory(tmp_path, steps="200:500", burn_in=1)
    assert part["tokens"].values.tolist() == [3 * BILLION, 4 * BILLION]
    again = open_selection(tmp_path, Selection.of(part.attrs["selection"]))
    xr.testing.assert_identical(again["tokens"], part["tokens"])
    assert with_buffers(part)["tokens"].values.tolist() == [3 * BILLION, 4 * BILLION]


def test_coordinates_go_into_a_packed_store_and_come_back(tmp_path):
    names, _, _, coordinates = SUITES["OpenCoder, steps start again"]
    write(tmp_path / "run", names)
    out = pack(tmp_path / "run", tmp_path / "run.zarr")
    opened, before = open_trajectory(out), open_trajectory(tmp_path / "run")
    for name in coordinates:
        xr.testing.assert_identical(opened[name].variable, before[name].variable)
    assert opened.attrs["left_out"] == []
    assert sorted(opened["tensor"].values) == sorted(model())
    with xr.open_zarr(out, consolidated=False) as dataset:
        assert dataset.sizes["step"] == len(names)


def test_a_tensor_called_like_the_coordinates_is_packed_too(tmp_path):
    for n in (1, 2, 3):
        state = {"coordinates/tokens": np.full(3, n, "f4"), "tokens": np.full((2, 2), n, "f4")}
        save_file(state, tmp_path / f"step{n}-tokens{n}B.safetensors")
    opened = open_trajectory(pack(tmp_path, tmp_path / "out/run.zarr"))
    assert opened["tokens"].values.tolist() == [BILLION, 2 * BILLION, 3 * BILLION]
    assert sorted(opened["tensor"].values) == ["coordinates/tokens", "tokens"]


def test_inspect_shows_what_is_counted(tmp_path):
    write(tmp_path, SUITES["SmolLM3, long context at the end"][0])
    shown = CliRunner().invoke(main, ["inspect", str(tmp_path)])
    assert shown.exit_code == 0
    assert "stage 1, lc-4k-to-32k, lc-32k-to-64k; stage_step 4000 to 120000" in " ".join(
        shown.output.split()
    )
    told = json.loads(CliRunner().invoke(main, ["inspect", str(tmp_path), "--json"]).output)
    assert told["coordinates"]["stage"][-1] == "lc-32k-to-64k"
    assert told["coordinates"]["stage_step"][0] == 40_000


def test_a_result_keeps_the_coordinates(tmp_path):
    names = [f"stage{1 + n // 8}-step{100 * n}-tokens{n}B" for n in range(16)]
    write(tmp_path / "run", names)
    result = analyze(tmp_path / "run", n_surrogates=199, windows=2)
    save_results(result, tmp_path / "results.zarr")
    kept = open_results(tmp_path / "results.zarr")
    assert kept["trajectory"]["tokens"].values.tolist() == [n * BILLION for n in range(16)]
    assert kept["trajectory"]["stage"].values.tolist() == [1] * 8 + [2] * 8
    assert kept["cases/2/trajectory"]["stage"].values.tolist() == [2] * 8


@pytest.mark.parametrize(
    "names",
    [
        [*(f"stable_step_{100 * n}" for n in (1, 2, 3)),
         *(f"decay_from_200_step_{10 * n}" for n in (1, 2))],
        [f"lr{rate}_step{n}" for rate in ("1e-3", "1e-4") for n in (1, 2, 3)],
        [f"wd{decay}_step{n}" for decay in ("0.1", "0.01") for n in (1, 2, 3)],
        [f"bs{size}_step{n}" for size in (32, 64) for n in (1, 2, 3)],
        ["net1_step10", "net2_step10"],
        [f"seed{seed}_step{10 * seed + n}" for seed in (1, 2) for n in (1, 2)],
    ],
    ids=["both begin near 0", "learning rates", "decimals", "sizes", "one step", "seeds"],
)  # fmt: skip
def test_experiments_beside_one_another_are_never_mixed(names):
    found = [candidate(f"{name}/model.safetensors") for name in names]
    runs, skipped = find_runs(found, Path("/run"), Models())
    assert len(runs) == 2
    assert not skipped


def test_a_name_that_is_a_number_and_one_without_any_are_no_family():
    found = [candidate(f"{name}.safetensors") for name in ("00", "10", "0100000000000000")]
    (run,), (skipped,) = find_runs(found, Path("/run"), Models())
    assert run.readable == 2
    assert skipped.path == "0100000000000000.safetensors"


def test_folders_above_may_be_left_out_of_what_run_names(tmp_path):
    for version, first in ((0, 0), (1, 3), (2, 6)):
        folder = f"logs/version_{version}/checkpoints"
        write(tmp_path, [f"{folder}/step={n}" for n in range(first, first + 3)])
    assert steps(open_trajectory(tmp_path, run="version_*")) == list(range(9))
    assert steps(open_trajectory(tmp_path, run="version_0,version_2")) == [0, 1, 2, 6, 7, 8]


def test_a_folder_that_says_what_its_file_says_adds_no_coordinate(tmp_path):
    write(tmp_path, [f"ep{n // 2}-ba{5 * n}/ep{n // 2}-ba{5 * n}-rank0" for n in range(6)])
    assert find_series(tmp_path).coordinates == ("epoch",)


def test_epochs_that_start_again_at_0_go_on_behind_the_last(tmp_path):
    write(tmp_path, [f"phase{phase}-epoch{n}" for phase in (1, 2) for n in range(3)])
    assert [each.step for each in find_series(tmp_path, strict=True).checkpoints] == list(range(6))


def test_tiny_losses_and_long_numbers_with_a_letter_are_read(tmp_path):
    write(tmp_path / "a", [f"step{n}-loss={x}" for n, x in enumerate(("0", "4.04e-129", "1.5"))])
    assert [each.step for each in find_series(tmp_path / "a").checkpoints] == [0, 1, 2]
    write(tmp_path / "b", [f"step{n}999999999999T" for n in (1, 2)])
    assert steps(open_trajectory(tmp_path / "b")) == [1999999999999, 2999999999999]


@pytest.mark.parametrize("starts", [(6000,), (6000, 9000), (6000, 12000)])
def test_stages_that_leave_a_run_which_goes_on_are_its_branches(starts, tmp_path):
    own = list(range(1000, 13000, 1000))
    write(tmp_path, [f"step{step}.safetensors" for step in own], "")
    branch = "cooldown-from-{}-step{}.safetensors".format
    for start in starts:
        write(tmp_path, [branch(start, start + more) for more in (200, 400)], "")
    series = find_series(tmp_path)
    assert [each.step for each in series.checkpoints] == own
    assert any("cooldown-from-6000" in each.path for each in series.skipped)
    joined = find_series(tmp_path, run="step*.safetensors,cooldown-from-6000-step*.safetensors")
    assert [each.step for each in joined.checkpoints] == [*own[:6], 6200, 6400]
