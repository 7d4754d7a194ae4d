"""A run that grows, written as a trainer does and some time ago."""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from trajscope.checkpoints import manifest

LONG_AGO = 1_600_000_000


class Run:
    """A folder of checkpoints with made-up weights."""

    def __init__(self, folder: Path, n_weights: int, dtype: object) -> None:
        self.folder, self.n_weights, self.dtype = folder, n_weights, dtype
        self.forbidden: set[str] = set()
        folder.mkdir(exist_ok=True)

    def path(self, step):
        return self.folder / f"step-{step}.safetensors"

    def write(self, *steps, salt=0, at=LONG_AGO):
        for step in steps:
            rng = np.random.default_rng([step, salt])
            first, second = self.n_weights // 2, self.n_weights - self.n_weights // 2
            state = {"fc.weight": rng.normal(size=first), "out.weight": rng.normal(size=second)}
            save_file(
                {name: values.astype(self.dtype) for name, values in state.items()}, self.path(step)
            )
            os.utime(self.path(step), (at + step, at + step))
            self.forbidden.discard(str(self.path(step)))
        return self

    def forbid(self, *steps):
        """From now on whoever reads the weights of these gets other numbers."""
        self.forbidden.update(str(self.path(step)) for step in steps)

    def spoil(self, *steps):
        """Other weights in the same file, its size and times as they were."""
        for step in steps:
            before = self.path(step).stat()
            size = int.from_bytes(self.path(step).read_bytes()[:8], "little")
            with self.path(step).open("r+b") as file:
                file.seek(8 + size)
                file.write(b"\x40" * (before.st_size - 8 - size))
            os.utime(self.path(step), ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.fixture
def make_run(tmp_path, monkeypatch):
    runs = []
    real = manifest.read_stretches

    def read(descriptor, path, plan, base, out):
        real(descriptor, path, plan, base, out)
        if any(path in run.forbidden for run in runs):
            out[:] = 3

    def make(n_weights=6, dtype=np.float32, name="run"):
        runs.append(Run(tmp_path / name, n_weights, dtype))
        return runs[-1]

    monkeypatch.setattr(manifest, "read_stretches", read)

    return make


@pytest.fixture(params=["float32", "float64", "bfloat16"])
def dtype(request):
    return ml_dtypes.bfloat16 if request.param == "bfloat16" else np.dtype(request.param)
