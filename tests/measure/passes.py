"""One pass over an array by a path and a plan of the test's own choosing."""

from itertools import pairwise

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from trajscope.measure.catalogue import OBSERVABLES
from trajscope.measure.executor import executor
from trajscope.measure.observables import Measured
from trajscope.measure.paths import PATHS
from trajscope.measure.plan import Plan, Segment
from trajscope.measure.pooled import pooled_quantities
from trajscope.measure.span import WHOLE, add_sums
from trajscope.measure.stream import stream

PATH = {path.components: path for path in PATHS}
RESOLUTION = 2.0**-23


def plan_of(components, n_weights, *, width=None, tasks=None, chunk=3, workers=2):
    """A plan of these tasks (lists of segments; one task by default), `chunk` of them to a tree."""
    tasks = tasks or [(Segment(0, 0, n_weights, RESOLUTION),)]
    chunks = tuple(tuple(tasks[start : start + chunk]) for start in range(0, len(tasks), chunk))
    return Plan(PATH[components], workers, width or n_weights, chunks)


def cut_at(boundaries, groups, task_ends, resolutions=(RESOLUTION,)):
    """Tasks of segments between neighbouring boundaries, ending at the numbers in `task_ends`."""
    tasks, current = [], []
    for number, (start, stop) in enumerate(pairwise(boundaries)):
        resolution = resolutions[number % len(resolutions)]
        current.append(Segment(groups[number % len(groups)], start, stop, resolution))
        if number in task_ends or stop == boundaries[-1]:
            tasks.append(tuple(current))
            current = []
    return tasks


def sums_of(x, plan, running=None, seed=0):
    """Sums of every group, and under `WHOLE` those of all weights."""
    weights = x.variable if isinstance(x, xr.DataArray) else xr.Variable(("step", "weight"), x)
    if running is None:
        with executor(None, None) as threads:
            return sums_of(x, plan, threads, seed)
    everything, groups, whole = {}, {}, {}
    for group, parts in stream(weights, plan, running, seed=seed, progress=lambda *_: None):
        (sums,) = parts.values()
        if group == WHOLE:
            whole = sums
            continue
        groups[group] = sums
        add_sums(everything, sums)
    return groups | {WHOLE: everything | whole}


def observables_of(sums, n_steps, seed=0):
    measured = Measured(sums, pooled_quantities(sums, n_steps, seed))
    return {each.name: np.asarray(each.values(measured)) for each in OBSERVABLES}


def observed(x, components, *, seed=0, **layout):
    """Every observable of all weights together."""
    sums = sums_of(x, plan_of(components, x.shape[1], **layout), seed=seed)
    return observables_of(sums[WHOLE], len(x), seed)


def assert_same_bits(actual, expected):
    assert actual.keys() == expected.keys()
    for group, sums in expected.items():
        assert actual[group].keys() == sums.keys()
        for name, values in sums.items():
            np.testing.assert_array_equal(actual[group][name], values, err_msg=name)


N_READ = []
"""Of every read of a lazy array in this process, how many numbers; copies of an array share it."""


class Backend(BackendArray):
    """An array that is read on demand, as a file is."""

    def __init__(self, values):
        self.values, self.shape, self.dtype = values, values.shape, values.dtype

    def __getitem__(self, key):
        return indexing.explicit_indexing_adapter(
            key, self.shape, indexing.IndexingSupport.OUTER, self._read
        )

    def _read(self, key):
        values = self.values[key]
        N_READ.append(values.size)
        return values


def lazy(x):
    data = indexing.LazilyIndexedArray(Backend(x))
    return xr.DataArray(xr.Variable(("step", "weight"), data))
