"""Settings of optimizers in files of ``torch.save``: their param_groups, read as data."""

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeGuard

from trajscope.readers.files import open_regular, read_exactly
from trajscope.readers.torch.archive import pickled_content
from trajscope.readers.torch.records import Dictionary, Global, Record
from trajscope.readers.torch.unpickler import MAX_PICKLE

Settings = Mapping[str, int | float | bool | None]

_MAX_DEPTH: Final = 6
"""Levels at which a trainer may keep its optimizers."""
_MAX_NODES: Final = 20_000
"""Containers that are looked into: the states of parameters lie below and are not entered."""
_MAX_GROUPS: Final = 10_000


def param_groups(path: Path) -> list[list[Settings]]:
    """For each optimizer in the file the numbers in its groups; nothing where there is none.

    Settings that are no numbers (lists of parameters, learning rates kept as tensors) are `None`.

    Raises
    ------
    CheckpointError
        The file cannot be read as one that torch.save wrote.
    """
    return _found(_content(path, MAX_PICKLE))


def learning_rates(path: Path, most: int) -> list[float]:
    """Learning rates of the groups of the first optimizer in the file; nothing where it has none.

    Those in its ``param_groups``, else the ``_last_lr`` of its first scheduler. No more than `most`
    bytes are unpickled, and no tensor is read.

    Raises
    ------
    CheckpointError
        The file cannot be read as one that torch.save wrote, or holds more.
    """
    content = _content(path, most)
    groups = next(iter(_found(content)), [])
    told = [group.get("lr") for group in groups] or _last_rates(content)
    rates = [float(each) for each in told if type(each) in (int, float)]  # type: ignore[arg-type]
    return rates if len(rates) == len(told) else _last_rates(content)


def _last_rates(content: object) -> list[float]:
    """``_last_lr`` of a scheduler: at the top, or in Lightning's list of them."""
    entries = _entries(content)
    listed = _entries(entries.get("lr_schedulers")).values()
    places = [entries, *(_entries(each) for each in listed)]
    places += [_entries(each) for name, each in entries.items() if "scheduler" in name]
    for place in places:
        last = place.get("_last_lr")
        found = [_numpy_number(each) for each in last] if isinstance(last, list) else []
        rates = [float(each) for each in found if type(each) in (int, float)]  # type: ignore[arg-type]
        if rates and len(rates) == len(found):
            return rates
    return []


def _content(path: Path, most: int) -> object:
    """What the file holds, `None` where another program wrote it."""
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size
        if bytes(read_exactly(descriptor, path, 0, min(size, 2))) not in (b"PK", b"\x80\x02"):
            return None
        return pickled_content(descriptor, path, size, most)
    finally:
        os.close(descriptor)


def _found(content: object) -> list[list[Settings]]:
    optimizers: list[list[Settings]] = []
    level: list[object] = [content]
    seen: set[int] = set()
    for _ in range(_MAX_DEPTH):
        below: list[object] = []
        for each in level:
            if id(each) in seen or len(seen) >= _MAX_NODES:
                continue
            seen.add(id(each))
            entries = _entries(each)
            groups = entries.get("param_groups")
            if isinstance(groups, list) and "state" in entries:
                optimizers.append([_settings(group) for group in groups[:_MAX_GROUPS]])
            else:
                below.extend(entries.values())
        level = below
    return [each for each in optimizers if each and any(each)]


def _entries(value: object) -> dict[str, object]:
    """What a container holds by name; of objects what they would be restored from."""
    if isinstance(value, list | tuple):
        return {str(place): each for place, each in enumerate(value[:_MAX_NODES])}
    if isinstance(value, Dictionary):
        pairs = value.pairs
    elif isinstance(value, Record):
        pairs = value.pairs or (value.state.pairs if isinstance(value.state, Dictionary) else [])
    else:
        return {}
    return {name: each for name, each in pairs[:_MAX_NODES] if isinstance(name, str)}


def _settings(group: object) -> Settings:
    """The numbers of one group; of a pair of numbers (betas) the key alone."""
    found = {name: _numpy_number(value) for name, value in _entries(group).items()}
    return {
        name: value if isinstance(value, int | float) and abs(value) < 2**60 else None
        for name, value in found.items()
    }


def _numpy_number(value: object) -> object:
    """A NumPy float64, as schedules that compute with NumPy leave it, as a number."""
    if not _is_call(value, "multiarray", "scalar"):
        return value
    arguments = value.arguments
    if not (isinstance(arguments, tuple) and len(arguments) == 2):
        return value
    kind, raw = arguments
    named = kind.arguments if isinstance(kind, Record) else None
    if _is_call(raw, "_codecs", "encode") and isinstance(raw.arguments, tuple):
        # How pickle's second protocol writes bytes.
        text = raw.arguments[0] if raw.arguments else None
        raw = text.encode("latin-1", "replace") if isinstance(text, str) else None
    is_double = isinstance(named, tuple) and named[:1] == ("f8",)
    if is_double and isinstance(raw, bytes) and len(raw) == 8:
        number: float = struct.unpack("<d", raw)[0]
        return number
    return value


def _is_call(value: object, module: str, name: str) -> TypeGuard[Record]:
    """Whether a value asks for a function of this name to be called."""
    origin = value.origin if isinstance(value, Record) else None
    return isinstance(origin, Global) and origin.module.endswith(module) and origin.name == name
