"""What is kept of the samples' gradients by some weights, in memory or on disk."""

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.files import open_own
from trajscope.gradient_noise.spectrum.job import Job
from trajscope.gradient_noise.spectrum.memory_plan import Columns
from trajscope.gradient_noise.spectrum.products import add_factored_products, add_products
from trajscope.gradient_noise.spectrum.resume import written_in
from trajscope.kernels.gram import Floats
from trajscope.model.gradients import Piece
from trajscope.model.losses import State

if TYPE_CHECKING:
    from torch import Tensor

_SPARE: Final = 1.1
"""Free disk space that is asked for, as a multiple of what will be written."""


@dataclass(frozen=True)
class Block:
    """Gradients, or their factors, side by side.

    Attributes
    ----------
    columns :
        Which weights.
    values : (sample, number)
        As many numbers for each of `columns` as its `stored` says.
    """

    columns: Sequence[Columns]
    values: "Tensor"

    def part(self, columns: Sequence[Columns]) -> "Tensor":
        """The values of neighbouring columns, (sample, number)."""
        start = sum(each.stored for each in self.columns[: self.columns.index(columns[0])])
        return self.values[:, start : start + sum(each.stored for each in columns)]

    def put(self, start: int, stop: int, piece: Piece) -> None:
        """Keep what belongs here of samples ``start:stop``."""
        first = 0
        for columns in self.columns:
            target = self.values[start:stop, first : first + columns.stored]
            name = columns.parameter.name
            if columns.factors:
                entered, returned = (each.flatten(1) for each in piece.factors[name])
                target[:, : entered.shape[1]] = entered
                target[:, entered.shape[1] :] = returned
            else:
                target.copy_(piece.rows[name][:, columns.start : columns.stop])
            first += columns.stored

    def add_to(self, gram: "Tensor", part: Sequence[Columns], *, single: bool = False) -> None:
        """Add the inner products of the gradients by neighbouring columns to `gram`.

        Parameters
        ----------
        single :
            As in `add_products`; never of factors.
        """
        for is_factored, some in groupby(part, key=lambda columns: bool(columns.factors)):
            if not is_factored:
                add_products(gram, self.part(list(some)), single=single)
                continue
            for columns in some:
                positions, n_in, n_out = columns.factors
                both = self.part([columns])
                entered, returned = both[:, : positions * n_in], both[:, positions * n_in :]
                shapes = (-1, positions, n_in), (-1, positions, n_out)
                add_factored_products(gram, entered.reshape(shapes[0]), returned.reshape(shapes[1]))


def block_in_memory(job: Job, state: State, columns: Sequence[Columns]) -> tuple[Block, Floats]:
    """One pass over the samples, keeping a block; and the losses, (sample,)."""
    block = _empty(job, columns, len(job.samples))
    losses = np.empty(len(job.samples))
    for start, stop, piece in job.pieces(state, _names(columns), _factored(columns)):
        losses[start:stop] = piece.losses.double().cpu().numpy()
        block.put(start, stop, piece)
    return block, losses


class BlocksOnDisk:
    """All blocks from one pass over the samples, in files that a killed run leaves behind."""

    def __init__(self, job: Job, state: State, folder: Path) -> None:
        self.job, self.state, self.folder = job, state, folder

    def has_room(self) -> bool:
        """Whether the disk can take the gradients."""
        itemsize = self.job.samples.dtype.itemsize
        stored = sum(columns.stored for block in self.job.plan.blocks for columns in block)
        needed = _SPARE * itemsize * stored * len(self.job.samples)
        present = sum(path.stat().st_size for path in self.folder.glob("*"))
        return shutil.disk_usage(self.folder.parent).free + present > needed

    def write(self) -> Floats:
        """The losses, (sample,), after the blocks have been written, or the rest of them."""
        with written_in(self.folder):
            self.folder.mkdir(exist_ok=True)
        blocks = self.job.plan.blocks
        widths = [sum(columns.stored for columns in block) for block in blocks]
        rows = [width * self.job.samples.dtype.itemsize for width in widths]
        paths = [self._path(number) for number in range(len(blocks))]
        done = min(
            _size(self._losses) // 8,
            *(_size(path) // row for path, row in zip(paths, rows, strict=True)),
        )
        for path, row in ((self._losses, 8), *zip(paths, rows, strict=True)):
            with written_in(self.folder), open(open_own(path, os.O_CREAT), "r+b") as file:
                file.truncate(done * row)
        self.job.advance(done)
        everything = [columns for block in blocks for columns in block]
        wanted, factored = _names(everything), _factored(everything)
        chunk = self.job.plan.chunk_of_all
        for start, stop, piece in self.job.pieces(self.state, wanted, factored, done, chunk):
            for path, block in zip(paths, blocks, strict=True):
                part = _empty(self.job, block, stop - start)
                part.put(0, stop - start, piece)
                _append(path, part.values)
            _append(self._losses, piece.losses.double())
        return np.fromfile(self._losses)

    def read(self, number: int) -> Block:
        """One of the blocks, on the job's device."""
        block = _empty(self.job, self.job.plan.blocks[number], len(self.job.samples))
        on_cpu = block.values if not block.values.is_cuda else block.values.cpu()
        with self._path(number).open("rb") as file:
            file.readinto(on_cpu.numpy().data.cast("B"))
        if block.values.is_cuda:
            block.values.copy_(on_cpu)
        return block

    def clear(self) -> None:
        """Remove the files."""
        shutil.rmtree(self.folder)

    @property
    def _losses(self) -> Path:
        return self.folder / "losses"

    def _path(self, number: int) -> Path:
        return self.folder / f"block-{number}"


def _empty(job: Job, columns: Sequence[Columns], n_rows: int) -> Block:
    import torch

    shape = n_rows, sum(each.stored for each in columns)
    values = torch.empty(shape, dtype=job.samples.dtype, device=job.samples.device)
    return Block(columns, values)


def _names(columns: Sequence[Columns]) -> list[str]:
    return list(dict.fromkeys(each.parameter.name for each in columns))


def _factored(columns: Sequence[Columns]) -> frozenset[str]:
    return frozenset(each.parameter.name for each in columns if each.factors)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _append(path: Path, values: "Tensor") -> None:
    with written_in(path.parent), open(open_own(path, os.O_APPEND), "ab") as file:
        file.write(values.cpu().numpy().data.cast("B"))
