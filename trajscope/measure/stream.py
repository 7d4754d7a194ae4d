"""The one pass: the plan's tasks through dask, a round at a time, their sums added in order."""

import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from trajscope.kernels.gram import Floats
from trajscope.measure.directions import Directions
from trajscope.measure.executor import Executor
from trajscope.measure.parts import Parts
from trajscope.measure.plan import Plan, Segment, Wanted
from trajscope.measure.span import GroupSums, add_sums, scan_span, sum_span, tree_sum
from trajscope.measure.trace import Trace, Watch, joined
from trajscope.measure.trees import Task, Work, leaves_per_task, tree

Progress = Callable[[int, int], None]
"""Called with (tasks done, tasks in all)."""

Chunk = tuple[Task, ...]


# Tasks a round gives each worker: the barrier at its end idles half a task per worker.
_TASKS_PER_WORKER = 16


def stream(  # noqa: PLR0913
    weights: Any,  # an xarray Variable, lazy or not
    plan: Plan,
    executor: Executor,
    *,
    wanted: Wanted | None = None,
    trace: Trace | None = None,
    directions: Directions | None = None,
    seed: int,
    progress: Progress,
    parts: Parts | None = None,
) -> Iterator[tuple[int, dict[int, dict[str, Floats]]]]:
    """The sums of one group after another, each as soon as its last weight has been read.

    The same weights give the same bits on any executor: tasks are summed in fixed trees, and the
    trees' results in order.

    Parameters
    ----------
    weights : (step, weight)
    wanted :
        What is summed, see `Plan.wanted`; by default all rows are one run.
    trace :
        Takes what `wanted.watch` sees; complete with the last group.
    directions :
        Along which all rows are projected; what is found comes with the sums of `JOINT`.
    parts :
        Where finished chunks are kept, and taken from.

    Yields
    ------
    group, {part: sums}
        What cannot be added up from the groups comes last: of `WHOLE`, and of `JOINT`.

    Raises
    ------
    NonFiniteError
        Some weight is NaN or infinite.
    CheckpointError
        A file could not be read any more.
    """
    last_weight = {
        segment.group: segment.stop for chunk in plan.chunks for task in chunk for segment in task
    }
    last = max(last_weight.values())
    wanted = wanted or plan.wanted([(0, weights.shape[0])])
    whole = partial(sum_span, width=plan.width, wanted=wanted, seed=seed)

    def run_of(task: Task) -> Callable[..., Any]:
        if directions is None:
            return whole
        return partial(whole, directions=directions.part(task[0].start, task[-1].stop))

    totals: GroupSums = {}
    work = Work(run_of, partial(_join_sums, watch=wanted.watch))
    for chunk, (sums, seen) in _computed(weights, plan, executor, work, progress, parts):
        for key, part in sums.items():
            add_sums(totals.setdefault(key, {}), part)
        done = chunk[-1][-1].stop
        if trace is not None and wanted.watch is not None:
            trace.join(seen, wanted.watch, done=done)
        finished: dict[int, list[int]] = {}
        for group, part_number in totals:
            if last_weight.get(group, last) <= done:
                finished.setdefault(group, []).append(part_number)
        for group in sorted(finished, reverse=True):  # what is of all weights comes last
            yield group, {each: totals.pop((group, each)) for each in sorted(finished[group])}


def _join_sums(
    parts: Sequence[tuple[GroupSums, Trace | None]], watch: Watch | None
) -> tuple[GroupSums, Trace | None]:
    traces = [trace for _, trace in parts if trace is not None]
    together = joined(traces, watch) if watch is not None and traces else None
    return tree_sum([sums for sums, _ in parts]), together


def find_nonfinite(
    weights: Any,  # an xarray Variable, lazy or not
    plan: Plan,
    executor: Executor,
    *,
    progress: Progress,
) -> dict[int, tuple[int, int]]:
    """For every step with a NaN or infinite weight: how many, and the number of the first.

    One more pass, which only reads; keys are row numbers.
    """
    found: dict[int, tuple[int, int]] = {}
    scan = partial(scan_span, width=plan.width)
    work = Work(lambda _: scan, _join_found)
    for _, part in _computed(weights, plan, executor, work, progress):
        found = _join_found([found, part])
    return found


def _join_found(parts: Sequence[dict[int, tuple[int, int]]]) -> dict[int, tuple[int, int]]:
    joined: dict[int, tuple[int, int]] = {}
    for part in parts:
        for row, (count, first) in part.items():
            before, lowest = joined.get(row, (0, first))
            joined[row] = (before + count, min(first, lowest))
    return joined


def _computed(
    weights: Any,
    plan: Plan,
    executor: Executor,
    work: Work,
    progress: Progress,
    parts: Parts | None = None,
) -> Iterator[tuple[Chunk, Any]]:
    """Every chunk of the plan with the joined results of its tasks, in order."""
    n_tasks = sum(len(chunk) for chunk in plan.chunks)
    n_known = 0
    while parts is not None and n_known < len(plan.chunks):
        known = parts.get(n_known)
        if known is None:
            break
        yield plan.chunks[n_known], known
        n_known += 1
    key = uuid.uuid4().hex  # a shared cluster sees every user's keys
    node_of, shared = _source_nodes(weights, key)
    n_seen = sum(len(chunk) for chunk in plan.chunks[:n_known])
    left = plan.chunks[n_known:]
    numbers = {f"chunk-{key}-{n_known + n}": n_known + n for n in range(len(left))}

    def on_done(name: str, result: Any) -> None:
        nonlocal n_seen
        number = numbers.get(name)
        ended = 0
        if name.startswith("span-") and executor.shares_memory:
            ended = 1
        elif number is not None and (not executor.shares_memory or len(plan.chunks[number]) == 1):
            ended = len(plan.chunks[number])
        if parts is not None and number is not None:
            parts.put(number, result)
        if ended:
            n_seen += ended
            progress(n_seen, n_tasks)

    progress(n_seen, n_tasks)
    many = executor.n_workers * _TASKS_PER_WORKER
    leaves = 1 if executor.shares_memory else leaves_per_task(left, executor.n_workers)
    for round_ in _rounds(left, many) if executor.shares_memory else [left]:
        roots = []
        for chunk in round_:
            roots.append(tree(chunk, node_of, work, f"chunk-{key}-{n_known}", leaves))
            n_known += 1
        results = executor.compute(roots, plan.workers, on_done, shared)
        yield from zip(round_, results, strict=True)


@dataclass(frozen=True)
class _Lazy:
    """Weights that dask may hold: it would read all of an xarray Variable to know its size."""

    variable: Any

    def __getitem__(self, key: Any) -> Any:
        return self.variable[key]


def _source_nodes(
    weights: Any, key: str
) -> tuple[Callable[[tuple[Segment, ...]], tuple[Any, int]], Any]:
    """How a task gets its weights, and the delayed value that all tasks share, if there is one.

    A task is given a delayed value and the number of that value's first weight.
    """
    from dask import delayed, is_dask_collection

    if is_dask_collection(weights):
        # A graph of its own: each task is handed its weights, read by the user's tasks.
        array = weights.data
        return lambda task: (array[:, task[0].start : task[-1].stop], task[0].start), None
    # One node for the lazy array, shared by all tasks; with its list of files inside every task,
    # 20,000 paths would be sent a thousand times.
    node = delayed(_Lazy(weights), name=f"weights-{key}", traverse=False)
    return lambda _: (node, 0), node


def _rounds(chunks: Sequence[Chunk], n_tasks: int) -> Iterator[list[Chunk]]:
    """`chunks` in runs of about `n_tasks` tasks."""
    held: list[Chunk] = []
    for chunk in chunks:
        held.append(chunk)
        if sum(len(tasks) for tasks in held) >= n_tasks:
            yield held
            held = []
    if held:
        yield held
