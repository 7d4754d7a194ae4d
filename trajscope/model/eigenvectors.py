"""Leading eigenvectors of a symmetric matrix that is known by its products with vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.kernels.gram import Floats

if TYPE_CHECKING:
    from torch import Tensor

_EXTRA: Final = 6
"""Vectors of the block beyond those that are wanted: they speed the last of these up."""
_BASIS: Final = 6
"""Of the wanted number: vectors of the basis before it is cut back to the best."""

_DEPENDENT: Final = 1e-5
"""Size, of vectors of length 1, below which nothing but rounding is left of one."""


@dataclass(frozen=True)
class Eigenpairs:
    """The algebraically largest eigenvalues, descending, and their eigenvectors.

    Attributes
    ----------
    values : (direction,)
    vectors : (direction, weight)
        Orthonormal rows.
    residuals : (direction,)
        ``|H v - theta v|``: an eigenvalue lies within that of theta.
    lowest :
        The smallest Ritz value: an upper bound of the smallest eigenvalue.
    n_products :
        Products with single vectors that it took.
    """

    values: Floats
    vectors: "Tensor"
    residuals: Floats
    lowest: float
    n_products: int


def leading_eigenvectors(
    product: "Callable[[Tensor], Tensor]",
    like: "Tensor",
    count: int,
    *,
    tolerance: float = 1e-3,
    most_products: int = 2000,
    seed: int = 0,
) -> Eigenpairs:
    """The `count` leading eigenpairs, by a block Krylov space with restarts.

    Every block is the residuals ``H v - theta v`` of the Ritz vectors that are not yet there,
    orthogonal to what is held (Knyazev 2001, doi:10.1137/S1064827500366124, with all former
    directions kept); the basis is cut back to its best part when it is full.

    Parameters
    ----------
    product :
        ``(vector, weight) -> (vector, weight)``.
    like :
        A tensor (weight,) of the dtype and device to compute in.
    tolerance :
        Of the residuals, as a share of the largest eigenvalue in size.
    most_products :
        Where it stops, whatever the residuals are: they are told.
    """
    import torch

    n_weights = like.numel()
    count = min(count, n_weights)
    generator = torch.Generator().manual_seed(seed)
    width = min(count + _EXTRA, n_weights)
    start = torch.randn((width, n_weights), generator=generator, dtype=torch.float64).to(like)
    basis = _orthonormal(start, None)
    products, taken = product(basis), len(basis)
    while True:
        ritz = _ritz(basis, products)
        values, rotation = ritz
        residual = rotation.T[:width].to(like) @ products
        vectors = rotation.T[:width].to(like) @ basis
        residual -= values[:width, None].to(like) * vectors
        norms = residual.double().norm(dim=1).cpu().numpy()
        size = max(float(values.abs().max()), 1e-300)
        open_ = np.flatnonzero(norms[:width] > tolerance * size)
        done = not (open_ < count).any() or taken >= most_products or len(basis) >= n_weights
        added = like.new_empty((0, n_weights)) if done else _orthonormal(residual[open_], basis)
        if done or not len(added):
            found = vectors[:count]
            return Eigenpairs(
                values[:count].cpu().numpy(), found, norms[:count], float(values[-1]), taken
            )
        if len(basis) + len(added) > _BASIS * width:
            kept = rotation.T[: 2 * width].to(like)
            basis, products = kept @ basis, kept @ products
            added = _orthonormal(added, basis)
        taken += len(added)
        basis = torch.cat([basis, added])
        products = torch.cat([products, product(added)])


def _ritz(basis: "Tensor", products: "Tensor") -> "tuple[Tensor, Tensor]":
    """Ritz values, descending, and the coefficients of their vectors in the basis as columns."""
    import torch

    small = (basis.double() @ products.double().T).cpu()
    values, vectors = torch.linalg.eigh((small + small.T) / 2)
    return values.flip(0), vectors.flip(1)


def _orthonormal(vectors: "Tensor", against: "Tensor | None") -> "Tensor":
    """Orthonormal rows that span them, and are orthogonal to those of `against`; few may be left.

    Twice, since once leaves what rounding took from nearly dependent vectors.
    """
    import torch

    rows = vectors
    for _ in range(2):
        rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
        if against is not None:
            rows = rows - (rows @ against.T) @ against
        _, sizes, right = torch.linalg.svd(rows, full_matrices=False)
        rows = right[sizes > _DEPENDENT]
    return rows
