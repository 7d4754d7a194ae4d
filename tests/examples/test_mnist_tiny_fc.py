"""The MNIST example on a made-up, tiny IDX folder."""

import gzip
import importlib.util
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import trajscope
from tests.examples.idx import EXAMPLES, write_folder

SCRIPT = EXAMPLES / "mnist_tiny_fc.py"
IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("mnist_tiny_fc", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def digits():
    """Random images with the labels 0, 1, ..., 9, 0, 1, ...: half of them below five."""
    images = np.random.default_rng(0).integers(0, 256, (1200, 28, 28), dtype=np.uint8)
    return images, (np.arange(1200) % 10).astype(np.uint8)


def test_the_script_trains_and_leaves_one_checkpoint_per_epoch(tmp_path, digits):
    write_folder(tmp_path / "data", *digits, packed=True)
    command = [sys.executable, SCRIPT, "--out", "run", "--anneal", "1", "--epochs", "3"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env={"MNIST_DIR": "data", "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "epoch 4/4  loss" in done.stdout
    assert done.stdout.endswith("Next: trajscope analyze run --burn-in 25%\n")

    found = []
    for path in sorted((tmp_path / "run").iterdir()):
        with safe_open(path, framework="numpy") as file:
            found.append((path.name, file.metadata()))
    # 600 images of five digits, in batches of 500: two steps per epoch.
    assert found == [
        (f"step-{2 * epoch:07d}.safetensors", {"step": str(2 * epoch), "epoch": str(epoch)})
        for epoch in range(5)
    ]
    tensors = load_file(tmp_path / "run" / "step-0000008.safetensors")
    weights = [name for name in tensors if not name.startswith(("1.running", "1.num"))]
    assert sum(tensors[name].size for name in weights) == 917


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("subfolder", ["", "raw"])
def test_images_are_means_of_four_by_four_pixels_of_five_digits(
    example, digits, tmp_path, packed, subfolder
):
    images, labels = digits
    write_folder(tmp_path / subfolder, images, labels, packed=packed)
    found, answers = example.load_images(tmp_path)

    kept = [image for image, label in zip(images, labels, strict=True) if label < 5]
    pooled = np.array(
        [
            [image[i : i + 4, j : j + 4].mean() for i in range(0, 28, 4) for j in range(0, 28, 4)]
            for image in kept
        ]
    )
    expected = (pooled - pooled.mean()) / pooled.std()
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)  # float32
    assert answers.tolist() == [label for label in labels if label < 5]


def test_no_more_than_30000_images_are_kept(example, tmp_path):
    images = np.zeros((40_000, 28, 28), np.uint8)
    images[0] = 1
    write_folder(tmp_path, images, np.repeat(np.uint8([0, 9]), 20_000))
    assert len(example.load_images(tmp_path)[1]) == 20_000
    write_folder(tmp_path, images, np.zeros(40_000, np.uint8))
    assert len(example.load_images(tmp_path)[1]) == 30_000


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"PNG" + content, r"begins with bytes 50 4e 47 00; .* Is this MNIST\?"),
        (lambda content: content[:9], "begins with bytes 00 00 08 03"),
        (lambda content: b"", "begins with bytes ;"),
        (lambda content: content[:-1], r"describes \(1200, 28, 28\) bytes of data, .* has 940799"),
        (
            lambda content: content + b"0",
            r"describes \(1200, 28, 28\) bytes of data, .* has 940801",
        ),
    ],
)
def test_a_file_that_is_not_idx_is_refused(example, digits, tmp_path, ending, damage, message):
    write_folder(tmp_path, *digits)
    content = damage((tmp_path / IMAGES).read_bytes())
    (tmp_path / IMAGES).unlink()
    (tmp_path / (IMAGES + ending)).write_bytes(gzip.compress(content) if ending else content)
    with pytest.raises(SystemExit, match=message):
        example.load_images(tmp_path)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut"),
        pytest.param(lambda content: b"no gzip" + content, id="not gzip"),
        pytest.param(lambda content: content[:50] + b"\xff" * 50 + content[100:], id="garbled"),
    ],
)
def test_a_damaged_gzip_file_is_refused(example, digits, tmp_path, damage):
    write_folder(tmp_path, *digits, packed=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SystemExit, match=r"cannot be read: .*\. Fetch it again\."):
        example.load_images(tmp_path)


def test_a_folder_without_mnist_is_refused(example, tmp_path):
    with pytest.raises(SystemExit, match=f"holds no {IMAGES}, gzipped or plain, nor does a folder"):
        example.load_images(tmp_path)


def test_images_without_as_many_labels_are_refused(example, digits, tmp_path):
    write_folder(tmp_path, digits[0], digits[1][:-1])
    with pytest.raises(SystemExit, match=r"images of shape \(1200, 28, 28\) and 1199 labels"):
        example.load_images(tmp_path)


def test_images_of_another_size_are_refused(example, digits, tmp_path):
    write_folder(tmp_path, digits[0][:, ::2, ::2], digits[1])
    with pytest.raises(SystemExit, match=r"images of shape \(1200, 14, 14\).*28 x 28"):
        example.load_images(tmp_path)


def test_a_folder_that_holds_files_is_not_written_to(example, digits, tmp_path):
    write_folder(tmp_path, *digits)
    with pytest.raises(SystemExit, match=r"is not empty\. Name another folder with --out"):
        example.main(["--data", str(tmp_path), "--out", str(tmp_path)])


@pytest.mark.parametrize("wrong", [["--epochs", "0"], ["--anneal", "-1"]])
def test_senseless_numbers_of_epochs_are_refused(example, wrong, capsys):
    with pytest.raises(SystemExit, match="2"):
        example.parse(["--data", "somewhere", *wrong])
    assert "--epochs must be at least 1 and --anneal at least 0" in capsys.readouterr().err


@pytest.mark.slow
def test_the_audit_finds_what_is_planted_in_the_run(tmp_path, digits):
    write_folder(tmp_path / "data", *digits, packed=True)
    for seed in ("0", "1"):
        command = [sys.executable, SCRIPT, "--out", seed, "--anneal", "0", "--epochs", "80"]
        environment = {"MNIST_DIR": "data", "OMP_NUM_THREADS": "1"}
        subprocess.run(
            [*command, "--seed", seed], cwd=tmp_path, env=environment, check=True, timeout=200
        )
    run, other = tmp_path / "0", tmp_path / "1"
    assert trajscope.audit(run) == []

    def at(folder, epoch):
        return folder / f"step-{2 * epoch:07d}.safetensors"

    whole = {epoch: load_file(at(run, epoch)) for epoch in (10, 20, 30, 40, 70)}
    first = next(name for name, values in whole[10].items() if values.ndim == 2)
    narrow = {
        name: values.astype(ml_dtypes.bfloat16).astype(values.dtype) if values.ndim else values
        for name, values in whole[40].items()
    }
    save_file(whole[70], at(run, 10), {"step": "20"})
    save_file(whole[30] | {first: whole[20][first]}, at(run, 30), {"step": "60"})
    save_file(narrow, at(run, 40), {"step": "80"})
    save_file(load_file(at(other, 60)), at(run, 60), {"step": "120"})
    found = {each["kind"]: each["steps"] for each in trajscope.audit(run)}
    assert found == {
        "identical": [20, 140], "identical_tensors": [40, 60], "cast": [80], "detour": [120]
    }  # fmt: skip
