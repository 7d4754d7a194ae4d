"""A trajectory in one store with a step axis: reading it, and whether it is as it was."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from trajscope.checkpoints.as_opened import changed, refuse
from trajscope.checkpoints.base import Store
from trajscope.checkpoints.manifest import Rows
from trajscope.checkpoints.plan import overlaps
from trajscope.checkpoints.products import Factor, Product, apply_factor
from trajscope.errors import ChangedError, CheckpointError
from trajscope.readers.base import Values
from trajscope.readers.files import is_here


@dataclass(frozen=True)
class StoreManifest:
    """A trajectory in one store; `rows` are the positions along its step axis.

    `products` says for each of `names` what its elements are multiplied with, if anything.
    """

    store: Store
    names: tuple[str, ...]
    products: tuple[Product | None, ...]
    dtype: np.dtype[np.floating]
    starts: NDArray[np.int64]
    rows: Rows

    @property
    def shape(self) -> tuple[int, int]:
        """Number of steps, number of weights."""
        return len(self.rows), int(self.starts[-1])

    def read(self, rows: Rows, start: int, stop: int) -> Values:
        """Weights ``start:stop`` at the step indices `rows`, in their order: (step, weight).

        A store is compared with what it was where no weights are asked for, which takes a look at
        each of its files, and where reading fails.

        Raises
        ------
        ChangedError
            What holds some of the steps is not as it was when the trajectory was opened.
        CheckpointError
            The store cannot be read.
        """
        block = np.empty((len(rows), max(stop - start, 0)), self.dtype)
        if not block.shape[1]:
            self._check(rows)
        try:
            self._fill(block, rows, start, stop)
        except CheckpointError:
            self._check(rows)  # whatever is wrong with a store that changed
            raise
        return block

    def _check(self, rows: Rows) -> None:
        path, header = self.store.path, self.store.header
        if not is_here(path):
            return
        try:
            now = self.store.reader.read_states(path, header)
        except CheckpointError as error:
            how = ChangedError(str(error), f"the store cannot be read any more: {error}", True)
            refuse(dict.fromkeys(range(len(rows)), how))
            return
        differs = header.states[self.rows[rows]] != now[self.rows[rows]]
        how = changed(str(path), "a file that holds this step is another, or is gone", unseen=True)
        refuse(dict.fromkeys(np.flatnonzero(differs).tolist(), how))

    def _fill(self, block: Values, rows: Rows, start: int, stop: int) -> None:
        reader, path, tensors = self.store.reader, self.store.path, self.store.header.tensors
        for tensor, lo, hi in overlaps(self.starts, start, stop):
            first = int(self.starts[tensor])
            name, product = self.names[tensor], self.products[tensor]
            own = block[:, lo - start : hi - start]
            own[:] = reader.read_block(
                path, name, tensors[name], self.rows[rows], lo - first, hi - first
            )
            for factor in product.factors if product is not None else ():
                for row, out in zip(self.rows[rows], own, strict=True):
                    self._multiply(row, factor, tensors[name].shape, lo - first, out)

    def _multiply(
        self, row: np.intp, factor: Factor, shape: tuple[int, ...], start: int, out: Values
    ) -> None:
        path, reader = self.store.path, self.store.reader
        tensor, rows = self.store.header.tensors[factor.name], np.array([row])

        def read(first: int, last: int) -> Values:
            values: Values = reader.read_block(path, factor.name, tensor, rows, first, last)[0]
            return values

        apply_factor(out, shape, start, factor, read)
