from functools import partial

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.kernels.test_checksum import naive_checksum
from tests.measure.passes import lazy, plan_of
from tests.measure.test_stream import layouts
from tests.trajectories import late_training, trajectories
from trajscope.measure.executor import executor
from trajscope.measure.stream import stream
from trajscope.measure.trace import Trace, Watch, returns


def trace_of(x, plan, ends, running=None):
    weights = x.variable if isinstance(x, xr.DataArray) else xr.Variable(("step", "weight"), x)
    if running is None:
        with executor(None, None) as threads:
            return trace_of(x, plan, ends, threads)
    n_steps = weights.shape[0]
    wanted = plan.wanted([(0, n_steps)], ends=np.asarray(ends))
    trace = Trace.empty(n_steps)
    for _ in stream(
        weights, plan, running, wanted=wanted, trace=trace, seed=0, progress=lambda *_: None
    ):
        pass
    assert not trace.open
    return trace.of_run(0, (0, n_steps))


def assert_same(one, other):
    for name in ("checks", "bits", "changed"):
        assert getattr(one, name).tolist() == getattr(other, name).tolist()
    assert (one.n_units, one.itemsize) == (other.n_units, other.itemsize)
    assert one.returned.keys() == other.returned.keys()
    for tensor, states in one.returned.items():
        assert states.tolist() == other.returned[tensor].tolist()


@pytest.mark.parametrize("components", ["gram", "sketch"])
@settings(max_examples=25)
@given(data=st.data())
def test_any_cut_into_tasks_and_blocks_leaves_the_same_trace(components, data):
    x = data.draw(trajectories())
    n = x.shape[1]
    ends = sorted({*data.draw(st.sets(st.integers(1, n), max_size=4)), n})
    with np.errstate(all="ignore"):
        found = trace_of(x, plan_of(components, n, **data.draw(layouts(n))), ends)
    assert_same(found, trace_of(x, plan_of(components, n), ends))
    assert found.checks.tolist() == [naive_checksum(row) for row in x]


@pytest.fixture(scope="module")
def spliced():
    x = late_training(60, 700)
    x[40, 100:400] = x[20, 100:400]
    return x


ENDS = [100, 400, 700]


def test_a_tensor_that_returns_is_told_on_every_path_and_from_every_source(spliced):
    expected = trace_of(spliced, plan_of("gram", 700), ENDS)
    assert expected.returned.keys() == {1}
    assert np.flatnonzero(expected.returned[1] >= 0).tolist() == [20, 40]
    square = late_training(900, 700)
    square[400, 100:400] = square[200, 100:400]
    dual = trace_of(square, plan_of("dual", 700), ENDS)
    assert np.flatnonzero(dual.returned[1] >= 0).tolist() == [200, 400]
    chunked = xr.DataArray(
        dask.array.from_array(spliced, chunks=(60, 130)), dims=("step", "weight")
    )
    make = partial(plan_of, width=130)
    for source in (lazy(spliced), chunked):
        assert_same(trace_of(source, make("sketch", 700), ENDS), expected)


@pytest.mark.slow
def test_worker_processes_leave_the_same_trace(spliced):
    expected = trace_of(spliced, plan_of("gram", 700), ENDS)
    with executor(2, None) as running:
        assert_same(trace_of(spliced, plan_of("gram", 700, width=64), ENDS, running), expected)


def test_runs_in_one_block_are_traced_apart(spliced):
    both = np.concatenate([spliced, late_training(50, 700, seed=9)])
    watch = Watch(np.array(ENDS), ((0, 60), (60, 110)))
    trace = Trace.empty(110)
    trace.see(both, 0, watch, begin=0)
    alone = trace_of(spliced, plan_of("gram", 700), ENDS)
    assert_same(trace.of_run(0, (0, 60)), alone)
    assert trace.of_run(1, (60, 110)).returned == {}


@pytest.mark.parametrize(
    ("states", "found"),
    [
        ("abcd", None),
        ("aaaa", None),
        ("aabb", None),  # rests, then moves on
        ("abca", [0, 3]),
        ("abab", [0, 1, 2, 3]),
    ],
)
def test_a_state_returns_only_if_it_was_left(states, found):
    checks = np.array([ord(state) for state in states], np.uint64)
    changed = 8 * np.diff(checks.astype(int)).astype(bool)
    labels = returns(checks, changed, 8)
    assert (None if labels is None else np.flatnonzero(labels >= 0).tolist()) == found


def test_a_return_of_few_weights_may_be_chance():
    checks = np.array([1, 2, 1], np.uint64)
    assert returns(checks, np.array([3, 3]), 8) is None
