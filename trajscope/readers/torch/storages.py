"""The memory behind torch's tensors, as their files describe it: dtype, length, place."""

from collections.abc import Callable
from dataclasses import dataclass

from trajscope.readers.torch.records import Global, Persistent

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
    "complex32": 4,
    "complex64": 8,
    "complex128": 16,
    "qint8": 1,
    "quint8": 1,
    "qint32": 4,
}


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


def described_storage(reference: object) -> tuple[str, str, int] | None:
    """Key, dtype and bytes of the storage that is referred to; `None` if it is not readable.

    ``("storage", class, key, location, elements[, view])``

    Raises
    ------
    TensorError
        It is a storage, and described as none can be.
    """
    identity = reference.identity if isinstance(reference, Persistent) else None
    if not isinstance(identity, tuple) or not 5 <= len(identity) <= 6 or identity[0] != "storage":
        return None
    kind, key, elements = identity[1], identity[2], identity[4]
    if not isinstance(kind, Global) or not kind.module.startswith("torch"):
        return None
    dtype = STORAGE_DTYPES.get(kind.name)
    if dtype is None:
        return None
    if len(identity) == 6 and identity[5] is not None:
        raise TensorError("is a view in the format of torch before 0.4")
    if not isinstance(key, str) or type(elements) is not int or not 0 <= elements < 2**60:
        raise TensorError("refers to a storage with an invalid key or length")
    return key, dtype, elements * ITEM_SIZES.get(dtype, 1)
