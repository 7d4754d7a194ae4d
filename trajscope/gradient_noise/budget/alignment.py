"""Whether the increments point where the gradients' noise does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from trajscope.gradient_noise.budget.noise_gain import correlations
from trajscope.gradient_noise.budget.ratio import Grams
from trajscope.kernels.gram import Floats

_DRAWS: Final = 9
_NOTHING: Final = 1e-10
"""Share of the largest eigenvalue below which float32 rows no longer know the direction."""


@dataclass(frozen=True, eq=False)
class Aligned:
    """Increments seen along the eigenvectors of the mean D.

    Attributes
    ----------
    variances : (component,)
        Eigenvalues of the mean D, up to a factor, descending.
    parts : (interval, component)
        Inner products of the increments with its eigenvectors.
    gram : (interval, interval)
        Between the increments, which may have parts outside.
    """

    variances: Floats
    parts: Floats
    gram: Floats

    @classmethod
    def of(cls, grams: Grams) -> "Aligned":
        """With ``A A' = U l U'``: variances l and parts ``Y A' U l^(-1/2)``."""
        values, vectors = np.linalg.eigh(grams.gradients)
        kept = np.flatnonzero(values > _NOTHING * values[-1])[::-1]
        parts = grams.cross.T @ (vectors[:, kept] / np.sqrt(values[kept]))
        return cls(values[kept], parts, grams.increments)

    def drawn(self, roots: Sequence[Floats], rng: np.random.Generator) -> "Aligned":
        """As many increments drawn from D itself, ``R^(1/2) z l^(1/2)`` with z standard normal."""
        normal = rng.standard_normal((len(self.gram), len(self.variances)))
        cuts = np.cumsum([len(root) for root in roots])[:-1]
        pairs = zip(roots, np.split(normal, cuts), strict=True)
        mixed: list[Floats] = [root @ part for root, part in pairs]
        parts: Floats = np.concatenate(mixed) * np.sqrt(self.variances)
        return Aligned(self.variances, parts, parts @ parts.T)

    def angles(self, n_directions: int) -> Floats:
        """Principal angles between the leading directions of D and of the increments.

        Returns
        -------
        (direction,)
            Degrees, ascending.
        """
        from scipy.linalg import eigh

        # Half of all directions at most: everything is aligned with everything.
        n, k = len(self.gram), min(n_directions, len(self.gram), -(-len(self.variances) // 2))
        values, vectors = eigh(self.gram, subset_by_index=(n - k, n - 1))
        kept = values > _NOTHING * max(float(values[-1]), 0.0)
        leading = vectors[:, kept] / np.sqrt(values[kept])
        cosines = np.linalg.svd(self.parts[:, :k].T @ leading, compute_uv=False)
        found: Floats = np.degrees(np.arccos(np.clip(cosines, -1, 1)))
        return found

    def cosine(self) -> float:
        """``tr(D C) / (|D| |C|)``, 1 where the increments' matrix C is proportional to D."""
        both = float((self.parts**2 @ self.variances).sum())
        return both / float(np.linalg.norm(self.variances) * np.linalg.norm(self.gram))


def expected_alignment(
    aligned: Aligned, grams: Grams, overlaps: Floats, *, n_directions: int, seed: int
) -> tuple[Floats, float]:
    """Medians of the angles and the cosine for as many increments drawn from the noise itself.

    Few increments spoil both: this is what they would be if the theory held, with the correlations
    in time that momentum makes.
    """
    rng = np.random.default_rng(seed)
    roots = [
        _root(correlations(grams.starts[grams.increments_at == place], overlaps))
        for place in range(grams.n_places)
    ]
    draws = [aligned.drawn(roots, rng) for _ in range(_DRAWS)]
    angles = np.median([each.angles(n_directions) for each in draws], axis=0)
    return angles, float(np.median([each.cosine() for each in draws]))


def _root(matrix: Floats) -> Floats:
    return np.linalg.cholesky(matrix + 1e-9 * np.eye(len(matrix))).astype(np.float64)
