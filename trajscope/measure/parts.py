"""Finished parts of a pass, kept in a folder: a pass that is killed goes on from them."""

import hashlib
import json
import math
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.errors import CheckpointError, OptionError
from trajscope.files import replaced
from trajscope.measure.directions import Directions
from trajscope.measure.paths import Size
from trajscope.measure.plan import Rows, Segment, make_plan
from trajscope.measure.room import taken_by
from trajscope.measure.span import GroupSums
from trajscope.measure.trace import Trace
from trajscope.readers.files import open_regular
from trajscope.schema import FINGERPRINT, STEP, TENSOR

Result = tuple[GroupSums, Trace | None]

_VERSION: Final = 2
_SIZE: Final = "size.json"
_SHARE: Final = 20
"""Times what writing a part takes that has to pass before it is written."""
_BYTES_PER_SECOND: Final = 1e8
"""At which the first part is expected to be written."""
_MOST_HELD: Final = 32
"""A part of the memory limit: parts that wait to be written take no more."""
_MOST_PASSES: Final = 4
_DTYPES: Final = ("<f8", "<i8", "<u8", "<i4")
_PINNED: Final = ("memory", "workers", "fewest_workers", "resident")


@dataclass
class Parts:
    """The parts of one pass, in a folder of their own, which is made with the first of them.

    Attributes
    ----------
    memory :
        Bytes that a process may hold.
    plan :
        What the pass was planned for, kept beside the parts; `None` where it is there already.
    """

    folder: Path
    memory: int
    plan: Mapping[str, int] | None = None

    def __post_init__(self) -> None:
        self._held: list[tuple[int, bytes]] = []
        self._on, self._last, self._cost = True, time.monotonic(), 0.0

    def get(self, number: int) -> Result | None:
        """What a chunk of the plan gave, if it was kept and is as it was written."""
        try:
            with open(open_regular(self.folder / _name(number)), "rb") as file:
                return _unpacked(file.read())
        except (CheckpointError, OSError, ValueError, TypeError, KeyError, IndexError):
            return None

    def put(self, number: int, result: Result) -> None:
        """Keep what a chunk gave, now or with a later one: writing takes a twentieth of the time.

        Where it would take more, or cannot be done, no more is kept.
        """
        if not self._on:
            return
        self._held.append((number, _packed(result)))
        held = sum(len(content) for _, content in self._held)
        began = time.monotonic()
        cost = self._cost * held or held / _BYTES_PER_SECOND + 0.005
        if began - self._last < _SHARE * cost:
            if held > self.memory // _MOST_HELD:
                self._on, self._held = False, []
            return
        try:
            self._begin()
            for each, content in self._held:
                with replaced(self.folder / _name(each)) as file:
                    file.write(content)
        except OSError:
            self._on = False
        self._held, self._last = [], time.monotonic()
        self._cost = (self._last - began) / held

    def _begin(self) -> None:
        """The folder, with the plan alone."""
        if self.plan is None:
            return
        _make_room(self.folder.parent)
        with replaced(self.folder / _SIZE) as file:
            file.write(json.dumps(self.plan).encode())
        self.plan = None


def parts_of(  # noqa: PLR0913 - all that makes a pass the same pass
    trajectory: xr.Dataset,
    folder: Path | None,
    size: Size,
    segments: Sequence[Segment],
    *,
    windows: Sequence[Rows],
    directions: Directions | None = None,
    seed: int,
) -> tuple[Parts | None, Size]:
    """Where the parts of a pass are kept, and the size that its plan is made for.

    That is the size of the pass that was killed, so that the plan and thus every bit is the same;
    unless it needs more memory than there is now.

    Parameters
    ----------
    folder :
        `None` where nothing is kept; nor are parts of arrays in memory, which nothing identifies.
    """
    if folder is None or FINGERPRINT not in trajectory.coords:
        return None, size
    fingerprints = trajectory[FINGERPRINT].to_numpy()
    if not fingerprints.astype(bool).all():
        return None, size
    shape = {name: value for name, value in asdict(size).items() if name not in _PINNED}
    content = [
        _VERSION, shape, fingerprints.tolist(), trajectory[STEP].to_numpy().tolist(),
        *(trajectory[name].to_numpy().tolist() for name in (TENSOR, "group", "row_size")),
        list(windows), None if directions is None else directions.digest(), seed,
    ]  # fmt: skip
    own = folder / hashlib.sha256(repr(content).encode("utf-8", "backslashreplace")).hexdigest()
    before = _before(own, size)
    if before is not None and _fits(before, size, segments):
        return Parts(own, size.memory), before
    shutil.rmtree(own, ignore_errors=True)  # what another plan left is not what this one needs
    return Parts(own, size.memory, {name: getattr(size, name) for name in _PINNED}), size


def clear_parts(folder: Path) -> None:
    """Remove the parts of all passes in a folder, and the folder if nothing else is in it."""
    with suppress(OSError):
        for path in _passes(folder):
            shutil.rmtree(path, ignore_errors=True)
        folder.rmdir()


def _fits(planned: Size, now: Size, segments: Sequence[Segment]) -> bool:
    """Whether a pass that was planned at another moment fits the memory that there is now."""
    try:
        plan = make_plan(planned, segments)
    except OptionError:  # of numbers that nobody wrote
        return False
    needed = taken_by(planned, plan.path, plan.workers, plan.width) - planned.resident
    return needed + now.resident <= now.memory


def _passes(folder: Path) -> list[Path]:
    """The folders of parts, the oldest first."""
    found = [path for path in folder.iterdir() if re.fullmatch("[0-9a-f]{64}", path.name)]
    return sorted(found, key=lambda path: path.stat().st_mtime)


def _before(folder: Path, size: Size) -> Size | None:
    """The size for which the pass was planned that left its parts in a folder."""
    try:
        with open(open_regular(folder / _SIZE), "rb") as file:
            known = json.loads(file.read(4096))
        pinned = {name: known[name] for name in _PINNED}
    except (CheckpointError, OSError, ValueError, TypeError, KeyError):
        return None
    if any(type(value) is not int or value < 0 for value in pinned.values()):
        return None
    return replace(size, **pinned)


def _make_room(folder: Path) -> None:
    """Remove the parts of all but the latest passes: those of other states of the files."""
    with suppress(OSError):
        for path in _passes(folder)[: -_MOST_PASSES + 1]:
            shutil.rmtree(path, ignore_errors=True)


def _name(number: int) -> str:
    return f"part-{number}"


def _packed(result: Result) -> bytes:
    """A digest, a line that says which arrays there are, and their bytes."""
    arrays = dict(_flat(result))
    told = [(name, each.dtype.str, each.shape) for name, each in arrays.items()]
    is_watched, counts = _counts(result[1])
    head = json.dumps([told, is_watched, counts]).encode() + b"\n"
    content = b"".join([head, *(each.tobytes() for each in arrays.values())])
    return hashlib.sha256(content).digest() + content


def _unpacked(stored: bytes) -> Result:
    digest, content = stored[:32], stored[32:]
    if hashlib.sha256(content).digest() != digest:
        raise ValueError
    head, _, raw = content.partition(b"\n")
    told, is_watched, counts = json.loads(head)
    arrays, place = {}, 0
    for name, dtype, shape in told:
        if dtype not in _DTYPES:
            raise ValueError
        count = math.prod(shape)
        values = np.frombuffer(raw, dtype, count, place).reshape(shape)
        arrays[name], place = values.copy(), place + values.nbytes
    return _restored(arrays, counts if is_watched else None)


def _flat(result: Result) -> "Sequence[tuple[str, NDArray[Any]]]":
    sums, trace = result
    found: list[tuple[str, NDArray[Any]]] = [
        (f"sums/{group}/{part}/{name}", np.asarray(values))
        for (group, part), own in sums.items()
        for name, values in own.items()
    ]
    if trace is not None:
        found += [(f"trace/{name}", getattr(trace, name)) for name in ("checks", "bits", "changed")]
        found += [(f"open/{tensor}", values) for tensor, values in trace.open.items()]
        found += [(f"back/{run}/{t}", values) for (run, t), values in trace.returned.items()]
    return found


def _counts(trace: Trace | None) -> tuple[bool, list[int]]:
    return trace is not None, [] if trace is None else [trace.n_units, trace.itemsize]


def _restored(arrays: "Mapping[str, NDArray[Any]]", counts: list[int] | None) -> Result:
    sums: GroupSums = {}
    trace = None
    if counts is not None:
        checks, bits, changed = (arrays[f"trace/{each}"] for each in ("checks", "bits", "changed"))
        trace = Trace(checks, bits, changed, counts[0], counts[1])
    for name, values in arrays.items():
        kind, *where = name.split("/", 3)
        if kind == "sums":
            sums.setdefault((int(where[0]), int(where[1])), {})[where[2]] = values
        elif kind == "open" and trace is not None:
            trace.open[int(where[0])] = values
        elif kind == "back" and trace is not None:
            trace.returned[int(where[0]), int(where[1])] = values
    return sums, trace
