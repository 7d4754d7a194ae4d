"""The images of the paper's networks, from made-up IDX folders and CIFAR files."""

import gzip
import sys

import numpy as np
import pytest

from tests.examples.idx import EXAMPLES, write_folder

sys.path.append(str(EXAMPLES / "paper"))

import data

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


@pytest.fixture(scope="module")
def digits():
    """Random images with the labels 0, 1, ..., 9, 0, 1, ...: half of them below five."""
    images = np.random.default_rng(0).integers(0, 256, (1200, 28, 28), dtype=np.uint8)
    return images, (np.arange(1200) % 10).astype(np.uint8)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("subfolder", ["", "raw"])
def test_images_are_means_of_four_by_four_pixels_of_five_digits(
    digits, tmp_path, packed, subfolder
):
    images, labels = digits
    write_folder(tmp_path / subfolder, images, labels, packed=packed)
    found, answers = data.tiny(tmp_path, "train")

    kept = [image for image, label in zip(images, labels, strict=True) if label < 5]
    pooled = np.array(
        [
            [image[i : i + 4, j : j + 4].mean() for i in range(0, 28, 4) for j in range(0, 28, 4)]
            for image in kept
        ]
    )
    expected = (pooled - pooled.mean()) / pooled.std()
    np.testing.assert_allclose(found, expected, atol=1e-6)  # float32
    assert answers.tolist() == [label for label in labels if label < 5]


def test_no_more_than_30000_images_are_kept(tmp_path):
    images = np.zeros((40_000, 28, 28), np.uint8)
    images[0] = 1
    write_folder(tmp_path, images, np.repeat(np.uint8([0, 9]), 20_000))
    assert len(data.tiny(tmp_path, "train")[1]) == 20_000
    write_folder(tmp_path, images, np.zeros(40_000, np.uint8))
    assert len(data.tiny(tmp_path, "train")[1]) == 30_000


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
def test_a_file_that_is_not_idx_is_refused(digits, tmp_path, ending, damage, message):
    write_folder(tmp_path, *digits)
    content = damage((tmp_path / IMAGES).read_bytes())
    (tmp_path / IMAGES).unlink()
    (tmp_path / (IMAGES + ending)).write_bytes(gzip.compress(content) if ending else content)
    with pytest.raises(SystemExit, match=message):
        data.tiny(tmp_path, "train")


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda content: content[: len(content) // 2], id="cut"),
        pytest.param(lambda content: b"no gzip" + content, id="not gzip"),
        pytest.param(lambda content: content[:50] + b"\xff" * 50 + content[100:], id="garbled"),
    ],
)
def test_a_damaged_gzip_file_is_refused(digits, tmp_path, damage):
    write_folder(tmp_path, *digits, packed=True)
    path = tmp_path / f"{IMAGES}.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(SystemExit, match=r"cannot be read: .*\. Fetch it again\."):
        data.tiny(tmp_path, "train")


def test_a_folder_without_mnist_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=f"holds no {IMAGES}, gzipped or plain, nor does a folder"):
        data.tiny(tmp_path, "train")


def test_images_without_as_many_labels_are_refused(digits, tmp_path):
    write_folder(tmp_path, digits[0], digits[1][:-1])
    with pytest.raises(SystemExit, match=r"images of shape \(1200, 28, 28\) and 1199 labels"):
        data.tiny(tmp_path, "train")


def test_images_of_another_size_are_refused(digits, tmp_path):
    write_folder(tmp_path, digits[0][:, ::2, ::2], digits[1])
    with pytest.raises(SystemExit, match=r"images of shape \(1200, 14, 14\).*28 x 28"):
        data.tiny(tmp_path, "train")


@pytest.mark.parametrize("load", [data.large, data.pooled, data.tiny])
def test_images_are_standardised(load, digits, tmp_path):
    write_folder(tmp_path, *digits)
    for folder in (tmp_path, None):
        images, labels = load(folder, "train")
        assert images.dtype == np.float32
        assert images.mean() == pytest.approx(0, abs=1e-5)  # float32
        assert images.std() == pytest.approx(1, abs=1e-5)
        assert len(images) == len(labels)


def test_without_a_folder_the_small_digits_are_split_into_training_and_test():
    train, test = (data.digits(None, part) for part in ("train", "t10k"))
    assert [len(each[0]) for each in (train, test)] == [1500, 297]
    # Every pixel of the 8 x 8 became a square of nine in the middle.
    assert train[0].shape[1:] == (28, 28)
    assert (train[0][:, 2:26:3, 2:26:3] == train[0][:, 4:26:3, 4:26:3]).all()
    assert not train[0][:, :2].any()


def write_cifar(folder, images, labels, names, *, coarse=False):
    folder.mkdir(parents=True, exist_ok=True)
    columns = [labels[:, None]] * (1 + coarse) + [images.reshape(len(images), -1)]
    rows = np.hstack(columns).astype(np.uint8)
    for name, part in zip(names, np.array_split(rows, len(names)), strict=True):
        (folder / name).write_bytes(part.tobytes())


@pytest.mark.parametrize(
    ("names", "coarse"), [(["data_batch_1.bin", "data_batch_2.bin"], False), (["train.bin"], True)]
)
def test_cifar_is_read_from_its_binary_files(tmp_path, names, coarse):
    images = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    write_cifar(tmp_path, images, np.arange(10), names, coarse=coarse)
    found, labels = data.read_cifar(tmp_path, "train")
    assert labels.tolist() == list(range(10))
    np.testing.assert_array_equal(found.reshape(10, 3, 32, 32), images)


def test_whitening_makes_the_covariance_that_of_white_noise():
    chance = np.random.default_rng(0)
    images = (chance.standard_normal((5000, 6)) @ chance.standard_normal((6, 6))).astype(np.float32)
    white = data.zca(images, epsilon=0.0)(images)
    np.testing.assert_allclose(np.cov(white, rowvar=False), np.eye(6), atol=1e-3)  # float32


def test_a_folder_without_cifar_is_refused(tmp_path):
    with pytest.raises(SystemExit, match=r"holds neither data_batch_N\.bin"):
        data.read_cifar(tmp_path, "train")
    with pytest.raises(SystemExit, match="CIFAR is not part of trajscope"):
        data.cifar(None, "train")


def test_a_cut_cifar_file_is_refused(tmp_path):
    (tmp_path / "test_batch.bin").write_bytes(bytes(3072))
    with pytest.raises(SystemExit, match="no whole number of images of 3073"):
        data.read_cifar(tmp_path, "t10k")
