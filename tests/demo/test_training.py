"""The demo's training, watched from outside: its files, its numbers, and what it leaves alone."""

from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

from trajscope.demo import training
from trajscope.demo.digits import load_digits
from trajscope.demo.network import gradients, network
from trajscope.demo.training import BATCH, LEARNING_RATE, WARM_UP, train_demo
from trajscope.errors import OptionError

STEPS = 57  # 1,797 images in batches of 32: 56.2
KILLED = f".tmp-step-000057.safetensors-{57:032x}"  # what a demo that was killed may leave


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    directory = tmp_path_factory.mktemp("demo") / "new" / "run"
    told = []
    generator_before = np.random.get_state()[1].copy()  # noqa: NPY002 - the global one
    folder = train_demo(
        directory, epochs=2, progress=lambda done, total: told.append((done, total))
    )
    left_alone = np.array_equal(generator_before, np.random.get_state()[1])  # noqa: NPY002
    return directory, folder, told, left_alone


def contents(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_demo_writes_one_checkpoint_per_epoch_after_the_warm_up(finished):
    directory, folder, _, _ = finished
    assert folder == directory / "checkpoints"
    found = []
    for path in sorted(folder.iterdir()):
        with safe_open(path, framework="numpy") as file:
            found.append((path.name, file.metadata()))
    assert found == [
        (
            f"step-{epoch * STEPS:06d}.safetensors",
            {"step": str(epoch * STEPS), "epoch": str(epoch), "trainer": "trajscope demo"},
        )
        for epoch in range(WARM_UP, WARM_UP + 3)
    ]


def test_a_checkpoint_holds_1242_weights_and_the_batch_norm_statistics(finished):
    tensors = load_file(min(finished[1].iterdir()))
    statistics = {"bn1.running_mean", "bn1.running_var", "bn1.num_batches_tracked"}
    assert sum(tensors[name].size for name in tensors.keys() - statistics) == 1242
    assert statistics < tensors.keys()
    assert tensors["bn1.num_batches_tracked"] == WARM_UP * STEPS


def test_the_first_checkpoint_is_of_a_network_that_knows_the_digits(finished):
    w = load_file(min(finished[1].iterdir()))
    images, labels = load_digits()
    hidden = (images.reshape(-1, 64) / 8 - 1) @ w["fc1.weight"].T + w["fc1.bias"]
    hidden = (hidden - w["bn1.running_mean"]) / np.sqrt(w["bn1.running_var"] + 1e-5)
    hidden = np.maximum(hidden * w["bn1.weight"] + w["bn1.bias"], 0)
    answers = (hidden @ w["fc2.weight"].T + w["fc2.bias"]).argmax(axis=1)
    assert (answers != labels).mean() < 0.01


def as_torch(own):
    """The same network as a module of torch."""
    twin = torch.nn.Sequential(
        OrderedDict(
            fc1=torch.nn.Linear(64, 16), bn1=torch.nn.BatchNorm1d(16), relu=torch.nn.ReLU(),
            fc2=torch.nn.Linear(16, 10),
        )
    )  # fmt: skip
    # Copies: what is trained in one must not move in the other.
    twin.load_state_dict({name: torch.tensor(value) for name, value in own.state().items()})
    return twin


def test_gradients_and_statistics_are_those_of_torch():
    images, labels = load_digits()
    rng = np.random.default_rng(3)
    own = network(rng)
    own.weights |= {
        name: value + 0.3 * rng.standard_normal(value.shape).astype(np.float32)
        for name, value in own.weights.items()
    }
    twin = as_torch(own)
    for _ in range(3):
        drawn = rng.integers(len(labels), size=BATCH)
        inputs = images[drawn].reshape(-1, 64).astype(np.float32) / 8 - 1
        ours = gradients(own, inputs, labels[drawn].astype(np.intp))
        twin.zero_grad()
        answers = torch.tensor(labels[drawn].astype(np.int64))
        torch.nn.CrossEntropyLoss()(twin(torch.tensor(inputs)), answers).backward()
        for name, parameter in twin.named_parameters():
            # float32 in another order of summation.
            np.testing.assert_allclose(ours[name], parameter.grad.numpy(), rtol=1e-4, atol=2e-6)
    for name, value in own.statistics.items():
        np.testing.assert_allclose(value, twin.state_dict()[name].numpy(), rtol=1e-5, atol=1e-6)


def test_the_demo_takes_the_steps_of_plain_sgd_with_replacement(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "WARM_UP", 2)
    folder = train_demo(tmp_path, epochs=1)
    images, labels = load_digits()
    inputs = torch.tensor(images.reshape(-1, 64) / 8 - 1).float()
    answers = torch.tensor(labels.astype(np.int64))
    rng = np.random.default_rng(0)
    twin = as_torch(network(rng))
    sgd = torch.optim.SGD(twin.parameters(), lr=LEARNING_RATE)
    for _ in range(2 * STEPS):
        drawn = torch.tensor(rng.integers(len(inputs), size=BATCH))
        sgd.zero_grad()
        torch.nn.CrossEntropyLoss()(twin(inputs[drawn]), answers[drawn]).backward()
        sgd.step()
    for name, values in load_file(min(folder.iterdir())).items():
        # Both do the same float32 operations, in another order of summation.
        np.testing.assert_allclose(twin.state_dict()[name].numpy(), values, rtol=1e-3, atol=1e-4)


def test_progress_counts_every_epoch_with_the_warm_up(finished):
    assert finished[2] == [(done, WARM_UP + 2) for done in range(1, WARM_UP + 3)]


def test_the_global_generator_is_left_alone(finished):
    assert finished[3]


@pytest.mark.slow
def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(finished, tmp_path):
    expected = contents(finished[1])
    same = contents(train_demo(tmp_path, epochs=1))
    assert same == {name: expected[name] for name in same}
    other = contents(train_demo(tmp_path, seed=1, epochs=1))
    assert other.keys() == same.keys()
    assert all(other[name] != same[name] for name in same)


def test_a_former_demo_is_replaced_and_what_lies_beside_it_is_kept(finished, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    path = max(finished[1].iterdir())
    (folder / path.name).write_bytes(path.read_bytes())
    (folder / KILLED).write_bytes(b"interrupted")
    (tmp_path / "report.html").write_text("a report")
    train_demo(tmp_path, epochs=1)
    assert sorted(found.name for found in folder.iterdir()) == [
        f"step-{epoch * STEPS:06d}.safetensors" for epoch in (WARM_UP, WARM_UP + 1)
    ]
    assert (tmp_path / "report.html").read_text() == "a report"


def someone_elses_checkpoint(folder):
    save_file({"w": np.zeros(3)}, folder / "step-000057.safetensors", {"step": "57"})


def checkpoint_without_metadata(folder):
    save_file({"w": np.zeros(3)}, folder / "step-000057.safetensors")


def damaged_checkpoint(folder):
    (folder / "step-000057.safetensors").write_bytes(b"\xff" * 40)


def another_name(folder):
    (folder / "notes.txt").write_text("mine")


def link(folder):
    (folder / KILLED).symlink_to("/dev/null")


@pytest.mark.parametrize(
    "put",
    [
        someone_elses_checkpoint,
        checkpoint_without_metadata,
        damaged_checkpoint,
        another_name,
        link,
    ],
)
def test_a_folder_with_checkpoints_of_others_is_refused_and_untouched(put, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    put(folder)
    (folder / KILLED).write_bytes(b"interrupted")
    before = contents(folder)
    with pytest.raises(
        OptionError, match=r"or an earlier demo, but contains other files\. Nothing was changed"
    ):
        train_demo(tmp_path)
    assert contents(folder) == before


def test_a_directory_with_other_things_in_it_is_refused(tmp_path):
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(
        OptionError, match=r"is expected to be new, empty, or .* choose another folder\."
    ):
        train_demo(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_place_of_the_directory_is_refused_in_words(tmp_path):
    path = tmp_path / "a\x1b[31mfile"
    path.write_text("mine")
    with pytest.raises(
        OptionError, match=r"a\\u001b\[31mfile is expected to be a writable folder.*: File exists"
    ):
        train_demo(path)


def test_a_directory_that_cannot_be_made_is_refused_in_words(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(
        OptionError,
        match=r"is expected to be a writable folder.*: Not a directory\. Choose another",
    ):
        train_demo(tmp_path / "file" / "run")


def test_a_demo_without_epochs_is_refused(tmp_path):
    with pytest.raises(OptionError, match="epochs=0; at least 1 is needed"):
        train_demo(tmp_path / "run", epochs=0)
    assert not (tmp_path / "run").exists()
