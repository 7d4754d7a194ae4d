"""What is computed at a checkpoint, what it needs, and the gradients chunk by chunk."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from trajscope.gradient_noise.spectrum.memory_plan import Plan
from trajscope.gradient_noise.spectrum.noise_scale import Scatter
from trajscope.gradient_noise.spectrum.statistics import EPS64, Spectrum, leading
from trajscope.kernels.gram import Floats
from trajscope.model.batches import Batches
from trajscope.model.gradients import Gradients, Piece
from trajscope.model.losses import State
from trajscope.model.samples import Samples

ROUNDING: Final = 16 * EPS64
"""What float64 may leave of a difference of equal products, relative to them."""


@dataclass(frozen=True)
class Covariance:
    """What is known of D at one checkpoint.

    Attributes
    ----------
    spectra :
        By group, that of all weights first.
    losses : (sample,)
    directions :
        Eigenvectors of the largest eigenvalues: combinations of samples, (component, sample), or of
        weights, (component, weight), as `Plan.by_weight` says.
    sketch_errors : (error,)
        Relative errors of a sketch, as `SKETCH_ERRORS` names them; empty where D is exact.
    is_single :
        Whether a spectrum is that of products in float32.
    scatter :
        Of the gradients of all weights, before they are scaled.
    """

    spectra: dict[str, Spectrum]
    losses: Floats
    directions: Floats
    sketch_errors: Floats = field(default_factory=lambda: np.zeros(0))
    is_single: bool = False
    scatter: Scatter = field(default_factory=Scatter.unknown)

    def checked(self) -> "Covariance":
        """The same, or without any number where a loss is none: its gradient means nothing."""
        if np.isfinite(self.losses).all():
            return self
        spectra = {
            group: replace(each, eigenvalues=each.eigenvalues * np.nan, mean_square=np.nan)
            for group, each in self.spectra.items()
        }
        return replace(self, spectra=spectra, directions=self.directions[:0])

    def to_arrays(self) -> dict[str, Floats]:
        """Everything as named arrays, for a `Ledger`."""
        spectra = {f"spectrum:{group}": each.to_array() for group, each in self.spectra.items()}
        return {
            **spectra,
            "losses": self.losses,
            "directions": self.directions,
            "sketch_errors": self.sketch_errors,
            "is_single": np.array(self.is_single, np.float64),
            "scatter": self.scatter.to_array(),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, Floats]) -> "Covariance":
        """What `to_arrays` made arrays of."""
        return cls(
            saved_spectra(arrays),
            arrays["losses"],
            arrays["directions"],
            arrays["sketch_errors"],
            bool(arrays["is_single"]),
            Scatter(*arrays["scatter"].tolist()) if "scatter" in arrays else Scatter.unknown(),
        )


@dataclass(frozen=True)
class Job:
    """What is the same at every checkpoint.

    Attributes
    ----------
    n_directions :
        How many eigenvectors are wanted.
    scale :
        What the covariance of the rows is multiplied by to give D: 1 for samples.
    population :
        N as it enters the gradient diversity.
    advance :
        Called with the number of samples that were passed backward.
    seed :
        Set before every chunk where the model draws random numbers (dropout), so that each pass
        over the samples sees the same; else `None`.
    """

    gradients: Gradients
    samples: Samples | Batches
    plan: Plan
    n_directions: int
    scale: float
    population: int
    advance: Callable[[int], None]
    seed: int | None = None

    def spectrum(
        self, values: Floats, n_weights: int, mean_square: float, floor: float
    ) -> Spectrum:
        """A spectrum of D from eigenvalues of the rows' covariance."""
        count = min(len(self.samples) - 1, n_weights)
        eigenvalues = leading(values, count, floor) * self.scale
        return Spectrum(eigenvalues, n_weights, self.population, mean_square)

    @property
    def sizes(self) -> dict[str, int]:
        """The number of weights of every group, in order."""
        sizes: dict[str, int] = {}
        for block in self.plan.blocks:
            for columns in block:
                group = columns.parameter.group
                sizes[group] = sizes.get(group, 0) + columns.stop - columns.start
        return sizes

    def pieces(
        self,
        state: State,
        wanted: Sequence[str],
        factored: Collection[str],
        first: int = 0,
        chunk: int | None = None,
    ) -> Iterator[tuple[int, int, Piece]]:
        """The gradients of all samples from `first`, chunk by chunk, with the chunk's bounds.

        Parameters
        ----------
        wanted, factored :
            Names of parameters, and which of them come as factors.
        chunk :
            Samples at once, if not as planned.
        """
        for start, stop, batch in self.batches(first, chunk or self.plan.chunk):
            yield start, stop, self.gradients.piece(state, batch, wanted, factored)
            self.advance(stop - start)

    def losses(self, state: State, positions: Sequence[int]) -> list[float]:
        """The losses of some samples, each passed forward alone."""
        import torch

        found = []
        for position in positions:
            batch = self.samples.picked([position])
            if self.seed is not None:
                torch.manual_seed(self.seed + position)
            with torch.no_grad():
                found.append(float(self.gradients.loss(state, batch)))
        return found

    def batches(self, first: int, chunk: int) -> Iterator[tuple[int, int, Any]]:
        """The samples from `first`, chunk by chunk, with the chunk's bounds."""
        import torch

        n = len(self.samples)
        for start, stop in pairwise([*range(first, n, chunk), n]):
            batch = self.samples.batch(start, stop)
            if self.seed is not None:
                torch.manual_seed(self.seed + start)
            yield start, stop, batch


def saved_spectra(arrays: Mapping[str, Floats]) -> dict[str, Spectrum]:
    """The spectra by group among the arrays of a `Ledger`."""
    return {
        name.partition(":")[2]: Spectrum.from_array(values)
        for name, values in arrays.items()
        if name.startswith("spectrum:")
    }
