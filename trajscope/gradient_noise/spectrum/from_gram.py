"""The spectrum of D where there are fewer samples than weights: a Gram matrix of gradients."""

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from trajscope.gradient_noise.spectrum.blocks import Block, BlocksOnDisk, block_in_memory
from trajscope.gradient_noise.spectrum.eigen import Matrix
from trajscope.gradient_noise.spectrum.job import ROUNDING, Covariance, Job, saved_spectra
from trajscope.gradient_noise.spectrum.memory_plan import Columns
from trajscope.gradient_noise.spectrum.noise_scale import Scatter
from trajscope.gradient_noise.spectrum.products import centre, symmetrise
from trajscope.gradient_noise.spectrum.resume import Ledger
from trajscope.gradient_noise.spectrum.single import is_certain, is_worth_trying
from trajscope.gradient_noise.spectrum.statistics import Spectrum
from trajscope.kernels.gram import Floats
from trajscope.model.losses import State
from trajscope.schema import ALL_WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor


def covariance_by_sample(job: Job, state: State, ledger: Ledger) -> Covariance:
    """The spectrum of D from the Gram matrix of all samples.

    D has the eigenvalues of ``H K H / N``, and zeros: ``K = G G'`` holds the inner products of the
    gradients, ``H = 1 - 11'/N`` takes off the mean. Products are taken in float64, a block of
    weights after the other.

    Parameters
    ----------
    state :
        As `mapping.loaded_state` makes it.
    ledger :
        Where the matrix is kept after each block. Beside it go gradients that do not fit in memory;
        without it they are computed anew for every block.
    """
    return _Sum(job, state, ledger).run()


class _Sum:
    """The Gram matrix as it grows."""

    def __init__(self, job: Job, state: State, ledger: Ledger) -> None:
        n = len(job.samples)
        self.job, self.state, self.ledger = job, state, ledger
        saved = ledger.load()
        self.spectra = saved_spectra(saved)
        self.done = int(saved.get("done", 0))
        self.gram = Matrix.of(saved.get("gram"), n, job.samples.device)
        self.losses = saved.get("losses", np.full(n, np.nan))
        # Kept where its products are taken in float32, in case they have to be taken again.
        self.single: Block | None = None
        self.is_single = False
        self.scatter = Scatter.unknown()  # of what was decomposed last: of all weights, in the end
        self.group_gram = (
            Matrix.of(saved["group_gram"], n, job.samples.device) if "group_gram" in saved else None
        )

    def run(self) -> Covariance:
        """Go through the blocks that are left."""
        blocks = self.job.plan.blocks
        on_disk = self._on_disk()
        for number, columns in enumerate(blocks):
            # The pass that filled the files has counted as the first block.
            if number < self.done if on_disk is None else number > 0:
                self.job.advance(len(self.job.samples))
            if number < self.done:
                continue
            if on_disk is not None:
                block = on_disk.read(number)
            else:
                block, losses = block_in_memory(self.job, self.state, columns)
                self.losses = losses if number == 0 else self.losses
                if len(blocks) == 1 and not any(c.factors for c in columns):
                    self.single = block if is_worth_trying(block.values) else None
            later = {each.parameter.group for rest in blocks[number + 1 :] for each in rest}
            for group, part in groupby(columns, key=lambda each: each.parameter.group):
                self._add(group, list(part), block, last=group not in later)
            if number + 1 < len(blocks):
                self.ledger.save(self._progress(number + 1))
        if on_disk is not None:
            on_disk.clear()
        return self._finished()

    def _on_disk(self) -> BlocksOnDisk | None:
        """The gradients on disk, where they are more than memory holds and there is a place."""
        path = self.ledger.path
        if path is None or len(self.job.plan.blocks) == 1:
            return None
        blocks = BlocksOnDisk(self.job, self.state, path.with_name(f"{path.stem}-gradients"))
        if not blocks.has_room():
            return None
        self.losses = blocks.write()
        return blocks

    def _add(self, group: str, part: Sequence[Columns], block: Block, *, last: bool) -> None:
        """Add the products of a part of a group; with the last part, find its spectrum."""
        single = self.single is not None
        if self._only_group():
            block.add_to(self.gram.values, part, single=single)
            return
        size = sum(columns.stop - columns.start for columns in part)
        whole = size == self.job.sizes[group]
        if whole and size < len(self.job.samples) and not any(c.factors for c in part):
            # Its own covariance is smaller than a Gram matrix.
            block.add_to(self.gram.values, part)
            self.spectra[group] = _of_columns(self.job, block.part(part))
            return
        if self.group_gram is None:
            self.group_gram = Matrix.of(None, len(self.job.samples), self.job.samples.device)
        block.add_to(self.group_gram.values, part, single=single)
        if last:
            symmetrise(self.group_gram.values)
            self.gram.values.add_(self.group_gram.values)
            found, _ = self._spectrum(self.group_gram, part, self.job.sizes[group], 0)
            self.spectra[group] = found
            self.group_gram = None

    def _only_group(self) -> bool:
        return len(self.job.sizes) == 1

    def _spectrum(
        self, gram: Matrix, part: Sequence[Columns], size: int, n_directions: int
    ) -> tuple[Spectrum, Floats]:
        """Spectrum and leading eigenvectors from a whole matrix of inner products, used up.

        Of products in float32 that leave anything open, `part` is multiplied again.
        """
        trace = float(gram.values.diagonal().sum())
        found = self._decomposed(gram, size, n_directions)
        if self.single is None:
            return found
        if self._is_certain(found[0], trace):
            self.is_single = True
            return found
        again = Matrix.of(None, len(gram.values), self.job.samples.device)
        self.single.add_to(again.values, part)
        symmetrise(again.values)
        return self._decomposed(again, size, n_directions)

    def _is_certain(self, spectrum: Spectrum, trace: float) -> bool:
        values = spectrum.eigenvalues / self.job.scale
        return is_certain(values, len(self.job.samples), spectrum.n_weights, trace)

    def _decomposed(self, gram: Matrix, size: int, n_directions: int) -> tuple[Spectrum, Floats]:
        floor = ROUNDING * float(gram.values.diagonal().max())
        means = gram.values.mean(0)
        square = centre(gram.values)
        self.scatter = Scatter.of_products(means, gram.values.diagonal())
        gram.values.div_(len(gram.values))
        vectors = gram.leading_vectors(n_directions)
        spectrum = self.job.spectrum(gram.eigenvalues(), size, square, floor)
        return spectrum, vectors

    def _finished(self) -> Covariance:
        symmetrise(self.gram.values)
        sizes = self.job.sizes
        size, columns = sum(sizes.values()), self.job.plan.blocks[0]
        everything, vectors = self._spectrum(self.gram, columns, size, self.job.n_directions)
        self.ledger.clear()
        spectra = {ALL_WEIGHTS: everything, **self.spectra}
        return Covariance(
            spectra, self.losses, vectors, is_single=self.is_single, scatter=self.scatter
        )

    def _progress(self, done: int) -> dict[str, Floats]:
        saved = {
            "done": np.array(done, float),
            "gram": self.gram.to_numpy(),
            "losses": self.losses,
            **{f"spectrum:{group}": each.to_array() for group, each in self.spectra.items()},
        }
        if self.group_gram is not None:
            saved["group_gram"] = self.group_gram.to_numpy()
        return saved


def _of_columns(job: Job, rows: "Tensor") -> Spectrum:
    """The spectrum of a small group from its gradients."""
    centred = rows.double()
    mean = centred.mean(0)
    centred -= mean
    square = float(mean @ mean)
    floor = ROUNDING**2 * float(centred.square().sum(1).max() + square)
    matrix = Matrix(centred.T @ centred / len(rows))
    return job.spectrum(matrix.eigenvalues(), rows.shape[1], square, floor)
