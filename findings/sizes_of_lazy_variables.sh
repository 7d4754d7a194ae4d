#!/usr/bin/env bash
# dask 2026.8.0 and xarray 2026.9.0: to know the size of a lazy xarray variable, dask reads all of it.
#
# dask asks every result that a worker holds for its size (dask.sizeof). For an xarray Variable,
# DataArray or Dataset it takes the size of .data, which for a variable of a file opened without
# chunks is the array itself, read there and then. A task that only opens a store, or a variable
# handed to tasks through delayed(), so reads the whole store, on every worker that holds it; where
# xarray caches, the array stays in memory. Known upstream: github.com/dask/dask/pull/11216, open.
#
# Seen: sizeof() of a variable of 80 MB read all of its 10 chunks, and so did one task of a worker
# that only opens the store; an object that holds the variable as an attribute read none.
#
# Exits with 1 when either reads nothing, or the holder reads something.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet \
    dask==2026.8.0 distributed==2026.8.0 xarray==2026.9.0 zarr==3.1.6 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON' 2>/dev/null
import sys
from pathlib import Path

import dask
import numpy as np
import xarray as xr
import zarr
from dask.sizeof import sizeof
from distributed import Client
from zarr.storage import LocalStore

READ = Path("read")  # tasks are given copies of what is in memory


class Counting(LocalStore):
    """A store on disk that notes which chunks are read."""

    async def get(self, key, prototype, byte_range=None):
        if "/c/" in key:
            with READ.open("a") as file:
                file.write(f"{key}\n")
        return await super().get(key, prototype, byte_range)


class Holder:
    """Holds a variable, and says nothing of its size."""

    def __init__(self, held):
        self.held = held


def opened():
    """The lazy variable of the store; nothing is read yet."""
    return xr.open_zarr(Counting("store"), chunks=None, consolidated=False)["weights"].variable


values = xr.Variable(("step", "weight"), np.ones((10, 1_000_000)))
xr.Dataset({"weights": values}).to_zarr(
    "store", encoding={"weights": {"chunks": (1, 1_000_000)}}, consolidated=False
)
print(f"dask {dask.__version__}, xarray {xr.__version__}, zarr {zarr.__version__}")
counts = {}
variable = opened()
for name, value in {"a holder": Holder(variable), "a variable": variable}.items():
    READ.write_text("")
    sizeof(value)
    counts[f"sizeof of {name}"] = len(READ.read_text().split())
with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
    for name, task in {"a holder": lambda: Holder(opened()), "a variable": opened}.items():
        READ.write_text("")
        future = client.submit(task)
        client.submit(lambda held: None, future).result()
        counts[f"a task that gives {name}"] = len(READ.read_text().split())
for what, n in counts.items():
    print(f"  {what}: {n} of 10 chunks read")
as_seen = all(n == (10 if what.endswith("variable") else 0) for what, n in counts.items())
sys.exit(not as_seen)
PYTHON
