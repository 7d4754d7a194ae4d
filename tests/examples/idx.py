"""IDX files, as MNIST's are, from arrays."""

import gzip
from pathlib import Path

import numpy as np

EXAMPLES = Path(__file__).parents[2] / "examples"


def idx(array):
    shape = np.array(array.shape, ">u4").tobytes()
    return bytes((0, 0, 8, array.ndim)) + shape + array.tobytes()


def write_folder(folder, images, labels, *, part="train", packed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images), ("labels-idx1", labels)):
        path = folder / f"{part}-{name}-ubyte"
        if packed:
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(idx(array)))
        else:
            path.write_bytes(idx(array))
