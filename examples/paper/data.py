"""Images as the paper's networks see them: MNIST, CIFAR, or the digits that ship with trajscope.

MNIST is a folder of IDX files, gzipped or plain. CIFAR is a folder of its binary version: five
files data_batch_N.bin and test_batch.bin, or train.bin and test.bin of CIFAR-100.
"""

import gzip
import sys
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from trajscope.demo.digits import load_digits

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Labels = NDArray[np.int64]

TINY_CLASSES = 5
N_TINY = 30_000  # of the 30,596 training images that show a digit from 0 to 4: the first ones
N_DIGITS_TRAIN = 1_500


def digits(folder: Path | None, part: str) -> tuple[Bytes, Bytes]:
    """Images of 28 x 28 pixels, (image, row, column), and their labels.

    Parameters
    ----------
    folder :
        MNIST's; without it the 1,797 small digits of trajscope, each pixel as a square of nine.
    part :
        ``train`` or ``t10k``.
    """
    if folder is not None:
        return mnist(folder, part)
    small, labels = load_digits()
    images = np.pad(small.repeat(3, axis=1).repeat(3, axis=2), ((0, 0), (2, 2), (2, 2)))
    chosen = slice(N_DIGITS_TRAIN) if part == "train" else slice(N_DIGITS_TRAIN, None)
    return images[chosen], labels[chosen]


def mnist(folder: Path, part: str) -> tuple[Bytes, Bytes]:
    """MNIST's images and labels; its own files are called ``train-...`` and ``t10k-...``."""
    images = read_idx(folder, f"{part}-images-idx3-ubyte", n_dimensions=3)
    labels = read_idx(folder, f"{part}-labels-idx1-ubyte", n_dimensions=1)
    if len(images) != len(labels) or images.shape[1:] != (28, 28):
        sys.exit(
            f"{folder} holds images of shape {images.shape} and {len(labels)} labels; as many "
            "images of 28 x 28 pixels as labels are expected. Is this MNIST?"
        )
    return images, labels


def large(folder: Path | None, part: str) -> tuple[Floats, Labels]:
    """Standardised images, (image, 1, row, column), and their labels: small-lenet's."""
    images, labels = digits(folder, part)
    return standardised(images[:, None]), labels.astype(np.int64)


def pooled(folder: Path | None, part: str) -> tuple[Floats, Labels]:
    """The same averaged over 4 x 4 pixels, (image, pixel): small-fc's."""
    images, labels = digits(folder, part)
    return standardised(averaged(images)), labels.astype(np.int64)


def tiny(folder: Path | None, part: str) -> tuple[Floats, Labels]:
    """The same of the digits 0 to 4, 30,000 at most: tiny-fc's."""
    images, labels = digits(folder, part)
    chosen = np.flatnonzero(labels < TINY_CLASSES)[:N_TINY]
    return standardised(averaged(images[chosen])), labels[chosen].astype(np.int64)


def averaged(images: Bytes) -> NDArray[np.float64]:
    """Means over squares of 4 x 4 pixels, as (image, pixel)."""
    return images.reshape(-1, 7, 4, 7, 4).mean(axis=(2, 4)).reshape(-1, 49)


def standardised(images: NDArray[np.generic]) -> Floats:
    """Mean 0 and standard deviation 1 over all pixels of all images."""
    values = images.astype(np.float64)
    return ((values - values.mean()) / values.std()).astype(np.float32)


def cifar(folder: Path | None, part: str) -> tuple[Floats, Labels]:
    """CIFAR's images, (image, 3, row, column), and labels, as the paper prepares them.

    Global contrast normalisation of every image, then ZCA whitening with the covariance of the
    training images.
    """
    if folder is None:
        sys.exit("CIFAR is not part of trajscope. Name the folder of its binary version: --data.")
    train = read_cifar(folder, "train")
    whiten = zca(contrast(train[0]))
    images, labels = train if part == "train" else read_cifar(folder, part)
    return whiten(contrast(images)).reshape(-1, 3, 32, 32), labels


def contrast(images: Bytes) -> Floats:
    """Every image, (image, value), minus its mean and over its standard deviation."""
    values = images.astype(np.float32)
    values -= values.mean(axis=1, keepdims=True)
    return values / np.maximum(values.std(axis=1, keepdims=True), 1e-8)


def zca(images: Floats, epsilon: float = 1e-2) -> Callable[[Floats], Floats]:
    """Function that whitens: ``x -> V (L + epsilon)^-1/2 V' (x - mean)``, V L V' the covariance."""
    mean = images.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(images, rowvar=False, dtype=np.float64))
    matrix = ((vectors / np.sqrt(values + epsilon)) @ vectors.T).astype(np.float32)
    return lambda some: (some - mean) @ matrix


def read_cifar(folder: Path, part: str) -> tuple[Bytes, Labels]:
    """Images, (image, value), and labels of CIFAR-10's or CIFAR-100's binary files."""
    found = sorted(folder.glob("data_batch_*.bin" if part == "train" else "test_batch.bin"))
    n_labels = 1
    if not found:  # CIFAR-100: a coarse label, and the fine one
        found, n_labels = sorted(folder.glob("train.bin" if part == "train" else "test.bin")), 2
    if not found:
        sys.exit(
            f"{folder} holds neither data_batch_N.bin and test_batch.bin (CIFAR-10) nor train.bin "
            "and test.bin (CIFAR-100). Name the folder of the binary version with --data."
        )
    size = n_labels + 3072
    content = np.concatenate([np.fromfile(path, np.uint8) for path in found])
    if not content.size or content.size % size:
        sys.exit(
            f"{found[0]} and its like have {content.size} bytes, which are no whole number of "
            f"images of {size}. Fetch them again."
        )
    rows = content.reshape(-1, size)
    return rows[:, n_labels:], rows[:, n_labels - 1].astype(np.int64)


def read_idx(folder: Path, name: str, *, n_dimensions: int) -> NDArray[np.uint8]:
    """Array of an IDX file of bytes: 00 00 08 n_dimensions, the big-endian shape, the data."""
    places = [folder / sub / (name + end) for sub in ("", "raw") for end in ("", ".gz")]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        sys.exit(
            f"{folder} holds no {name}, gzipped or plain, nor does a folder 'raw' in it. "
            "Name the folder of MNIST's IDX files with --data."
        )
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            content = file.read()
    except (EOFError, OSError, zlib.error) as error:
        sys.exit(f"{path} cannot be read: {error}. Fetch it again.")
    if content[:4] != bytes((0, 0, 8, n_dimensions)) or len(content) < 4 + 4 * n_dimensions:
        sys.exit(
            f"{path} begins with bytes {content[:4].hex(' ')}; an IDX file of {n_dimensions}-D "
            f"bytes begins with 00 00 08 {n_dimensions:02x}. Is this MNIST?"
        )
    shape = tuple(int(n) for n in np.frombuffer(content, ">u4", count=n_dimensions, offset=4))
    data = np.frombuffer(content, np.uint8, offset=4 + 4 * n_dimensions)
    if data.size != np.prod(shape, dtype=object):
        sys.exit(
            f"{path} describes {shape} bytes of data, the file has {data.size}. Fetch it again."
        )
    return data.reshape(shape)
