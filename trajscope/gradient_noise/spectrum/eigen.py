"""Symmetric float64 matrices on a device, and their eigenvalues."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.measure.blas import blas_threads

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SMALL: Final = 64
"""Up to here all eigenvectors cost less than an iteration for some."""
_NOTHING: Final = 1e-10
"""Share of the largest eigenvalue below which float32 gradients no longer know the direction."""


@dataclass(frozen=True)
class Matrix:
    """A symmetric matrix, (row, row), float64."""

    values: "Tensor"

    @classmethod
    def of(cls, start: Floats | None, n: int, device: "torch.device") -> "Matrix":
        """`start` on the device, or zeros of size `n`."""
        import torch

        if start is None:
            return cls(torch.zeros((n, n), dtype=torch.float64, device=device))
        return cls(torch.as_tensor(start).to(device, torch.float64))

    def to_numpy(self) -> Floats:
        """A view where the matrix is in main memory, else a copy."""
        values: Floats = self.values.cpu().numpy()
        return values

    def eigenvalues(self) -> Floats:
        """All eigenvalues, ascending; the matrix is used up. NaN where it is not finite."""
        import scipy.linalg
        import torch

        if not np.isfinite(float(self.values.sum())):
            return np.full(len(self.values), np.nan)
        if self.values.is_cuda:
            on_device: Floats = torch.linalg.eigvalsh(self.values).cpu().numpy()
            return on_device
        with blas_threads(torch.get_num_threads()):
            values: Floats = scipy.linalg.eigh(
                self.values.numpy().T,
                eigvals_only=True,
                overwrite_a=True,
                check_finite=False,
                driver="evd",
            )
        return values

    def leading_vectors(self, count: int) -> Floats:
        """Eigenvectors of the `count` largest eigenvalues, (component, row), largest first.

        Fewer where the matrix is smaller or its other eigenvalues are next to nothing; none where
        it is zero or not finite.
        """
        import torch

        n = len(self.values)
        trace = float(self.values.diagonal().sum())
        if count == 0 or not np.isfinite(float(self.values.sum())) or trace <= 0:
            return np.zeros((0, n))
        if n <= max(_SMALL, 2 * count):
            values, vectors = (each.cpu().numpy() for each in torch.linalg.eigh(self.values))
        else:
            values, vectors = self._some_vectors(count)
        order = np.argsort(values)[::-1][:count]
        order = order[values[order] > _NOTHING * values.max()]
        found: Floats = vectors[:, order].T.copy()
        return found

    def _some_vectors(self, count: int) -> tuple[Floats, Floats]:
        """The largest eigenvalues, (component,), and eigenvectors, (row, component), unordered."""
        import torch
        from scipy.sparse.linalg import LinearOperator, eigsh

        n = len(self.values)

        def product(vector: Floats) -> Floats:
            operand = torch.as_tensor(vector.ravel(), device=self.values.device)
            result: Floats = (self.values @ operand).cpu().numpy()
            return result

        operator = LinearOperator((n, n), matvec=product, dtype=np.float64)
        start = np.random.default_rng(0).standard_normal(n)
        values, vectors = eigsh(operator, k=count, v0=start)
        return values, vectors
