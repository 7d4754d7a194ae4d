"""What torch's records of tensors mean, as data: dtype, shape, and the place of the elements."""

import math
from collections.abc import Callable
from dataclasses import replace

from trajscope.readers.base import SPARSE, UNREADABLE, TensorSpec
from trajscope.readers.ranges import PARTS, Place, is_row_major, paired
from trajscope.readers.torch.records import Dictionary, Global, Record
from trajscope.readers.torch.storages import ITEM_SIZES, Resolve, TensorError

_MOST_AXES = 64
LONGEST_AXIS = 2**48

_MAX_BROADCAST = 2**24
"""Elements a view may have beyond its storage, by repeating; else four bytes were a terabyte."""

# What torch notes of a tensor instead of doing it.
_NOTED = (("conj", True), ("neg", True))

MAX_WRAPPERS = 8
"""Records around a tensor: a parameter of a subclass needs two."""


def is_tensor(value: object) -> bool:
    """Whether a value is a record that would rebuild a tensor."""
    return _action(value) is not None


def tensor_spec(record: object, resolve: Resolve, wrappers: int = 0) -> TensorSpec:
    """The tensor that a record would rebuild.

    Raises
    ------
    TensorError
        It lies outside its storage.
    """
    action = _action(record)
    if action is None or not isinstance(record, Record) or wrappers > MAX_WRAPPERS:
        return _UNREADABLE
    arguments = record.arguments if isinstance(record.arguments, tuple) else ()
    return action(arguments, resolve, wrappers)


def parts_of_subclass(arguments: tuple[object, ...]) -> dict[str, object]:
    """What a tensor of torchao's is made of; empty where its codes are not one for each weight."""
    kind, inner, state = arguments[1:4] if len(arguments) > 3 else (None, None, None)
    known = isinstance(kind, Global) and kind in _ONE_CODE_PER_WEIGHT
    if not known or not isinstance(state, Dictionary):
        return {}
    found = {name: value for name, value in state.pairs if isinstance(name, str)}
    codes = found.get("qdata")
    stored = codes.arguments if isinstance(codes, Record) else ()
    if not isinstance(inner, tuple) or not isinstance(stored, tuple):
        return {}
    # (class, dtype, size, ...) of the weights, (storage, offset, size, ...) of the codes.
    shapes = [lengths(each[2]) for each in (inner, stored) if len(each) > 2]
    return found if len(shapes) == 2 and shapes[0] == shapes[1] else {}


def lengths(value: object) -> tuple[int, ...] | None:
    """The numbers of a ``torch.Size``, a tuple or a list; `None` if they are none of a shape."""
    if isinstance(value, Record) and value.origin == Global("torch", "Size"):
        arguments = value.arguments
        value = arguments[0] if isinstance(arguments, tuple) and arguments else None
    if not isinstance(value, (tuple, list)) or len(value) > _MOST_AXES:
        return None
    # type() and not isinstance(): a bool is no length.
    if not all(type(length) is int and 0 <= length < LONGEST_AXIS for length in value):
        return None
    return tuple(value)


_Action = Callable[[tuple[object, ...], Resolve, int], TensorSpec]
_UNREADABLE = TensorSpec((), UNREADABLE)


def _action(record: object) -> _Action | None:
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
    if _is_distributed(arguments[1]):
        whole = _whole(arguments, resolve, wrappers)
        return whole or replace(_UNREADABLE, original="DTensor")
    if arguments[0] == Global("torch._utils", "_rebuild_wrapper_subclass"):
        codes = parts_of_subclass(arguments).get("qdata")
        name = getattr(arguments[1], "name", "")
        spec = tensor_spec(codes, resolve, wrappers + 1) if codes else _UNREADABLE
        return replace(spec, original=name if isinstance(name, str) else "")
    return tensor_spec(Record(arguments[0], arguments[2]), resolve, wrappers + 1)


def _is_distributed(kind: object) -> bool:
    return isinstance(kind, Global) and kind.name == "DTensor" and kind.module.startswith("torch.")


def _whole(arguments: tuple[object, ...], resolve: Resolve, wrappers: int) -> TensorSpec | None:
    """The tensor that a DTensor stands for, if all of it is on the rank that saved it.

    The arguments are (function, class, (class, dtype, size, ...), (slots, attributes)).
    """
    inner, state = arguments[2:4] if len(arguments) > 3 else (None, None)
    state = state[1] if isinstance(state, tuple) and len(state) == 2 else state
    if not isinstance(inner, tuple) or len(inner) < 3 or not isinstance(state, Dictionary):
        return None
    found = {name: value for name, value in state.pairs if isinstance(name, str)}
    spec = found.get("_spec")
    described = spec.state if isinstance(spec, Record) else None
    pairs = described.pairs if isinstance(described, Dictionary) else []
    placements = next((value for name, value in pairs if name == "placements"), None)
    if not isinstance(placements, (tuple, list)):
        return None
    kinds = [each.origin for each in placements if isinstance(each, Record)]
    names = {kind.name for kind in kinds if isinstance(kind, Global)}
    # What is "Partial" has its shape, and is one term of a sum.
    if len(kinds) != len(placements) or not names <= {"Replicate", "Shard"}:
        return None
    local = tensor_spec(found.get("_local_tensor"), resolve, wrappers + 1)
    return local if local.shape == lengths(inner[2]) else None


def _quantised(arguments: tuple[object, ...], resolve: Resolve, wrappers: int) -> TensorSpec:
    """(storage, offset, size, stride, how, requires_grad, hooks): codes of whole numbers."""
    del wrappers
    spec = _view(arguments[:4], None, (), resolve)
    return replace(spec, dtype=spec.dtype.removeprefix("q"), original=spec.dtype)


_ONE_CODE_PER_WEIGHT = frozenset(
    {
        Global("torchao.quantization", "Int8Tensor"),
        Global("torchao.quantization", "Float8Tensor"),
    }
)


def _sparse(arguments: tuple[object, ...], resolve: Resolve, wrappers: int) -> TensorSpec:
    """(layout, (places ..., values, size[, coalesced])): listed with its size, and not read."""
    del resolve, wrappers
    data = arguments[1] if len(arguments) > 1 else ()
    sizes = map(lengths, data) if isinstance(data, tuple) else ()
    shape = next((each for each in sizes if each is not None), ())
    return TensorSpec(shape, UNREADABLE, original=SPARSE)


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
    noted = flags[0].pairs if flags and isinstance(flags[0], Dictionary) else []
    storage = resolve(arguments[0]) if len(arguments) == 4 else None
    if storage is None or not (len(noted) <= 2 and all(pair in _NOTED for pair in noted)):
        return _UNREADABLE
    dtype = dtype or storage.dtype or "uint8"
    start, shape, strides = arguments[1], lengths(arguments[2]), lengths(arguments[3])
    if type(start) is not int or shape is None or strides is None or len(shape) != len(strides):
        raise TensorError("has an invalid size, stride or offset")
    itemsize = ITEM_SIZES[dtype]
    size, there = math.prod(shape), storage.size // itemsize
    reach = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True))
    if start < 0 or (size and start + reach >= there) or size > there + _MAX_BROADCAST:
        raise TensorError(
            f"of shape {shape} and stride {strides} does not fit into its storage of {there} "
            f"elements from offset {start}"
        )
    plain = is_row_major(shape, strides)
    same_memory = f"{storage.key}:{start}:{shape}:{'' if plain else strides}"
    conjugated, negated = (pair in noted for pair in _NOTED)
    sign = -1 if negated else 1
    signs = (sign, -sign if conjugated and dtype in PARTS else sign)
    plain = plain and signs == (1, 1)
    if plain and not storage.packed and (itemsize == 1 or not storage.big_endian):
        first = storage.first + start * itemsize
        return paired(TensorSpec(shape, dtype, first, storage=same_memory))
    big_endian = storage.big_endian and itemsize > 1
    place = Place(storage.first, storage.packed, 0, start, strides, big_endian, signs)
    return paired(TensorSpec(shape, dtype, None, place, storage=same_memory))


_ACTIONS: dict[Global, _Action] = {
    Global("torch._utils", "_rebuild_tensor"): _typed,
    Global("torch._utils", "_rebuild_tensor_v2"): _typed,
    Global("torch._utils", "_rebuild_tensor_v3"): _untyped,
    Global("torch._utils", "_rebuild_parameter"): _wrapped,
    Global("torch._utils", "_rebuild_parameter_with_state"): _wrapped,
    Global("torch._tensor", "_rebuild_from_type"): _subclassed,
    Global("torch._tensor", "_rebuild_from_type_v2"): _subclassed,
    Global("torch._utils", "_rebuild_qtensor"): _quantised,
    Global("torch._utils", "_rebuild_sparse_tensor"): _sparse,
    Global("torch._utils", "_rebuild_sparse_csr_tensor"): _sparse,
    Global("torch._utils", "_rebuild_nested_tensor"): _without_elements,
    Global("torch._utils", "_rebuild_wrapper_subclass"): _without_elements,
    Global("torch._utils", "_rebuild_meta_tensor_no_storage"): _without_elements,
    Global("torch._utils", "_rebuild_device_tensor_from_numpy"): _without_elements,
    Global("torch._utils", "_rebuild_device_tensor_from_cpu_tensor"): _without_elements,
}
