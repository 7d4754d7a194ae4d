"""Leading eigenvectors of a symmetric matrix that is known by its products with vectors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from trajscope.kernels.gram import Floats

if TYPE_CHECKING:
    from torch import Tensor

BLOCK: Final = 4
_BASIS: Final = 6
"""Of the wanted number: vectors of the basis before it is cut back to the best."""
_MOST_PRODUCTS: Final = 2000
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
    block: int = BLOCK,
    seed: int = 0,
) -> Eigenpairs:
    """The `count` leading eigenpairs, by block Lanczos with full orthogonalisation and restarts.

    Every block is ``H q`` of the last one, orthogonal to all that is held. A full basis is cut back
    to its best Ritz vectors, whose residuals all lie in the block that comes next: a thick restart
    (Wu & Simon 2000, doi:10.1137/S0895479898334605).

    Parameters
    ----------
    product :
        ``(vector, weight) -> (vector, weight)``.
    like :
        A tensor (weight,) of the dtype and device to compute in.
    tolerance :
        Of the residuals, as a share of the largest eigenvalue in size.
    block :
        Vectors that are multiplied at once. Fewer need fewer products in all; more make good use of
        products that share work.

    Returns
    -------
    Eigenpairs
        After 2,000 products it stops, whatever the residuals are: they are told.
    """
    import torch

    n_weights = like.numel()
    count = min(count, n_weights)
    most = min((count + block) * _BASIS, n_weights)
    generator = torch.Generator().manual_seed(seed)

    def random(rows: int) -> "Tensor":
        return torch.randn((rows, n_weights), generator=generator, dtype=torch.float64).to(like)

    basis = like.new_empty((0, n_weights))
    products, added, taken = basis, _orthonormal(random(min(block, n_weights)), basis), 0
    while True:
        basis, images = torch.cat([basis, added]), product(added)
        products, taken = torch.cat([products, images]), taken + len(added)
        values, rotation = _ritz(basis, products)
        best = rotation.T[:count].to(like)
        vectors = best @ basis
        residual = best @ products - values[:count, None].to(like) * vectors
        norms = residual.double().norm(dim=1).cpu().numpy()
        size = max(float(values.abs().max()), 1e-300)
        is_there = len(basis) >= count and not (norms > tolerance * size).any()
        if is_there or taken >= _MOST_PRODUCTS or len(basis) >= n_weights:
            lowest = float(values[-1])
            return Eigenpairs(values[:count].cpu().numpy(), vectors, norms, lowest, taken)
        room = n_weights - len(basis)
        added = _orthonormal(images, basis)[:room]
        if not len(added):  # an invariant space, and perhaps not all of the leading one
            added = _orthonormal(random(min(block, room)), basis)
        if len(basis) + len(added) > most:
            kept = rotation.T[: count + block].to(like)
            basis, products = kept @ basis, kept @ products
            added = _orthonormal(added, basis)


def _ritz(basis: "Tensor", products: "Tensor") -> "tuple[Tensor, Tensor]":
    """Ritz values, descending, and the coefficients of their vectors in the basis as columns."""
    import torch

    small = (basis.double() @ products.double().T).cpu()
    values, vectors = torch.linalg.eigh((small + small.T) / 2)
    return values.flip(0), vectors.flip(1)


def _orthonormal(vectors: "Tensor", against: "Tensor") -> "Tensor":
    """Orthonormal rows that span them, and are orthogonal to those of `against`; few may be left.

    Twice, since once leaves what rounding took from nearly dependent vectors.
    """
    import torch

    rows = vectors
    for _ in range(2):
        rows = rows / rows.norm(dim=1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
        rows = rows - (rows @ against.T) @ against
        _, sizes, right = torch.linalg.svd(rows, full_matrices=False)
        rows = right[sizes > _DEPENDENT]
    return rows
