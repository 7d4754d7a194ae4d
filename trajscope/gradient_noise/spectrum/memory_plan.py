"""How the work is cut to stay within memory: blocks of weights, chunks of samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from trajscope.errors import OptionError
from trajscope.model.mapping import Parameter

_FLOAT64: Final = 8
_PANELS_BYTES: Final = 160 << 20
"""What the products, the libraries' buffers and small things take beside everything counted."""
_CHUNK_BYTES: Final = (4 << 20, 256 << 20)
"""A chunk larger than that is no faster, a smaller one is much slower."""
_LONGEST_CHUNK: Final = 512
_LARGEST_ARRAY: Final = 31 << 20
"""Bytes of the largest gradient of a chunk: glibc takes arrays of 32 MiB and more from the system
anew each time, page by page, and the system fills every page with zeros."""
_COPIES: Final = 3
"""Of a chunk's gradients: a weight that is used twice has two parts beside their sum."""


@dataclass(frozen=True)
class Columns:
    """Weights ``start:stop`` of a parameter.

    `factors` is (position, n_in, n_out) of a weight that goes by its factors, else ``()``.
    """

    parameter: Parameter
    start: int
    stop: int
    factors: tuple[int, ...] = ()

    @property
    def stored(self) -> int:
        """Numbers that are kept per sample."""
        if not self.factors:
            return self.stop - self.start
        positions, n_in, n_out = self.factors
        return positions * (n_in + n_out)


@dataclass(frozen=True)
class Plan:
    """How one checkpoint is gone through.

    Attributes
    ----------
    by_weight :
        Whether the matrix is D itself (weight, weight), since there are fewer weights than
        samples; else the Gram matrix (sample, sample).
    blocks :
        Weights whose gradients are held together; each block is a pass over the samples.
    chunk, chunk_of_all :
        Samples that are passed backward at once: for one block, for all weights.
    """

    by_weight: bool
    blocks: tuple[tuple[Columns, ...], ...]
    chunk: int
    chunk_of_all: int


@dataclass(frozen=True)
class Room:
    """What the plan depends on, in bytes and numbers.

    Attributes
    ----------
    memory :
        That may be taken beyond what is taken already.
    sample :
        That a backward pass through one sample takes, without gradients.
    itemsize :
        Of a gradient's number.
    chunk :
        Samples at once, where the user says so.
    is_cuda :
        Whether gradients are made on a GPU: the larger its arrays, the better.
    """

    n_samples: int
    memory: int
    sample: int
    itemsize: int
    chunk: int | None = None
    is_cuda: bool = False


def make_plan(
    parameters: Sequence[Parameter], factors: Mapping[str, tuple[int, ...]], room: Room
) -> Plan:
    """The fewest blocks, in chunks of a good size, that stay within the memory.

    Parameters
    ----------
    parameters :
        Those of a group next to each other.
    factors :
        For each parameter that can go by factors, their shape, as in `Columns`.

    Raises
    ------
    OptionError
        Not even the matrix fits.
    """
    n_weights = sum(parameter.size for parameter in parameters)
    n_groups = len({parameter.group for parameter in parameters})
    by_weight = n_weights < room.n_samples
    side = min(n_weights, room.n_samples)
    # The matrix of a group is there beside that of all weights.
    matrices = _FLOAT64 * side**2 * (2 if n_groups > 1 else 1)
    left = room.memory - matrices - _PANELS_BYTES
    if left < _CHUNK_BYTES[0]:
        raise OptionError(
            f"--memory: the {side} x {side} matrix of {room.n_samples} samples and {n_weights} "
            f"weights takes {_size(matrices + _PANELS_BYTES + _CHUNK_BYTES[0])} in float64, and "
            f"{_size(max(room.memory, 0))} are available. Raise --memory, or use fewer --samples."
        )
    columns = [Columns(p, 0, p.size, factors.get(p.name, ())) for p in parameters]
    if by_weight:
        whole = tuple(Columns(p, 0, p.size) for p in parameters)
        per_sample = room.sample + (3 * room.itemsize + _FLOAT64) * n_weights
        chunk = _chunk(left, per_sample, room, max(parameter.size for parameter in parameters))
        return Plan(True, (whole,), chunk, chunk)
    chunk_bytes = min(max(left // 8, _CHUNK_BYTES[0]), _CHUNK_BYTES[1])
    # Twice: the allocator keeps some of what chunks have given back.
    widest = (left - 2 * chunk_bytes) // (room.itemsize * room.n_samples)
    blocks = _blocks(columns, max(widest, 1))
    per_block = max(sum(_gradient(part) for part in block) for block in blocks)
    largest = max(_gradient(part) for part in columns)
    chunk, chunk_of_all = (
        _chunk(chunk_bytes, room.sample + _COPIES * room.itemsize * numbers, room, largest)
        for numbers in (per_block, sum(_gradient(part) for part in columns))
    )
    return Plan(False, blocks, chunk, chunk_of_all)


def _gradient(columns: Columns) -> int:
    """Numbers that a backward pass makes per sample for these weights: always all of a tensor."""
    return 0 if columns.factors else columns.parameter.size


def _chunk(memory: int, per_sample: int, room: Room, largest: int) -> int:
    """Samples at once, where the largest gradient of a sample has so many numbers."""
    if room.chunk is not None:
        return min(room.chunk, room.n_samples)
    fitting = min(memory, _CHUNK_BYTES[1]) // max(per_sample, 1)
    if room.is_cuda:
        return int(min(max(fitting, 1), room.n_samples))
    quick = _LARGEST_ARRAY // max(room.itemsize * largest, 1)
    return int(min(max(min(fitting, quick), 1), _LONGEST_CHUNK, room.n_samples))


def _blocks(columns: Sequence[Columns], widest: int) -> tuple[tuple[Columns, ...], ...]:
    """The columns in blocks of at most `widest` stored numbers per sample, as even as can be."""
    total = sum(part.stored for part in columns)
    widest = -(-total // -(-total // widest))
    blocks: list[list[Columns]] = [[]]
    room = widest
    for whole in columns:
        # Factors are no gradients: they stay whole, or are given up for gradients in parts.
        if whole.factors and whole.stored <= widest:
            if whole.stored > room:
                blocks.append([])
                room = widest
            blocks[-1].append(whole)
            room -= whole.stored
            continue
        start = 0
        while start < whole.stop:
            if room == 0:
                blocks.append([])
                room = widest
            stop = min(start + room, whole.stop)
            blocks[-1].append(Columns(whole.parameter, start, stop))
            room -= stop - start
            start = stop
    return tuple(tuple(block) for block in blocks if block)


def _size(n_bytes: int) -> str:
    return f"{n_bytes / (1 << 30):.2f} GiB"
