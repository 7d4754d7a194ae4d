"""NumPy arrays in a pickle: what they are, so that they are listed. Their elements are not read."""

import math

from trajscope.readers.base import NUMPY, UNREADABLE, TensorSpec
from trajscope.readers.torch.records import Global, Record
from trajscope.readers.torch.tensors import lengths

_MODULES = frozenset({
    "numpy.core.multiarray", "numpy._core.multiarray", "numpy.core.numeric", "numpy._core.numeric",
})  # fmt: skip
_FLOATS = {"f2": "float16", "f4": "float32", "f8": "float64"}


def array_spec(value: object) -> TensorSpec | None:
    """The NumPy array that a record would rebuild, unreadable; `None` if it is another record."""
    origin = value.origin if isinstance(value, Record) else None
    if not isinstance(value, Record) or not isinstance(origin, Global):
        return None
    if origin.module not in _MODULES or origin.name not in ("_reconstruct", "_frombuffer"):
        return None
    if origin.name == "_frombuffer":  # (bytes, dtype, shape, order)
        data, dtype, shape = _at(value.arguments, (0, 1, 2))
    else:  # (version, shape, dtype, whether in Fortran's order, bytes)
        shape, dtype, data = _at(value.state, (1, 2, 4))
    code = _at(dtype.arguments, (0,))[0] if isinstance(dtype, Record) else None
    known = lengths(shape) or ()
    # Before protocol 3 bytes are a call, whose first argument is a text of as many characters.
    data = _at(data.arguments, (0,))[0] if isinstance(data, Record) else data
    there = len(data) if isinstance(data, (str, bytes, list)) else 0
    name = _FLOATS.get(code, "") if isinstance(code, str) else ""
    known = known if math.prod(known) <= there else ()
    return TensorSpec(known, UNREADABLE, original=NUMPY + name)


def _at(values: object, places: tuple[int, ...]) -> tuple[object, ...]:
    """What stands at these places of a tuple; `None` where nothing does."""
    found = values if isinstance(values, tuple) else ()
    return tuple(found[place] if place < len(found) else None for place in places)
