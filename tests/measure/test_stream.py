from functools import partial

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import naive
from tests.measure.passes import (
    PATH,
    WHOLE,
    assert_same_bits,
    cut_at,
    lazy,
    observables_of,
    plan_of,
    sums_of,
)
from tests.trajectories import ORDINARY, brownian, late_training, trajectories
from trajscope.measure.executor import executor
from trajscope.measure.span import NonFiniteError, scan_span, tree_sum
from trajscope.measure.stream import find_nonfinite, stream

ADDITIVE_PATH = pytest.mark.parametrize("components", ["gram", "sketch"])


def silent(done, total):
    pass


@st.composite
def layouts(draw, n_weights):
    """Any cut into segments, of groups that may come back, tasks, chunks and blocks."""
    cuts = draw(st.sets(st.integers(1, max(n_weights - 1, 1)), max_size=6))
    boundaries = [0, *sorted(cut for cut in cuts if cut < n_weights), n_weights]
    # Numbered in order of appearance, as groups of tensors are.
    groups = draw(st.permutations([0, 1, 2, 1, 0, 2]))
    order = list(dict.fromkeys(groups))
    groups = [order.index(group) for group in groups]
    ends = draw(st.sets(st.integers(0, 6)))
    resolutions = draw(st.sampled_from([(2.0**-23,), (2.0**-7, 2.0**-23, 0.0)]))
    return {
        "tasks": cut_at(boundaries, groups, ends, resolutions),
        "width": draw(st.integers(1, n_weights + 1)),
        "chunk": draw(st.integers(1, 5)),
    }


def columns_of(tasks):
    columns = {}
    for task in tasks:
        for segment in task:
            columns.setdefault(segment.group, []).extend(range(segment.start, segment.stop))
    return columns


def assert_same_sums(actual, expected, tolerance=1e-5):
    assert actual.keys() == expected.keys()
    for name, values in expected.items():
        scale = np.abs(values).max(initial=0.0)
        np.testing.assert_allclose(actual[name], values, rtol=0, atol=tolerance * scale)


@ADDITIVE_PATH
@settings(max_examples=30)
@given(data=st.data())
def test_any_cut_into_groups_tasks_and_blocks_gives_the_same_sums(components, data):
    x = data.draw(trajectories(kinds=ORDINARY))
    layout = data.draw(layouts(x.shape[1]))
    found = sums_of(x, plan_of(components, x.shape[1], **layout))
    expected = sums_of(x, plan_of(components, x.shape[1]))[WHOLE]
    for sums in (*found.values(), expected):
        del sums["rounding_variance"]  # differs, as the layout's stored dtypes do
    assert_same_sums(found.pop(WHOLE), expected)
    for group, columns in columns_of(layout["tasks"]).items():
        alone = sums_of(x[:, columns], plan_of(components, len(columns)))[WHOLE]
        del alone["rounding_variance"]
        for sums in (found[group], alone):
            sums.pop("projection", None)  # its signs belong to a weight's number
        assert_same_sums(found.pop(group), alone)
    assert not found


@settings(max_examples=30)
@given(data=st.data())
def test_groups_of_the_dual_path_may_be_scattered_over_the_weights(data):
    x = data.draw(trajectories(kinds=ORDINARY, dtypes=(np.float64,)))
    layout = data.draw(layouts(x.shape[1]))
    layout["tasks"] = [tuple(segment for task in layout["tasks"] for segment in task)]
    layout["width"] = x.shape[1]
    found = sums_of(x, plan_of("dual", x.shape[1], **layout))
    for group, columns in [*columns_of(layout["tasks"]).items(), (WHOLE, range(x.shape[1]))]:
        shares = observables_of(found[group], len(x))["explained_variance"]
        expected = naive.explained_variance(x[:, columns], 20)
        np.testing.assert_allclose(shares, expected, rtol=0, atol=1e-12)


def test_each_stored_dtype_of_a_group_brings_its_own_rounding():
    x = brownian(4, 6).astype(np.float32)
    tasks = cut_at([0, 2, 4, 6], [0], {0}, (2.0**-7, 2.0**-23, 0.0))
    found = sums_of(x, plan_of("gram", 6, tasks=tasks))[0]["rounding_variance"]
    ends = x[[0, -1]].astype(np.float64)
    spacing = np.ldexp([2.0**-7, 2.0**-7, 2.0**-23, 2.0**-23, 0, 0], np.frexp(ends)[1] - 1)
    assert found == pytest.approx(np.sum(spacing**2) / 12, rel=1e-12)


TASKS = cut_at([0, 7, 50, 90, 200, 230, 300], [0, 1, 0, 2], {0, 1, 3, 4})
LAYOUT = {"tasks": TASKS, "width": 64, "chunk": 2}


@pytest.fixture(scope="module")
def x():
    return late_training(120, 300)


@pytest.fixture(scope="module")
def bits(x):
    """What threads make of each path, for the same plan."""
    return {path: sums_of(x, plan_of(path, 300, **LAYOUT)) for path in ("gram", "sketch")}


SOURCES = {
    "lazy": lazy,
    "in dask chunks along both dimensions": lambda x: xr.DataArray(
        dask.array.from_array(x, chunks=(50, 33)), dims=("step", "weight")
    ),
    "read-only": lambda x: np.lib.stride_tricks.as_strided(x, writeable=False),
    "in Fortran order": np.asfortranarray,
    "every other weight of an array": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "big-endian": lambda x: x.astype(">f4"),
}


@ADDITIVE_PATH
@pytest.mark.parametrize("source", SOURCES)
def test_the_same_weights_give_the_same_bits_however_they_are_held(components, source, x, bits):
    found = sums_of(SOURCES[source](x), plan_of(components, 300, **LAYOUT))
    assert_same_bits(found, bits[components])


@ADDITIVE_PATH
def test_one_thread_gives_the_same_bits_as_many(components, x, bits):
    with executor(None, None) as running:
        found = sums_of(x, plan_of(components, 300, **LAYOUT), running)
    assert_same_bits(found, bits[components])


def test_an_array_of_the_user_is_never_written_to(x):
    before = x.copy()
    sums_of(x, plan_of("gram", 300, **LAYOUT))
    np.testing.assert_array_equal(x, before)


def test_sums_of_a_tree_are_not_written_to():
    parts = [{0: {"a": np.ones(2)}}, {0: {"a": np.ones(2)}, 1: {"a": np.ones(1)}}, {}]
    assert tree_sum(parts)[0]["a"].tolist() == [2, 2]
    assert tree_sum([tree_sum(parts), *parts])[0]["a"].tolist() == [4, 4]
    assert parts[0][0]["a"].tolist() == [1, 1]


def test_progress_counts_every_task_once_and_ends_with_all(x):
    seen = []
    with executor(None, None) as running:
        weights = xr.Variable(("step", "weight"), x)
        for _ in stream(weights, plan_of("gram", 300, **LAYOUT), running, seed=0,
                        progress=lambda *counts: seen.append(counts)):  # fmt: skip
            pass
    assert seen == [(done, len(TASKS)) for done in range(len(TASKS) + 1)]


def test_a_group_is_handed_over_as_soon_as_its_last_weight_was_read(x):
    tasks = cut_at([0, 100, 200, 300], [0, 1, 2], {0, 1, 2})
    with executor(None, None) as running:
        weights = xr.Variable(("step", "weight"), x)
        plan = plan_of("gram", 300, tasks=tasks, chunk=1)
        groups = [group for group, _ in stream(weights, plan, running, seed=0, progress=silent)]
    assert groups == [0, 1, 2]


@pytest.mark.parametrize("components", PATH)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_stops_the_pass(components, bad):
    x = brownian(6, 5, dtype=np.float32)
    x[3, 2] = bad
    with pytest.raises(NonFiniteError, match="Some of the weights are NaN or infinite"):
        sums_of(x, plan_of(components, 5))


def test_the_rows_that_are_not_finite_are_found_with_their_count_and_first_weight():
    x = np.zeros((5, 40))
    x[1, [3, 17, 39]] = np.nan
    x[4, 30] = np.inf
    plan = plan_of("gram", 40, tasks=cut_at([0, 10, 20, 30, 40], [0], {0, 1, 2}), width=7, chunk=2)
    with executor(None, None) as running:
        found = find_nonfinite(xr.Variable(("step", "weight"), x), plan, running, progress=silent)
    assert found == {1: (3, 3), 4: (1, 30)}


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint8, np.bool_, np.longdouble])
def test_other_dtypes_are_widened_before_they_are_subtracted(dtype):
    x = np.array([[1, 0], [0, 1], [1, 1], [0, 0]], dtype)
    found = sums_of(x, plan_of("gram", 2))[0]["increment_gram"]
    np.testing.assert_allclose(found, naive.increment_gram(x.astype(np.float64)), atol=1e-6)


def test_extended_precision_is_rounded_to_double_only():
    x = np.array([[1.0, 1.0], [1.0 + 1e-12, 1.0], [1.0, 1.0 + 1e-12]], np.longdouble)
    found = sums_of(x, plan_of("gram", 2))[0]["n_moving"]
    assert found == 2


def test_a_scan_of_finite_weights_finds_nothing():
    scan = partial(scan_span, task=cut_at([0, 5], [0], {0})[0], offset=0, width=2)
    assert scan(brownian(4, 5)) == {}
