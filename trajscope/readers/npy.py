"""Single NumPy arrays (.npy): a short text header and raw elements.

The layout: NEP 1, https://numpy.org/neps/nep-0001-npy-format.html. The header is a Python
literal; here it is taken apart by a pattern and never evaluated, and arrays of objects, which NumPy
would unpickle, are listed and not read.
"""

import math
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from trajscope.errors import CheckpointError, printable
from trajscope.readers.base import Header, Reader, TensorSpec
from trajscope.readers.files import open_regular, read_exactly
from trajscope.readers.ranges import Place, is_row_major, paired, read_range, row_major

Scalar = str | int | float | bool

_MAX_TEXT = 10_000
"""Characters of one array's header, the limit NumPy itself has."""

_MAX_STRING = 1000

_FIELD = re.compile(
    r"\s*(?P<quote>['\"])(?P<key>descr|fortran_order|shape)(?P=quote)\s*:\s*"
    r"(?P<value>'[^']*'|\"[^\"]*\"|True|False|\([0-9L,\s]*\)|\[.*\]|\(.*\))\s*(?:,|$)",
    re.DOTALL,
)
_NUMBERS = re.compile(r"(?P<order>[<>|=]?)(?P<code>b1|[iu][1248]|f[248]|c8|c16)")
# 64 axes are the most that NumPy has; 15 digits are beyond any file and below what overflows.
_SHAPE = re.compile(
    r"\(\s*(?:[0-9]{1,15}L?\s*,\s*){0,63}(?:[0-9]{1,15}L?\s*(?:,\s*)?)?\)", re.ASCII
)
# What NumPy calls bfloat16, the only dtype of two bytes that it does not know but orders.
_BFLOAT16 = "<V2"
_STRING = re.compile(r"([<>=])U([0-9]{1,4})")


def recognises(path: Path, first: bytes) -> bool:
    """Whether the file starts like a .npy file."""
    del path
    return first.startswith(b"\x93NUMPY")


def read_header(path: Path) -> Header:
    """The array, under the name ``""``, and its value where it is a single number or string.

    Raises
    ------
    CheckpointError
        The header is none of NumPy's, or does not describe this file.
    """
    descriptor = open_regular(path)
    try:
        size = os.fstat(descriptor).st_size

        def beginning(count: int) -> bytes:
            return bytes(read_exactly(descriptor, path, 0, count))

        spec, value = read_array(beginning, size, 0)
    except ArrayError as error:
        raise CheckpointError(
            f"{printable(path)} cannot be read as a NumPy array: {error}. It may be unfinished; "
            "wait, or leave it out with --exclude."
        ) from error
    finally:
        os.close(descriptor)
    return Header({"": spec}, {} if value is None else {"": value})


READER = Reader("NumPy array", (".npy",), recognises, read_header, read_range)


def read_array(
    beginning: Callable[[int], bytes], size: int, start: int, packed: int = 0
) -> tuple[TensorSpec, Scalar | None]:
    """One array of `size` bytes, header and all, and its value where it is a single one.

    `beginning` gives the first so many of its bytes; it lies at byte `start` of its file, as a
    deflate stream of `packed` bytes where that is not 0.

    Raises
    ------
    ArrayError
        The header is none of NumPy's, or contradicts the size.
    """
    head = beginning(min(size, 256))
    lead = _lead(head)
    if lead > size:
        raise ArrayError("its header is longer than the array's file")
    if lead > len(head):
        head = beginning(lead)
    described = _described(head[:lead])
    itemsize = described.itemsize
    if itemsize and lead + described.size * itemsize != size:
        raise ArrayError(
            f"shape {described.shape} of {itemsize}-byte elements does not fit {size - lead} bytes"
        )
    plain = not packed and described.row_major and described.order == "<"
    place = Place(start, packed, lead, 0, described.strides, described.order == ">")
    spec = TensorSpec(
        described.shape,
        described.dtype,
        start + lead if plain else None,
        () if plain or not described.numeric else place,
    )
    if described.size != 1 or described.shape not in {(), (1,)} or not described.code:
        return paired(spec), None
    raw = beginning(lead + itemsize)[lead:]
    return paired(spec), _value(raw, described.code)


class ArrayError(Exception):
    """What is wrong with an array's header, before it is known whose it is."""


@dataclass(frozen=True)
class _Described:
    """What the header of a .npy file says.

    `code` is the dtype for NumPy, empty where the elements are not numbers or strings;
    `numeric` tells whether they are numbers.
    """

    shape: tuple[int, ...]
    dtype: str
    strides: tuple[int, ...]
    code: str = ""
    itemsize: int = 0
    numeric: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def order(self) -> str:
        return ">" if self.code.startswith(">") else "<"

    @property
    def row_major(self) -> bool:
        return is_row_major(self.shape, self.strides)


def _lead(head: bytes) -> int:
    """Bytes before the elements: the magic, the version, the length and the text."""
    if not head.startswith(b"\x93NUMPY") or len(head) < 12 or head[6] not in (1, 2, 3):
        raise ArrayError("it is not a .npy file of version 1, 2 or 3")
    width = 2 if head[6] == 1 else 4
    length = int.from_bytes(head[8 : 8 + width], "little")
    if length > _MAX_TEXT:
        raise ArrayError(f"its header has {length} characters, more than {_MAX_TEXT}")
    return 8 + width + length


@lru_cache(maxsize=1024)
def _described(head: bytes) -> _Described:
    text = head[10 if head[6] == 1 else 12 :].decode("utf-8", "replace").strip()
    fields: dict[str, str] = {}
    position = 1
    while text.startswith("{") and (field := _FIELD.match(text[:-1], position)):
        fields[field["key"]] = field["value"]
        position = field.end()
    if len(fields) != 3 or not text.endswith("}") or text[position:-1].strip():
        raise ArrayError("its header is not a dict of descr, fortran_order and shape")
    shape, fortran = _shape(fields["shape"]), fields["fortran_order"]
    if fortran not in {"True", "False"}:
        raise ArrayError("its fortran_order is neither True nor False")
    strides = row_major(shape)
    if fortran == "True":
        strides = row_major(shape[::-1])[::-1]
    return _typed(shape, strides, fields["descr"].strip("'\""))


def _shape(text: str) -> tuple[int, ...]:
    if not _SHAPE.fullmatch(text):
        raise ArrayError("its shape is invalid")
    return tuple(int(length) for length in re.findall("[0-9]+", text))


def _typed(shape: tuple[int, ...], strides: tuple[int, ...], descr: str) -> _Described:
    if (string := _STRING.fullmatch(descr)) is not None:
        return _Described(shape, "str", strides, descr, 4 * int(string[2]))
    if descr == _BFLOAT16:
        return _Described(shape, "bfloat16", strides, "", 2, numeric=True)
    number = _NUMBERS.fullmatch(descr)
    if number is None:
        return _Described(shape, "object" if descr.endswith("O") else "structured", strides)
    dtype = np.dtype(number["code"])
    order = ">" if number["order"] == ">" and dtype.itemsize > 1 else "<"
    return _Described(
        shape, dtype.name, strides, order + number["code"], dtype.itemsize, numeric=True
    )


def _value(raw: bytes, code: str) -> Scalar | None:
    """The only element of an array, if it is one that can name a step."""
    if "U" in code:
        # Not through NumPy, which fails in a way of its own on what is no character.
        text = raw.decode("utf-32-be" if code.startswith(">") else "utf-32-le", "replace")
        return text.rstrip("\0")[:_MAX_STRING]
    value = np.frombuffer(raw, code)[0].item()
    return value if isinstance(value, (bool, int, float)) else None
