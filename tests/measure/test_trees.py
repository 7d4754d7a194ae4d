"""How the tasks of a plan are handed out, which must not change a single bit."""

import dask
import numpy as np
import pytest
import xarray as xr

from tests.measure.passes import cut_at
from tests.trajectories import late_training
from trajscope.measure import stream, trees
from trajscope.measure.paths import PATHS
from trajscope.measure.plan import Plan
from trajscope.measure.room import FAN_IN
from trajscope.measure.span import tree_sum


@pytest.mark.parametrize("n_tasks", [1, 2, 4, 5, 15, 16, 17, 63])
@pytest.mark.parametrize("leaves", [1, 4, 16])
def test_tasks_that_are_done_together_give_the_bits_of_the_tree(n_tasks, leaves):
    rng = np.random.default_rng(n_tasks)
    parts = [
        {(0, 0): {"a": rng.normal(size=3) * 10.0 ** rng.integers(-9, 9)}} for _ in range(n_tasks)
    ]
    work = trees.Work(lambda _: lambda source, task, offset: source[task], tree_sum)

    def found(leaves):
        source = dask.delayed(parts, name="parts", traverse=False)
        root = trees.tree(range(n_tasks), lambda _: (source, 0), work, "chunk-x-0", leaves)
        assert root.key == "chunk-x-0"
        (value,) = dask.compute(root, scheduler="sync", optimize_graph=False)
        return value[0, 0]["a"], len(root.dask) - 1

    values, n_nodes = found(leaves)
    np.testing.assert_array_equal(values, found(1)[0])
    np.testing.assert_array_equal(values, naive(parts))
    assert n_nodes == trees._n_nodes(n_tasks, leaves)


def naive(parts):
    level = [own[0, 0]["a"] for own in parts]
    while len(level) > 1:
        groups = [level[start : start + FAN_IN] for start in range(0, len(level), FAN_IN)]
        level = [sum(group[1:], start=group[0]) for group in groups]
    return level[0]


@pytest.mark.parametrize(
    ("n_chunks", "n_workers", "leaves"),
    [
        (1, 2, 1),
        (2, 2, 4),
        (2, 5, 1),
        (57, 64, 4),
        (57, 2, 16),
        (57, 16, 16),
        (57, 20, 4),
        (57, 128, 1),
    ],
)
def test_few_fat_tasks_for_each_worker(n_chunks, n_workers, leaves):
    chunks = [tuple(range(16))] * n_chunks
    assert trees.leaves_per_task(chunks, n_workers) == leaves


def test_every_weight_is_in_one_task_of_a_worker_whatever_it_does_at_once(monkeypatch):
    x = late_training(20, 900)
    tasks = cut_at(range(0, 901, 10), [0], set(range(90)))
    plan = Plan(PATHS[0], 1, 10, tuple(tuple(tasks[n : n + 16]) for n in range(0, 90, 16)))
    seen = []

    class Recorded:
        shares_memory, n_workers = False, 2

        @staticmethod
        def compute(roots, at_once, on_done, shared):
            for root in roots:
                seen.append(len(root.dask))
                (value,) = dask.compute(root, scheduler="sync")
                on_done(root.key, value)
                yield value

    told = []
    source = xr.Variable(("step", "weight"), x)
    sums = dict(
        stream.stream(source, plan, Recorded, seed=0, progress=lambda *each: told.append(each))
    )
    assert sums[0][0]["n_weights"] == 900
    assert told[0], told[-1] == ((0, 90), (90, 90))
    assert max(seen) <= 40
