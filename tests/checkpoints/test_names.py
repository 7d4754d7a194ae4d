import pytest

from trajscope.checkpoints.names import Number, counts_steps, filled, read_name


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
        ("resnet18_step_10/w.npz", "", "resnet18_step_*/w.npz", [(10, "step")]),
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
    assert list(name.numbers) == [Number(value, kind) for value, kind in numbers]


def test_a_hash_is_no_number():
    assert read_name("model-12345678901234567890.pt", ".pt").numbers == ()


def test_a_star_in_a_name_is_not_taken_for_a_number():
    name = read_name("a*_10.pt", ".pt")
    assert name.pattern.count("*") == len(name.numbers) == 1


def test_numbers_can_be_written_out_again():
    assert filled(read_name("net2_step_10.pt", ".pt"), {0}) == "net2_step_*.pt"


@pytest.mark.parametrize(
    "folder", ["version_0", "seed-1", "resnet18", "2024-11-05", "run3", "logs"]
)
def test_folders_of_runs_do_not_count_steps(folder):
    assert not counts_steps(folder)
