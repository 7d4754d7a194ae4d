"""Inner products of per-sample gradients, in float64 whatever the gradients are."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final

from trajscope.measure.blas import blas_threads

if TYPE_CHECKING:
    from torch import Tensor

_PANEL_BYTES: Final = 32 << 20
"""Room for a float64 copy of some columns, or for the products of some rows."""
_CPU_PANEL_BYTES: Final = 8 << 20
"""The same for columns in main memory, whose allocator hands out more than 32 MiB page by page."""
_SINGLE_WIDTH: Final = 2048
"""Weights whose products are summed in float32."""
_SMALLEST: Final = 192
"""Rows of a square on the diagonal that is no longer halved."""


def add_products(gram: "Tensor", rows: "Tensor", *, single: bool = False) -> None:
    """Add ``G G'`` to the lower triangle of `gram`.

    Parameters
    ----------
    gram : (sample, sample)
        float64; above the diagonal it holds nothing of use until `symmetrise`.
    rows : (sample, weight)
        G.
    single :
        In main memory: take products of 2,048 weights at a time in float32, and sum these.
    """
    if single:
        _add_single(gram, rows)
        return
    n = len(rows)
    panel_bytes = _PANEL_BYTES if rows.is_cuda else _CPU_PANEL_BYTES
    width = max(panel_bytes // (8 * n), 16)
    panels = (rows[:, start : start + width] for start in range(0, rows.shape[1], width))
    if rows.is_cuda:
        for panel in panels:
            _add_lower(gram, panel.double())
    else:
        _add_on_cpu(gram, panels)


def add_factored_products(gram: "Tensor", entered: "Tensor", returned: "Tensor") -> None:
    """Add the products of gradients ``sum_t delta_t a_t'`` to the lower triangle of `gram`.

    ``<g_n, g_m> = sum_{t,s} (a_nt . a_ms) (delta_nt . delta_ms)``, without any g.

    Parameters
    ----------
    gram : (sample, sample)
    entered, returned :
        a and delta: (sample, position, n_in), (sample, position, n_out).
    """
    n, positions = entered.shape[:2]
    if positions == 1 and 16 * n**2 <= _PANEL_BYTES:
        inner, other = gram.new_zeros((2, n, n))
        add_products(inner, entered[:, 0])
        add_products(other, returned[:, 0])
        gram += inner.mul_(other)
        return
    # Several steps even where one would fit: the upper triangle is then nearly left out.
    step = max(min(_PANEL_BYTES // (16 * n * positions**2), max(n // 8, _SMALLEST)), 1)
    for top in range(0, n, step):
        bottom = min(top + step, n)
        inner = _inner(entered, top, bottom)
        inner *= _inner(returned, top, bottom)
        blocks = inner.reshape(bottom - top, positions, bottom, positions)
        gram[top:bottom, :bottom] += blocks.sum((1, 3)) if positions > 1 else inner


def symmetrise(gram: "Tensor") -> None:
    """Copy the lower triangle of `gram` into the upper one."""
    n = len(gram)
    step = _SMALLEST
    for top in range(0, n, step):
        bottom = min(top + step, n)
        gram[:top, top:bottom] = gram[top:bottom, :top].T
        corner = gram[top:bottom, top:bottom]
        corner.copy_(corner.tril() + corner.tril(-1).T)


def centre(gram: "Tensor") -> float:
    """Turn inner products into those after the mean is taken off, ``H K H`` with ``H = 1 - 11'/N``.

    Returns
    -------
    float
        ``|mean gradient|^2``.
    """
    means = gram.mean(0)
    square = float(means.mean())
    gram -= means
    gram -= (means - means.mean())[:, None]
    return max(square, 0.0)


def _add_on_cpu(gram: "Tensor", panels: "Iterable[Tensor]") -> None:
    """Add ``P P'`` of each panel by SciPy's BLAS, which has a product of half the work for it."""
    import torch
    from scipy.linalg.blas import dsyrk

    # The lower triangle of rows one behind another is the upper one of columns.
    upper = gram.numpy().T
    with blas_threads(torch.get_num_threads()):
        for panel in panels:
            values = panel.double().numpy()
            across = values.flags.c_contiguous
            operand = values.T if across else values
            added = dsyrk(
                1.0, operand, beta=1.0, c=upper, trans=int(across), lower=0, overwrite_c=1
            )
            if added is not upper:  # of a matrix that is not in one piece SciPy makes a copy
                upper[...] = added


def _add_single(gram: "Tensor", rows: "Tensor") -> None:
    """Add products in float32 of a panel after the other."""
    import torch
    from scipy.linalg.blas import ssyrk

    with blas_threads(torch.get_num_threads()):
        for start in range(0, rows.shape[1], _SINGLE_WIDTH):
            panel = rows[:, start : start + _SINGLE_WIDTH].contiguous().numpy()
            product = ssyrk(1.0, panel.T, trans=1, lower=0)
            # The upper triangle of columns is the lower one of rows.
            gram += torch.from_numpy(product.T)


def _add_lower(gram: "Tensor", rows: "Tensor") -> None:
    """Add ``G G'`` to the lower triangle: the square below the diagonal, then both halves of it.

    The few multiplications above the diagonal are in the smallest squares; large products are
    faster than strips.
    """
    n = len(rows)
    if n <= _SMALLEST:
        gram.addmm_(rows, rows.T)
        return
    half = n // 2
    gram[half:, :half].addmm_(rows[half:], rows[:half].T)
    _add_lower(gram[:half, :half], rows[:half])
    _add_lower(gram[half:, half:], rows[half:])


def _inner(factor: "Tensor", top: int, bottom: int) -> "Tensor":
    """Products of samples ``top:bottom`` with all up to `bottom`, positions one behind another."""
    left = factor[top:bottom].flatten(0, 1).double()
    return left @ factor[:bottom].flatten(0, 1).double().T
