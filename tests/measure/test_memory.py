"""Resident memory of a whole process, as the system counts it, while it analyses too much."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
MIB = 1 << 20

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RUN = """
import json, sys, warnings
from pathlib import Path
import trajscope

warnings.simplefilter("ignore", trajscope.TrajscopeWarning)
{source}
results = trajscope.analyze(source, {options})
status = Path("/proc/self/status").read_text()
peak = int(status.split("VmHWM:")[1].split()[0]) << 10
print(json.dumps({{
    "peak": peak,
    "components": results.attrs["components"],
    "weights": results["trajectory"].attrs["weights"],
    "groups": results["observables"].sizes["group"],
    "path_length": float(results["observables"]["path_length"][0]),
}}))
"""


def analysed(source, options):
    """What a fresh interpreter says of its analysis."""
    script = RUN.format(source=source, options=options)
    command = [sys.executable, "-c", script]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    return json.loads(found.stdout.splitlines()[-1])


def write_sparse(folder, n_steps, sizes):
    """Safetensors files that say how long they are and hold nothing but holes."""
    offsets = np.cumsum([0, *sizes]) * 4
    header = json.dumps({
        f"layer{number}.weight": {
            "dtype": "F32", "shape": [size],
            "data_offsets": [int(offsets[number]), int(offsets[number + 1])],
        }
        for number, size in enumerate(sizes)
    }).encode()  # fmt: skip
    for step in range(n_steps):
        with (folder / f"step-{step}.safetensors").open("wb") as file:
            file.write(len(header).to_bytes(8, "little") + header)
            file.truncate(8 + len(header) + int(offsets[-1]))


def write_walk(folder, n_steps, n_weights):
    """Small files of a random walk, and the length of its path."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(0)
    row = rng.standard_normal(n_weights, dtype=np.float32)
    length = 0.0
    for step in range(n_steps):
        save_file({"weight": row}, folder / f"step-{step:06d}.safetensors")
        after = row + 1e-3 * rng.standard_normal(n_weights, dtype=np.float32)
        if step < n_steps - 1:
            length += float(np.linalg.norm(after.astype(float) - row))
        row = after
    return length


@pytest.mark.parametrize(
    ("n_steps", "sizes"),
    [
        (300, [5_000_000]),
        (200, [400_000] * 19),
        (1000, [400_000]),
    ],
    ids=["one layer", "nineteen layers", "a thousand steps"],
)
def test_files_of_many_gigabytes_are_analysed_within_512_mib(tmp_path, n_steps, sizes):
    write_sparse(tmp_path, n_steps, sizes)
    found = analysed(f"source = {str(tmp_path)!r}", "memory='512MiB'")
    assert found["weights"] == sum(sizes)
    assert found["groups"] == len(sizes) + 1
    assert found["peak"] < 512 * MIB


CASES = """
import json, warnings
from pathlib import Path
import trajscope

warnings.simplefilter("ignore", trajscope.TrajscopeWarning)
found = trajscope.{call}
peak = int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) << 10
print(json.dumps({{"peak": peak, "cases": len(found["cases"].children)}}))
"""


@pytest.mark.parametrize(
    ("call", "n_cases"),
    [
        ("compare({one!r}, {other!r}, memory='512MiB')", 2),
        ("analyze({one!r}, windows=10, memory='512MiB')", 10),
    ],
    ids=["two runs", "ten windows"],
)
@pytest.mark.parametrize("sizes", [[2_000_000], [20_000] * 20], ids=["one", "20"])
def test_runs_and_windows_are_measured_within_512_mib(tmp_path, call, n_cases, sizes):
    folders = {"one": tmp_path / "one", "other": tmp_path / "other"}
    for folder in folders.values():
        folder.mkdir()
        write_sparse(folder, 300, sizes)
    script = CASES.format(call=call.format(**{name: str(f) for name, f in folders.items()}))
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["cases"] == n_cases
    assert found["peak"] < 512 * MIB


LAZY = """
import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

class Walk(BackendArray):
    shape, dtype = ({n_steps}, {n_weights}), np.dtype(np.float32)

    def __getitem__(self, key):
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self.block
        )

    def block(self, key):
        steps = np.arange(self.shape[0])[key[0]]
        weights = np.arange(self.shape[1])[key[1]]
        x = np.empty((len(steps), len(weights)), np.float32)
        for row, step in zip(x, steps):
            np.multiply(weights % 17, np.float32(step % 23), out=row, casting="unsafe")
        return x

source = xr.DataArray(
    xr.Variable(("step", "weight"), indexing.LazilyIndexedArray(Walk()))
)
"""


@pytest.mark.parametrize("chunked", ["", "source = source.chunk(weight=20_000)"])
def test_weights_made_on_demand_are_analysed_within_512_mib(chunked):
    source = LAZY.format(n_steps=300, n_weights=1_000_000) + chunked
    found = analysed(source, "memory='512MiB'")
    assert found["weights"] == 1_000_000
    assert found["peak"] < 512 * MIB


# Products between all of 25,000 steps would take more than two gigabytes too.
MANY_STEPS = pytest.mark.parametrize("n_steps", [25_000, 99_000])


@MANY_STEPS
def test_very_many_steps_in_memory_take_less_than_two_gigabytes(n_steps):
    source = (
        "import numpy as np, xarray as xr\n"
        f"x = np.random.default_rng(0).standard_normal(({n_steps}, 917), dtype=np.float32)\n"
        "source = xr.DataArray(np.cumsum(x, axis=0, out=x), dims=('step', 'weight'))"
    )
    found = analysed(source, "memory='2GiB'")
    assert found["components"] == "dual"
    # Increments of unit variance: each is sqrt(917) long to one part in 43, all to one in 3,000.
    assert found["path_length"] == pytest.approx((n_steps - 1) * np.sqrt(917), rel=1e-3)
    assert found["peak"] < 2 << 30


@MANY_STEPS
def test_very_many_files_take_less_than_two_gigabytes(n_steps, tmp_path):
    length = write_walk(tmp_path, n_steps, 917)
    found = analysed(f"source = {str(tmp_path)!r}", "memory='2GiB'")
    assert found["components"] == "dual"
    assert found["path_length"] == pytest.approx(length, rel=1e-5)
    assert found["peak"] < 2 << 30


@pytest.mark.parametrize(("n_steps", "limit"), [(3000, 400), (8000, 900)])
def test_the_sketch_stays_within_its_limit_too(n_steps, limit):
    source = LAZY.format(n_steps=n_steps, n_weights=20_000)
    found = analysed(source, f"memory='{limit}MiB'")
    assert found["components"] == "sketch"
    assert found["peak"] < limit * MIB
