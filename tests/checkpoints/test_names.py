import os
from hashlib import sha1

import pytest

from trajscope.checkpoints.names import counts_steps, filled, read_name
from trajscope.checkpoints.numbers import value_of
from trajscope.checkpoints.series import find_series
from trajscope.errors import TrajectoryError


@pytest.mark.parametrize(
    ("relative", "place", "pattern", "numbers"),
    [
        ("step-000010.safetensors", "", "step-*.safetensors", [(10, "step")]),
        ("10.safetensors", "", "*.safetensors", [(10, "")]),
        ("runs/a/model_7.pt", "runs/a", "model_*.pt", [(7, "")]),
        (
            "checkpoint-15/model.safetensors",
            "",
            "checkpoint-*/model.safetensors",
            [(15, "checkpoint")],
        ),
        ("epoch=3-step=40-v1.ckpt", "", "epoch=*-step=*.ckpt", [(3, "epoch"), (40, "step")]),
        (
            "lightning_logs/version_0/checkpoints/epoch=0-step=4.ckpt",
            "lightning_logs/version_0/checkpoints",
            "epoch=*-step=*.ckpt",
            [(0, "epoch"), (4, "step")],
        ),
        (
            "resnet18_step=100_loss=2.34.pt",
            "",
            "resnet*_step=*_loss=*.pt",
            [(18, ""), (100, "step"), (2.34, "metric")],
        ),
        ("seed_3_step_10.npz", "", "seed_3_step_*.npz", [(10, "step")]),
        ("resnet18_step_10/w.npz", "", "resnet*_step_*/w.npz", [(18, ""), (10, "step")]),
        ("epoch_00/step_10/w.npz", "", "epoch_*/step_*/w.npz", [(0, "epoch"), (10, "step")]),
        ("global_step10/w.pt", "", "global_step*/w.pt", [(10, "step")]),
        ("0010/w.npz", "", "*/w.npz", [(10, "")]),
        ("2024-11-05/step_1.npz", "2024-11-05", "step_*.npz", [(1, "step")]),
        ("100steps.npz", "", "*steps.npz", [(100, "step")]),
        ("checkpoint-3.pth.tar", "", "checkpoint-*.pth.tar", [(3, "checkpoint")]),
        ("step=-1.pt", "", "step=*.pt", [(-1, "step")]),
        ("step=3-val_loss=-0.31.pt", "", "step=*-val_loss=*.pt", [(3, "step"), (-0.31, "metric")]),
        ("step=3-lr=1e-05.pt", "", "step=*-lr=*.pt", [(3, "step"), (1e-05, "metric")]),
        ("step=3-loss=inf.pt", "", "step=*-loss=*.pt", [(3, "step"), (float("inf"), "metric")]),
        ("model_10k.pt", "", "model_*.pt", [(10_000, "")]),
        ("model_1.5M_steps.pt", "", "model_*_steps.pt", [(1_500_000, "step")]),
        ("step_1e4.pt", "", "step_*.pt", [(10_000, "step")]),
        ("tokens=2.5e9.pt", "", "tokens=*.pt", [(2.5e9, "tokens")]),
        ("s1e4.pt", "", "s*e*.pt", [(1, ""), (4, "")]),
        ("ckpt_10e4b2.pt", "", "ckpt_*e*b*.pt", [(10, "checkpoint"), (4, ""), (2, "")]),
        (
            "step1000-tokens4B/model.pt",
            "",
            "step*-tokens*/model.pt",
            [(1000, "step"), (4 * 10**9, "tokens")],
        ),
        ("step-001000-2BT/m.pt", "", "step-*-*/m.pt", [(1000, "step"), (2 * 10**9, "tokens")]),
        (
            "llm-1.1b-step-10k-token-21b/m.pt",
            "",
            "llm-*-step-*-token-*/m.pt",
            [(11 * 10**8, "tokens"), (10_000, "step"), (21 * 10**9, "tokens")],
        ),
        ("2.5T_tokens/m.pt", "", "*_tokens/m.pt", [(25 * 10**11, "tokens")]),
        ("llm-7b/step_1.pt", "llm-7b", "step_*.pt", [(1, "step")]),
        ("ep0-ba100-rank0.pt", "", "ep*-ba*-rank0.pt", [(0, "epoch"), (100, "batch")]),
        ("stage2/step_10/m.pt", "", "stage*/step_*/m.pt", [(2, "stage"), (10, "step")]),
        ("anneal/iter_0010.pt", "", "anneal/iter_*.pt", [(10, "step")]),
        ("step_3_loss_-0.3.pt", "", "step_*_loss_*.pt", [(3, "step"), (0.3, "metric")]),
        (
            "run_20260514-101530_step_5.pt",
            "",
            "run_*-*_step_*.pt",
            [(20260514, ""), (101530, ""), (5, "step")],
        ),
        ("vit4kids_nan_3e5f.pt", "", "vit*kids_nan_*e*f.pt", [(4, ""), (3, ""), (5, "")]),
    ],
)
def test_numbers_that_count_training_become_stars(relative, place, pattern, numbers):
    suffix = (
        relative[relative.rindex(".pth") :]
        if ".pth" in relative
        else relative[relative.rindex(".") :]
    )
    name = read_name(relative, suffix)
    assert (name.place, name.pattern) == (place, pattern)
    found = list(zip(name.values, (slot.kind for slot in name.slots), strict=True))
    assert found == numbers


def test_a_hash_is_no_number():
    assert read_name("model-12345678901234567890.pt", ".pt").texts == ()


def test_a_star_in_a_name_is_not_taken_for_a_number():
    name = read_name("a*_10.pt", ".pt")
    assert name.pattern.count("*") == len(name.texts) == 1


def test_numbers_can_be_written_out_again():
    assert filled(read_name("net2_step_10.pt", ".pt"), {0}) == "net2_step_*.pt"


@pytest.mark.parametrize(
    "folder", ["version_0", "seed-1", "resnet18", "2024-11-05", "run3", "logs"]
)
def test_folders_of_runs_do_not_count_steps(folder):
    assert not counts_steps(folder)


@pytest.mark.parametrize(
    ("text", "value"),
    [("007", 7), ("-3", -3), ("1e-05", 1e-5), ("10k", 10_000), ("1.5B", 1_500_000_000),
     ("2BT", 2 * 10**9), ("3T", 3 * 10**12), ("500M", 5 * 10**8), ("0.5", 0.5), ("2.0", 2.0)],
)  # fmt: skip
def test_units_are_multiplied(text, value):
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


def test_digits_of_a_hash_count_nothing(save, tmp_path):
    names = [f"{sha1(str(n).encode()).hexdigest()}.safetensors" for n in range(4)]
    for number, name in enumerate(names):
        path = save(name)
        os.utime(path, (number, number))
    with pytest.raises(TrajectoryError, match="--order mtime or --order name"):
        find_series(tmp_path)
    series = find_series(tmp_path, order="mtime")
    assert [each.relative for each in series.checkpoints] == names
    assert read_name(f"step_10_{'0a' * 20}.pt", ".pt").texts == ("10",)
    assert read_name("step_1234567890123456.pt", ".pt").texts == ()
