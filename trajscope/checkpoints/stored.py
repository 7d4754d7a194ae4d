"""Arrays where they lie, and which of them lie in one another's memory."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from trajscope.checkpoints.products import Product
from trajscope.readers.base import TensorSpec, stored_dtype
from trajscope.readers.ranges import Place as Elsewhere

Place = tuple[int, str]
"""The part of a checkpoint that an array lies in, and its name there."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An array where it lies: the part of the checkpoint, its name there, and its header entry.

    `product` says what the elements have to be multiplied with to be weights, `note` why the array
    is no weight by itself, as far as its neighbours tell.
    """

    part: int
    name: str
    spec: TensorSpec
    product: Product | None = None
    note: str = ""

    @property
    def dtype(self) -> str:
        """The dtype that its weights are stored in."""
        return self.spec.dtype if self.product is None else self.product.dtype


def ties(arrays: Mapping[str, Stored]) -> dict[str, str]:
    """For each array that names its memory, the first one there."""
    first: dict[tuple[int, str], str] = {}
    return {
        raw: first.setdefault((stored.part, stored.spec.storage), raw)
        for raw, stored in arrays.items()
        if stored.spec.storage
    }


def views(arrays: Mapping[str, Stored]) -> dict[Place, Place]:
    """For each array whose elements all lie in another, larger or earlier one: which that is.

    Of one array that others fill without gaps it is the one that lies in them, in the first of
    them.
    """
    memory: dict[int, list[tuple[int, int, bool, Place]]] = defaultdict(list)
    for stored in arrays.values():
        first, last, plain = _memory(stored.spec)
        if last > first and not stored.note:
            memory[stored.part].append((first, last, plain, (stored.part, stored.name)))
    found: dict[Place, Place] = {}
    for pieces in memory.values():
        found |= _inside(sorted(pieces, key=lambda each: (each[0], -each[1])))
    return found


def _inside(pieces: Sequence[tuple[int, int, bool, Place]]) -> dict[Place, Place]:
    """The same of one file, whose arrays are in the order of their first bytes."""
    found: dict[Place, Place] = {}
    smaller: dict[tuple[int, int, Place], list[tuple[int, int, Place]]] = defaultdict(list)
    whole: tuple[int, int, Place] = (0, 0, (0, ""))
    for first, last, plain, place in pieces:
        if last > whole[1]:
            whole = (first, last, place) if plain else whole
        elif (first, last) == whole[:2]:
            found[place] = whole[2]
        else:
            smaller[whole].append((first, last, place))
    for (first, last, place), own in smaller.items():
        if _fill((first, last), own):
            found[place] = own[0][2]
        else:
            found |= {each: place for _, _, each in own}
    return found


def _fill(ends: tuple[int, int], pieces: Sequence[tuple[int, int, Place]]) -> bool:
    """Whether pieces, in the order of their first byte, fill a stretch without gaps."""
    at = ends[0]
    for first, last, _ in pieces:
        if first != at:
            return False
        at = last
    return at == ends[1]


def _memory(spec: TensorSpec) -> tuple[int, int, bool]:
    """First byte, the byte behind the last, and whether all between belong to the array.

    Of arrays that cannot share memory, or of which it is not known, (0, 0).
    """
    dtype = stored_dtype(spec.original or spec.dtype)
    if not spec.storage or dtype is None or not spec.size:
        return 0, 0, False
    size = stored_dtype(spec.dtype)
    if spec.offset is not None and size is not None:
        return spec.offset, spec.offset + spec.size * size.itemsize, True
    place = spec.locator
    if not isinstance(place, Elsewhere) or place.packed:
        return 0, 0, False
    shape = spec.shape[: len(place.strides)]
    reach = sum((length - 1) * stride for length, stride in zip(shape, place.strides, strict=True))
    first = place.first + place.lead + place.start * dtype.itemsize
    return first, first + (reach + 1) * dtype.itemsize, False
