"""Checkpoints as trainers write them, small."""

from pathlib import Path
from zlib import crc32

import numpy as np
import pytest
from safetensors.numpy import save_file


def model(seed=0, width=3):
    rng = np.random.default_rng(seed)
    return {
        "fc1.bias": rng.normal(size=4).astype("f4"),
        "fc1.weight": rng.normal(size=(4, width)).astype("f4"),
        "fc2.weight": rng.normal(size=(2, 4)).astype("f4"),
    }


@pytest.fixture
def save(tmp_path):
    """A function that writes one safetensors file below `tmp_path` and returns its path."""

    def write(relative, tensors=None, seed=None, **metadata) -> Path:
        path = tmp_path / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        if tensors is None:
            tensors = model(crc32(relative.encode("utf-8", "replace")) if seed is None else seed)
        save_file(tensors, path, metadata={key: str(value) for key, value in metadata.items()})
        return path

    return write
