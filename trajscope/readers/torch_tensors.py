"""Tensors and scalars found in an unpickled checkpoint: what torch's own records mean, as data.

A checkpoint is a tree of dictionaries, lists, modules and objects of the user's own classes. Here
it is walked and flattened to names; the few records that rebuild a tensor are recognised by name.
Levels are joined by ``/``; inside a pickled module by ``.``, as in its state_dict.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from trajscope.errors import printable
from trajscope.readers.base import Header, TensorSpec
from trajscope.readers.ranges import Place, is_row_major
from trajscope.readers.unpickler import Dictionary, Global, Record

STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "QInt8Storage": "qint8",
    "QUInt8Storage": "quint8",
    "QInt32Storage": "qint32",
    "UntypedStorage": "",
}
"""What each storage class of torch holds; an untyped one leaves that to its tensors."""

ITEM_SIZES = {
    "float64": 8,
    "float32": 4,
    "float16": 2,
    "bfloat16": 2,
    "float8_e4m3fn": 1,
    "float8_e5m2": 1,
    "float8_e4m3fnuz": 1,
    "float8_e5m2fnuz": 1,
    "float8_e8m0fnu": 1,
    "int64": 8,
    "int32": 4,
    "int16": 2,
    "int8": 1,
    "uint64": 8,
    "uint32": 4,
    "uint16": 2,
    "uint8": 1,
    "bool": 1,
    "complex64": 8,
    "complex128": 16,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
}

UNREADABLE = "unreadable"
"""The dtype of a tensor that has no plain elements: quantised, sparse, without data, negated."""

_MAX_DEPTH = 64
"""Levels of containers that are entered; no trainer nests its weights deeper than a dozen."""

_MAX_REPEATS = 1_000_000
"""Entries looked at after which a shared container is not listed again under another name."""

_MAX_TENSORS = 200_000
_MAX_NAME = 1000
_MAX_METADATA = 1000
_METADATA_LEVELS = 3
_MAX_STRING = 1000

_MOST_AXES = 64
_LONGEST_AXIS = 2**48

_MAX_BROADCAST = 2**24
"""Elements a view may have beyond its storage, by repeating; else four bytes were a terabyte."""

_MAX_WRAPPERS = 8
"""Records around a tensor: a parameter of a subclass needs two."""


@dataclass(frozen=True)
class Storage:
    """The memory behind tensors, `size` bytes of it; the other fields are those of `Place`."""

    key: str
    dtype: str
    size: int
    first: int
    packed: int = 0
    big_endian: bool = False


Resolve = Callable[[object], Storage | None]
"""From what a pickle refers to, to the storage in the file; `None` if it is no storage."""


class TensorError(Exception):
    """What is wrong with a tensor, before it is known which file it is in."""


def flatten(value: object, resolve: Resolve) -> Header:
    """Every tensor and, of the upper levels, every scalar in a checkpoint, by name.

    Raises
    ------
    TensorError
        A tensor lies outside its storage, two have the same name, or there are too many.
    """
    walk = _Walk(resolve)
    walk.visit(value, "", 0, joint="")
    return Header(walk.tensors, walk.metadata)


def tensor_spec(record: object, resolve: Resolve, wrappers: int = 0) -> TensorSpec:
    """The tensor that a record would rebuild.

    Raises
    ------
    TensorError
        It lies outside its storage.
    """
    action = _action(record)
    if action is None or not isinstance(record, Record) or wrappers > _MAX_WRAPPERS:
        return _UNREADABLE
    arguments = record.arguments if isinstance(record.arguments, tuple) else ()
    return action(arguments, resolve, wrappers)


@dataclass
class _Walk:
    """A depth-first walk over the tree, and what it has found so far.

    Containers that contain themselves are not entered from inside. Shared ones are listed under
    every name, until `_MAX_REPEATS` is spent: doubling by reference then stays cheap, and yet
    everything is listed once. Objects of unknown classes are entered once, since their
    attributes refer to one another in any number of ways.
    """

    resolve: Resolve
    tensors: dict[str, TensorSpec] = field(default_factory=dict)
    metadata: dict[str, str | int | float | bool] = field(default_factory=dict)
    inside: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    looked_at: int = 0

    def visit(self, value: object, path: str, depth: int, *, joint: str = "/") -> None:
        """Flatten `value`, whose name is `path`, joined to those of its children by `joint`."""
        if _action(value) is not None:
            self.add(path or "tensor", value, "")
            return
        if depth > _MAX_DEPTH or id(value) in self.inside:
            return
        parts = self.parts(value) if isinstance(value, Record) else {}
        if isinstance(value, Record) and not parts and not _is_dictionary(value):
            if id(value) in self.seen:
                return
            self.seen.add(id(value))
        self.inside.add(id(value))
        if parts:
            self.visit_module(parts, path, depth, joint)
        else:
            self.visit_children(value, path, depth)
        self.inside.discard(id(value))

    def visit_children(self, value: object, path: str, depth: int) -> None:
        """Flatten what a dictionary, a list or an object holds: first its scalars."""
        children = self.children(value)
        if depth < _METADATA_LEVELS and not isinstance(value, (list, tuple)):
            for name, child in children.items():
                scalar = _scalar(child)
                if scalar is not None and len(self.metadata) < _MAX_METADATA:
                    self.metadata.setdefault(_joined(path, "/", name), scalar)
        for name, child in children.items():
            if isinstance(child, _CONTAINERS):
                self.visit(child, _joined(path, "/", name), depth + 1)

    def visit_module(self, parts: dict[str, object], path: str, depth: int, joint: str) -> None:
        """Flatten a pickled module: its parameters, its buffers, its submodules."""
        for role, part in (("parameter", "_parameters"), ("buffer", "_buffers")):
            for name, child in self.children(parts.get(part)).items():
                if _action(child) is not None:
                    self.add(_joined(path, joint, name), child, role)
        for name, child in self.children(parts["_modules"]).items():
            if isinstance(child, Record):
                self.visit(child, _joined(path, joint, name), depth + 1, joint=".")

    def add(self, name: str, record: object, role: str) -> None:
        """List one tensor."""
        if name in self.tensors:
            raise TensorError(f"two tensors are called '{printable(name)}'")
        if len(self.tensors) >= _MAX_TENSORS:
            raise TensorError(
                f"it holds more than {_MAX_TENSORS} tensors, the most that are listed"
            )
        try:
            spec = tensor_spec(record, self.resolve)
        except TensorError as error:
            raise TensorError(f"tensor '{printable(name)}' {error}") from error
        self.tensors[name] = replace(spec, role=role) if role else spec

    def parts(self, value: Record) -> dict[str, object]:
        """The attributes of a module; empty where the object is none."""
        state = value.state
        if not isinstance(state, Dictionary) or not self.affordable(state, len(state.pairs)):
            return {}
        attributes = _named(state.pairs)
        return attributes if {"_parameters", "_modules"} <= attributes.keys() else {}

    def children(self, value: object) -> dict[str, object]:
        """What a container holds, by name; of lists only what may hold tensors."""
        if isinstance(value, (list, tuple)):
            if not self.affordable(value, len(value)):
                return {}
            return {str(i): each for i, each in enumerate(value) if isinstance(each, _CONTAINERS)}
        if isinstance(value, Dictionary):
            return _named(value.pairs) if self.affordable(value, len(value.pairs)) else {}
        if not isinstance(value, Record):
            return {}
        found = self.children(value.items) | _named(value.pairs)
        if _is_dictionary(value):
            return self.children(_initial(value)) | found
        state = value.state if isinstance(value.state, tuple) else (value.state,)
        for part in state[:2]:  # the attributes, and those in __slots__
            if isinstance(part, Dictionary):
                found |= self.children(part)
        return found

    def affordable(self, container: object, size: int) -> bool:
        """Whether `size` entries may be looked at: always the first time, later within limits."""
        known = id(container) in self.seen
        self.seen.add(id(container))
        if known and self.looked_at > _MAX_REPEATS:
            return False
        self.looked_at += size
        return True


_CONTAINERS = (Dictionary, Record, list, tuple)

_DICTIONARIES = frozenset(
    {
        Global("collections", "OrderedDict"),
        Global("collections", "defaultdict"),
        Global("builtins", "dict"),
        Global("__builtin__", "dict"),
    }
)


def _is_dictionary(record: Record) -> bool:
    return isinstance(record.origin, Global) and record.origin in _DICTIONARIES


def _initial(record: Record) -> Dictionary:
    """The pairs that a dictionary was constructed from, as Python 2 wrote an OrderedDict."""
    arguments = record.arguments
    if isinstance(arguments, tuple) and len(arguments) == 1 and isinstance(arguments[0], list):
        pairs = arguments[0]
        if all(isinstance(pair, (list, tuple)) and len(pair) == 2 for pair in pairs):
            return Dictionary([(pair[0], pair[1]) for pair in pairs])
    return Dictionary()


def _named(pairs: list[tuple[object, object]]) -> dict[str, object]:
    """The pairs whose keys are text or numbers; of equal keys the last, as in Python."""
    named = {}
    for key, value in pairs:
        if isinstance(key, str):
            named[key] = value
        elif isinstance(key, float) or (isinstance(key, int) and key.bit_length() < 64):
            named[str(key)] = value
    return named


def _joined(path: str, joint: str, name: str) -> str:
    joined = f"{path}{joint}{name}" if path else name
    if len(joined) > _MAX_NAME:
        raise TensorError(f"the name '{printable(joined)}' is longer than {_MAX_NAME} characters")
    return joined


def _scalar(value: object) -> str | int | float | bool | None:
    """The value, if it is a number or a text of sensible length."""
    if isinstance(value, str):
        return value if len(value) <= _MAX_STRING else None
    if isinstance(value, int):
        return value if value.bit_length() < 64 else None
    return value if isinstance(value, float) else None


_Action = Callable[[tuple[object, ...], Resolve, int], TensorSpec]
_UNREADABLE = TensorSpec((), UNREADABLE)


def _action(record: object) -> _Action | None:
    """How to understand a record that rebuilds a tensor; `None` for every other value."""
    if not isinstance(record, Record) or not isinstance(record.origin, Global):
        return None
    return _ACTIONS.get(record.origin)


def _typed(arguments: tuple[object, ...], resolve: Resolve, wrappers: int) -> TensorSpec:
    """(storage, offset, size, stride, requires_grad, hooks[, flags]): the storage has the dtype."""
    del wrappers
    return _view(arguments[:4], None, arguments[6:], resolve)


def _untyped(arguments: tuple[object, ...], resolve: Resolve, wrappers: int) -> TensorSpec:
    """(storage, offset, size, stride, requires_grad, hooks, dtype[, flags])."""
    del wrappers
    dtype = arguments[6] if len(arguments) > 6 else None
    if not isinstance(dtype, Global) or dtype.module != "torch" or dtype.name not in ITEM_SIZES:
        return _UNREADABLE
    return _view(arguments[:4], dtype.name, arguments[7:], resolve)


def _wrapped(arguments: tuple[object, ...], resolve: Resolve, wrappers: int) -> TensorSpec:
    """(tensor, requires_grad, hooks[, state]): a parameter."""
    return tensor_spec(arguments[0] if arguments else None, resolve, wrappers + 1)


def _subclassed(arguments: tuple[object, ...], resolve: Resolve, wrappers: int) -> TensorSpec:
    """(function, class, arguments, state): a tensor of a class of the user's own."""
    if len(arguments) < 3:
        return _UNREADABLE
    return tensor_spec(Record(arguments[0], arguments[2]), resolve, wrappers + 1)


def _without_elements(arguments: tuple[object, ...], resolve: Resolve, wrappers: int) -> TensorSpec:
    del arguments, resolve, wrappers
    return _UNREADABLE


def _view(
    arguments: tuple[object, ...],
    dtype: str | None,
    flags: tuple[object, ...],
    resolve: Resolve,
) -> TensorSpec:
    """A view of a storage, its bounds checked."""
    negated = flags and isinstance(flags[0], Dictionary) and flags[0].pairs
    storage = resolve(arguments[0]) if len(arguments) == 4 and not negated else None
    if storage is None:
        return _UNREADABLE
    dtype = dtype or storage.dtype or "uint8"
    start, shape, strides = arguments[1], _lengths(arguments[2]), _lengths(arguments[3])
    if type(start) is not int or shape is None or strides is None or len(shape) != len(strides):
        raise TensorError("has a size, stride or offset that are no lengths")
    itemsize = ITEM_SIZES[dtype]
    size, there = math.prod(shape), storage.size // itemsize
    reach = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if start < 0 or (size and start + reach >= there) or size > there + _MAX_BROADCAST:
        raise TensorError(
            f"of shape {shape} and stride {strides} does not fit into its storage of {there} "
            f"elements, of which it starts at {start}"
        )
    plain = is_row_major(shape, strides)
    same_memory = f"{storage.key}:{start}:{shape}:{'' if plain else strides}"
    if plain and not storage.packed and (itemsize == 1 or not storage.big_endian):
        return TensorSpec(shape, dtype, storage.first + start * itemsize, storage=same_memory)
    big_endian = storage.big_endian and itemsize > 1
    place = Place(storage.first, storage.packed, 0, start, strides, big_endian)
    return TensorSpec(shape, dtype, None, place, storage=same_memory)


def _lengths(value: object) -> tuple[int, ...] | None:
    if isinstance(value, Record) and value.origin == Global("torch", "Size"):
        arguments = value.arguments
        value = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if not isinstance(value, (tuple, list)) or len(value) > _MOST_AXES:
        return None
    # type() and not isinstance(): a bool is no length.
    if not all(type(length) is int and 0 <= length < _LONGEST_AXIS for length in value):
        return None
    return tuple(value)


_ACTIONS: dict[Global, _Action] = {
    Global("torch._utils", "_rebuild_tensor"): _typed,
    Global("torch._utils", "_rebuild_tensor_v2"): _typed,
    Global("torch._utils", "_rebuild_tensor_v3"): _untyped,
    Global("torch._utils", "_rebuild_parameter"): _wrapped,
    Global("torch._utils", "_rebuild_parameter_with_state"): _wrapped,
    Global("torch._tensor", "_rebuild_from_type"): _subclassed,
    Global("torch._tensor", "_rebuild_from_type_v2"): _subclassed,
    Global("torch._utils", "_rebuild_qtensor"): _without_elements,
    Global("torch._utils", "_rebuild_sparse_tensor"): _without_elements,
    Global("torch._utils", "_rebuild_sparse_csr_tensor"): _without_elements,
    Global("torch._utils", "_rebuild_nested_tensor"): _without_elements,
    Global("torch._utils", "_rebuild_wrapper_subclass"): _without_elements,
    Global("torch._utils", "_rebuild_meta_tensor_no_storage"): _without_elements,
    Global("torch._utils", "_rebuild_device_tensor_from_numpy"): _without_elements,
    Global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _without_elements,
}
