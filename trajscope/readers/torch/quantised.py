"""What torch's quantised tensors keep beside their codes: scales and zero points."""

from dataclasses import replace

from trajscope.readers.base import UNREADABLE, TensorSpec
from trajscope.readers.ranges import Constant
from trajscope.readers.torch.records import Global, Record
from trajscope.readers.torch.storages import Resolve
from trajscope.readers.torch.tensors import (
    LONGEST_AXIS,
    MAX_WRAPPERS,
    is_tensor,
    lengths,
    parts_of_subclass,
    tensor_spec,
)

_PER_CHANNEL = frozenset({"per_channel_affine", "per_channel_affine_float_qparams"})


def companions(record: object, resolve: Resolve) -> dict[str, TensorSpec]:
    """What a quantised tensor keeps beside its codes, "scale" and "zero_point", as arrays.

    Raises
    ------
    TensorError
        One lies outside its storage.
    """
    for _ in range(MAX_WRAPPERS):
        if not isinstance(record, Record) or not isinstance(record.origin, Global):
            return {}
        arguments = record.arguments if isinstance(record.arguments, tuple) else ()
        if record.origin.name.startswith("_rebuild_parameter"):
            record = arguments[0] if arguments else None
        elif record.origin == Global("torch._utils", "_rebuild_qtensor"):
            return _affine(arguments, resolve)
        else:
            state = parts_of_subclass(arguments)
            return {
                name: tensor_spec(state[name], resolve)
                for name in ("scale", "zero_point")
                if is_tensor(state.get(name))
            }
    return {}


def _affine(arguments: tuple[object, ...], resolve: Resolve) -> dict[str, TensorSpec]:
    """Scale and zero point from (storage, offset, size, stride, how, ...).

    ``how`` is (scheme, scale, zero point[, axis]): two numbers, or two for each index of an axis.
    """
    how = arguments[4] if len(arguments) > 4 else None
    n_axes = len(lengths(arguments[2]) or ()) if len(arguments) > 4 else 0
    kind, scale, zero, *axis = how if isinstance(how, tuple) and len(how) >= 3 else (None,) * 3
    name = kind.name if isinstance(kind, Global) and kind.module == "torch" else ""
    values = {"scale": scale, "zero_point": zero}
    if name == "per_tensor_affine" and all(
        isinstance(each, float | int) and abs(each) < LONGEST_AXIS for each in values.values()
    ):
        return {
            key: TensorSpec((), "float64", None, Constant(float(value)))
            for key, value in values.items()
            if isinstance(value, float | int)
        }
    if name in _PER_CHANNEL and len(axis) == 1 and axis[0] in range(n_axes):
        found = {key: tensor_spec(value, resolve) for key, value in values.items()}
        return {key: _along(spec, axis[0], n_axes) for key, spec in found.items()}
    return {}


def _along(spec: TensorSpec, axis: int, n_axes: int) -> TensorSpec:
    """A list of numbers as an array that has them along one of its axes."""
    if len(spec.shape) != 1 or spec.offset is None:
        return TensorSpec((), UNREADABLE)
    return replace(spec, shape=(*(1,) * axis, *spec.shape, *(1,) * (n_axes - axis - 1)))
