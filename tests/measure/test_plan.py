import re
from dataclasses import replace
from itertools import pairwise

import pytest
import xarray as xr
from hypothesis import assume, given
from hypothesis import strategies as st

from trajscope.errors import OptionError
from trajscope.measure.groups import groups_of
from trajscope.measure.paths import PATHS, Size
from trajscope.measure.plan import CHUNK_TASKS, Segment, cut, make_plan
from trajscope.measure.room import keeps_groups

GIB, MIB = 1 << 30, 1 << 20


def size_of(n_steps, n_weights, *, memory=8 * GIB, **others):
    given = {"n_groups": 1, "itemsize": 4, "workers": 2, "fewest_workers": 1, "resident": 110 * MIB}
    return Size(n_steps=n_steps, n_weights=n_weights, memory=memory, **(given | others))


def one_group(n_weights):
    return [Segment(0, 0, n_weights, 2.0**-23)]


def planned(n_steps, n_weights, **others):
    return make_plan(size_of(n_steps, n_weights, **others), one_group(n_weights))


def tasks_of(plan):
    return [task for chunk in plan.chunks for task in chunk]


@st.composite
def grouped(draw):
    """Segments of up to forty groups, some of which come back."""
    lengths = draw(st.lists(st.integers(1, 2_000_000), min_size=1, max_size=60))
    groups = draw(st.lists(st.integers(0, 39), min_size=len(lengths), max_size=len(lengths)))
    segments, start = [], 0
    for length, group in zip(lengths, groups, strict=True):
        segments.append(Segment(group, start, start + length, 2.0**-23))
        start += length
    return segments


def size_and_plan(data):
    segments = data.draw(grouped())
    size = size_of(
        data.draw(st.integers(2, 5000)),
        segments[-1].stop,
        n_groups=len({segment.group for segment in segments}),
        memory=data.draw(st.integers(150 * MIB, 64 * GIB)),
        itemsize=data.draw(st.sampled_from([4, 8])),
        workers=data.draw(st.integers(1, 64)),
        holds_tasks=data.draw(st.booleans()),
        windows=tuple(data.draw(st.lists(st.integers(8, 500), max_size=5))),
    )
    try:
        return size, make_plan(size, segments), segments
    except OptionError:
        assume(False)


@given(st.data())
def test_tasks_cover_every_weight_once_in_order_and_in_its_group(data):
    _, plan, segments = size_and_plan(data)
    covered = [segment for task in tasks_of(plan) for segment in task]
    assert covered[0].start == 0
    assert covered[-1].stop == segments[-1].stop
    assert all(before.stop == after.start for before, after in pairwise(covered))
    assert all(segment.start < segment.stop for segment in covered)
    whole = iter(segments)
    inside = next(whole)
    for segment in covered:
        if segment.start >= inside.stop:
            inside = next(whole)
        assert (segment.group, segment.resolution) == (inside.group, inside.resolution)
        assert segment.stop <= inside.stop


@given(st.data())
def test_a_task_of_the_dual_path_holds_every_weight(data):
    size, plan, _ = size_and_plan(data)
    if plan.path.needs_one_block:
        assert len(tasks_of(plan)) == 1
        assert plan.width == size.n_weights


@given(st.data())
def test_there_are_never_more_than_a_thousand_tasks_and_sixteen_to_a_chunk(data):
    _, plan, _ = size_and_plan(data)
    assert len(tasks_of(plan)) <= 1000
    assert all(len(chunk) <= CHUNK_TASKS for chunk in plan.chunks)


@given(st.data())
def test_blocks_and_sums_of_all_tasks_at_once_stay_within_the_limit(data):
    size, plan, _ = size_and_plan(data)
    per_group = 8 * (size.n_steps - 1) ** 2 if plan.path.name == "gram" else 0
    most_groups = max(len({segment.group for segment in task}) for task in tasks_of(plan))
    block = plan.width * size.n_steps * size.itemsize
    assert size.resident + plan.workers * (block + most_groups * per_group) <= size.memory


@pytest.mark.parametrize("n_weights", [10**6, 10**8, 10**9, 10**11])
@pytest.mark.parametrize("n_steps", [2, 10, 300, 3000])
def test_even_the_largest_trajectory_is_cut_into_a_thousand_tasks_at_most(n_steps, n_weights):
    assert len(tasks_of(planned(n_steps, n_weights, memory=4 * GIB))) <= 1000


@pytest.mark.parametrize(
    ("n_steps", "n_weights", "memory", "expected"),
    [
        (300, 10**6, 2 * GIB, {("gram", "gram")}),
        (1000, 10**6, 2 * GIB, {("gram", "gram")}),
        (2, 1, 2 * GIB, {("gram", "gram"), ("fft", "dual")}),
        (99_000, 917, 2 * GIB, {("fft", "dual")}),
        (3000, 917, 2 * GIB, {("fft", "dual")}),
        (20_000, 1000, 2 * GIB, {("fft", "dual")}),
        (20_000, 10**7, 2 * GIB, {("fft", "sketch")}),
    ],
)
def test_the_cheapest_path_is_taken(n_steps, n_weights, memory, expected):
    path = planned(n_steps, n_weights, memory=memory).path
    assert (path.name, path.components) in expected


@given(st.integers(2, 5000), st.integers(1, 10**7))
def test_the_number_of_cores_changes_no_plan_that_fits(n_steps, n_weights):
    one, many = (planned(n_steps, n_weights, memory=256 * GIB, workers=n) for n in (1, 16))
    assert replace(one, workers=16) == replace(many, workers=16)


def test_fewer_tasks_run_at_once_where_memory_is_short():
    plan = planned(300, 10**6, memory=512 * MIB, workers=64)
    assert 1 <= plan.workers < 64


def test_the_workers_of_a_cluster_are_not_ours_to_lower():
    with pytest.raises(OptionError):
        planned(300, 10**6, memory=512 * MIB, workers=64, fewest_workers=64)


def test_too_little_memory_is_refused_with_what_would_do():
    message = (
        r"--memory 100MiB is too small for 500 checkpoints in 1 group: at least (\d+)MiB are "
        r"needed\. Raise --memory\.$"
    )
    with pytest.raises(OptionError, match=message) as caught:
        planned(500, 10**6, memory=100 * MIB)
    enough = int(str(caught.value).split("at least ")[1].split("MiB")[0])
    assert planned(500, 10**6, memory=enough * MIB).width >= 64


@pytest.mark.parametrize("n_groups", [1, 50])
def test_what_else_would_do_is_said_where_it_would(n_groups):
    segments = [Segment(i, 5000 * i, 5000 * i + 5000, 0.0) for i in range(n_groups)]
    size = size_of(9000, 5000 * n_groups, n_groups=n_groups, memory=400 * MIB)
    with pytest.raises(OptionError) as caught:
        make_plan(size, segments)
    assert ("--by none" in str(caught.value)) == (
        n_groups > 1 and fits(replace(size, n_groups=1), [replace(segments[0], group=0)])
    )
    assert "or use fewer checkpoints with --steps" in str(caught.value)
    assert fits(replace(size, n_steps=2), segments)


def fits(size, segments):
    try:
        make_plan(size, segments)
    except OptionError:
        return False
    return True


@pytest.mark.parametrize("n_groups", [1, 300])
@pytest.mark.parametrize("n_steps", [2, 300, 2000, 20_000])
def test_the_memory_said_to_be_needed_is_enough(n_steps, n_groups):
    lengths = range(0, n_groups * 5000, 5000)
    segments = [Segment(i, start, start + 5000, 0.0) for i, start in enumerate(lengths)]
    size = size_of(n_steps, n_groups * 5000, n_groups=n_groups, memory=110 * MIB)
    with pytest.raises(OptionError) as caught:
        make_plan(size, segments)
    enough = int(str(caught.value).split("at least ")[1].split("MiB")[0])
    assert make_plan(replace(size, memory=enough * MIB), segments)


def test_sums_of_every_group_are_kept_only_while_they_are_small():
    gram = PATHS[0]
    assert keeps_groups(size_of(300, 10**6, n_groups=10), gram)
    assert not keeps_groups(size_of(3000, 10**6, n_groups=300), gram)


def test_a_path_that_was_not_chosen_can_be_cut_too():
    for path in PATHS:
        plan = cut(size_of(50, 40), one_group(40), path, 1)
        assert plan.path is path
        assert tasks_of(plan) == [(Segment(0, 0, 40, 2.0**-23),)]


def layers(n_layers, n_weights):
    """So many groups of so many weights each."""
    cuts = pairwise(range(0, (n_layers + 1) * n_weights, n_weights))
    return [Segment(group, *ends, 2.0**-23) for group, ends in enumerate(cuts)]


@pytest.mark.parametrize(("n_layers", "n_weights"), [(6730, 1), (7000, 2)])
def test_no_plan_falls_apart_into_blocks_of_a_few_weights(n_layers, n_weights):
    segments = layers(n_layers, n_weights)
    size = size_of(3300, n_layers * n_weights, n_groups=n_layers, memory=20 * GIB)
    with pytest.raises(
        OptionError, match=r"too small .*, or use fewer groups with --by none"
    ) as no:
        make_plan(size, segments)
    enough = int(re.search(r"at least (\d+)MiB", str(no.value))[1])
    plan = make_plan(replace(size, memory=enough * MIB), segments)
    n_tasks = len(tasks_of(plan))
    assert n_layers * n_weights >= 60 * n_tasks
    make_plan(replace(size, n_groups=1), one_group(n_layers * n_weights))


def test_layers_of_a_usual_network_are_not_refused():
    make_plan(size_of(600, 400 * 5000, n_groups=400, memory=700 * MIB), layers(400, 5000))


def test_more_groups_than_can_be_measured_one_by_one_are_refused_at_once():
    n = 100_000
    names = [f"layer{number}" for number in range(n)]
    trajectory = xr.Dataset(
        coords={
            "group": ("tensor", names),
            "row_size": ("tensor", [4] * n),
            "stored_dtype": ("tensor", ["float32"] * n),
        }
    )
    with pytest.raises(OptionError, match=r"in 100,000 groups; at most 20,000 .* Use --by none"):
        groups_of(trajectory)
    assert len(groups_of(trajectory.isel(tensor=slice(20_000))).names) == 20_000
    assert groups_of(trajectory.assign_coords(group=("tensor", ["all"] * n))).names == ("all",)
