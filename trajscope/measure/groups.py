"""Which weights are measured together, and how large the work on them is."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import xarray as xr

from trajscope.errors import OptionError
from trajscope.kernels.compiled.transform import is_possible
from trajscope.measure.executor import Executor
from trajscope.measure.paths import Size
from trajscope.measure.plan import Rows, Segment
from trajscope.measure.resources import resident_bytes
from trajscope.readers.base import resolution
from trajscope.schema import ALL_WEIGHTS

MOST_GROUPS: Final = 20_000
SAMPLE: Final = 8192
"""Weights of a group from which the spread of the autocorrelation is taken, on average."""
_WORKER_RESIDENT: Final = 160 << 20
"""What a dask worker process holds once it has imported what the pass needs; measured."""
_COMPILER: Final = 80 << 20
"""What LLVM and what it compiles take; measured."""
_FEWEST_COMPILED: Final = 1 << 25
"""Numbers of a pass from which compiling what works on them, a fifth of a second, pays."""
_LEAST_COMPILED: Final = 512 << 20
"""Memory limit from which there is room for it."""


@dataclass(frozen=True)
class Groups:
    """The groups of a trajectory, in order of appearance.

    Attributes
    ----------
    segments :
        The runs of weights that make them up.
    """

    names: tuple[str, ...]
    segments: tuple[Segment, ...]

    @property
    def are_layers(self) -> bool:
        """Whether they are measured beside all weights; else they are all weights."""
        return self.names != (ALL_WEIGHTS,)

    @property
    def with_all(self) -> list[str]:
        """The names behind that of all weights; a layer may be called "all" too."""
        if not self.are_layers:
            return [ALL_WEIGHTS]
        return [ALL_WEIGHTS, *(f"'{name}'" if name == ALL_WEIGHTS else name for name in self.names)]

    def sampled(self) -> "Groups":
        """The same, larger groups with the share of weights that makes up a random sample."""
        sizes: Counter[int] = Counter()
        for each in self.segments:
            sizes[each.group] += each.stop - each.start
        shares = {group: min(1.0, SAMPLE / size) for group, size in sizes.items() if size}
        segments = (replace(each, share=shares.get(each.group, 1.0)) for each in self.segments)
        return Groups(self.names, tuple(segments))


def groups_of(trajectory: xr.Dataset) -> Groups:
    """The groups of a trajectory, from ``group``, ``row_size`` and ``stored_dtype`` (tensor,).

    Raises
    ------
    OptionError
        There are more than `MOST_GROUPS`.
    """
    names: dict[str, int] = {}
    segments: list[Segment] = []
    start = 0
    rows = zip(
        trajectory["group"].values,
        trajectory["row_size"].values,
        trajectory["stored_dtype"].values,
        strict=True,
    )
    for group, size, dtype in rows:
        number = names.setdefault(str(group), len(names))
        spacing, stop = resolution(str(dtype)), start + int(size)
        last = segments[-1] if segments else None
        if last and (last.group, last.resolution) == (number, spacing):
            segments[-1] = Segment(number, last.start, stop, spacing)
        else:
            segments.append(Segment(number, start, stop, spacing))
        start = stop
    if len(names) > MOST_GROUPS:
        raise OptionError(
            f"The weights are in {len(names):,} groups; at most {MOST_GROUPS:,} can be measured "
            "one by one, at some milliseconds each and a row of the page. Use --by none, or select "
            "tensors with --include."
        )
    return Groups(tuple(names), tuple(segments))


def size_of(
    weights: Any,  # an xarray array or a Stack
    groups: Groups,
    executor: Executor,
    memory: int,
    *,
    runs: Sequence[Rows] = (),
    windows: Sequence[Rows] = (),
) -> Size:
    """What the plan of a pass depends on."""
    n_steps, n_weights = weights.shape
    shared = executor.shares_memory
    is_large = n_steps * n_weights >= _FEWEST_COMPILED and memory >= _LEAST_COMPILED
    is_compiled = is_large and is_possible()
    resident = resident_bytes() if shared else _WORKER_RESIDENT
    return Size(
        n_steps=n_steps,
        n_weights=n_weights,
        n_groups=len(groups.names),
        itemsize=4 if weights.dtype.kind == "f" and weights.dtype.itemsize <= 4 else 8,
        memory=memory,
        workers=executor.per_process,
        fewest_workers=1 if shared else executor.per_process,
        resident=resident + is_compiled * _COMPILER,
        holds_tasks=getattr(weights, "chunks", None) is not None,
        runs=tuple(stop - start for start, stop in runs),
        windows=tuple(stop - start for start, stop in windows),
        is_compiled=is_compiled,
    )
