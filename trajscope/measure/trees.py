"""How the tasks of a plan are handed out: a tree for each chunk, in few or in many nodes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from trajscope.measure.awaiting import most_at_once
from trajscope.measure.plan import CHUNK_TASKS, Segment
from trajscope.measure.room import FAN_IN

_FEWEST_CHUNKS: Final = 3
"""Of each worker: with fewer, some are idle for long while others do their last."""

Join = Callable[[Sequence[Any]], Any]
Task = tuple[Segment, ...]


@dataclass(frozen=True)
class Work:
    """What each task does, and how the results of several are joined."""

    run_of: Callable[[Task], Callable[..., Any]]
    join: Join


def leaves_per_task(chunks: Sequence[Sequence[object]], n_workers: int) -> int:
    """How many tasks of the plan a worker of a cluster does as one, without changing any sum.

    A whole chunk, or a branch of the tree in which it is summed, or one: the fewest with which all
    can be sent at once; else whole chunks if each worker gets three.
    """
    for leaves in (1, FAN_IN):
        if sum(_n_nodes(len(chunk), leaves) for chunk in chunks) <= most_at_once(n_workers):
            return leaves
    return CHUNK_TASKS if len(chunks) >= _FEWEST_CHUNKS * n_workers else FAN_IN


def _n_nodes(n_leaves: int, leaves: int) -> int:
    """Tasks that one chunk becomes."""
    width = -(-n_leaves // leaves)
    total = width
    while width > 1:
        width = -(-width // FAN_IN)
        total += width
    return total


def tree(
    chunk: Sequence[Task],
    node_of: Callable[[Task], tuple[Any, int]],
    work: Work,
    name: str,
    leaves: int,
) -> Any:
    """One delayed value that joins all tasks, through a tree so that finished parts are freed.

    The tree is the same for any number of `leaves` that one node does on its own.
    """
    spans = [chunk[start : start + leaves] for start in range(0, len(chunk), leaves)]
    nodes = []
    for number, tasks in enumerate(spans):
        sources = [node_of(task) for task in tasks]
        runs = [
            partial(work.run_of(task), task=task, offset=offset)
            for task, (_, offset) in zip(tasks, sources, strict=True)
        ]
        named = name if len(spans) == 1 else name.replace("chunk-", "span-", 1) + f"-{number}"
        shared = all(source is sources[0][0] for source, _ in sources)
        given = [sources[0][0]] if shared else [source for source, _ in sources]
        nodes.append(_node(partial(_together, runs=runs, join=work.join), named, given))
    level = 0
    while len(nodes) > 1:
        groups = [nodes[start : start + FAN_IN] for start in range(0, len(nodes), FAN_IN)]
        own = [f"sum-{name}-{level}-{number}" for number in range(len(groups))]
        if len(groups) == 1:
            own = [name]
        nodes = [
            _node(partial(_joined, join=work.join), each, group)
            for each, group in zip(own, groups, strict=True)
        ]
        level += 1
    return nodes[0]


def _node(function: Callable[..., Any], name: str, given: Sequence[Any]) -> Any:
    """The delayed value of a function of delayed values, as one task."""
    from dask.delayed import Delayed, delayed
    from dask.highlevelgraph import HighLevelGraph

    if not all(isinstance(each, Delayed) for each in given):
        return delayed(function, pure=False)(*given, dask_key_name=name)
    graph = {name: (function, *(each.key for each in given))}
    return Delayed(name, HighLevelGraph.from_collections(name, graph, given))


def _together(*sources: Any, runs: Sequence[Callable[[Any], Any]], join: Join) -> Any:
    """What several tasks give, one after another, summed as the tree would."""
    levels: list[list[Any]] = [[]]
    for number, run in enumerate(runs):
        levels[0].append(run(sources[number % len(sources)]))
        level = 0
        while len(levels[level]) == FAN_IN:
            full, levels[level] = levels[level], []
            level += 1
            if level == len(levels):
                levels.append([])
            levels[level].append(join(full))
    carried: list[Any] = []
    for own in levels:
        parts = [*own, *carried]
        carried = [join(parts)] if len(parts) > 1 else parts
    return carried[0]


def _joined(*parts: Any, join: Join) -> Any:
    return join(parts)
