"""Transforms compiled for this processor, and called with arrays."""

import ctypes
from functools import cache, lru_cache
from threading import Lock
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trajscope.kernels.compiled.program import ENTRY, program
from trajscope.kernels.compiled.writer import PAIR

_LOCK: Final = Lock()
_OLDEST: Final = (20,)
"""Version of LLVM: that of llvmlite 0.45. Before 16 pointers had types."""
_ALIGNMENT: Final = 64  # bytes of a line of the cache

Float32 = NDArray[np.float32]


@cache
def is_possible() -> bool:
    """Whether llvmlite is installed, which compiles, and is not too old for it."""
    try:
        from llvmlite import binding
    except (ImportError, OSError):
        return False
    return bool(binding.llvm_version_info >= _OLDEST)


def padded_width(n_series: int) -> int:
    """Columns that an array of so many series needs: they are taken in pairs of groups."""
    return -(-n_series // PAIR) * PAIR


class Transform:
    """Power of real series beside each other, of which the first `n_rows` numbers are not zero.

    All arrays have as many columns, a number that `padded_width` gives, and rows without gaps.

    Parameters
    ----------
    length :
        Of the series with the zeros behind them.
    of_both :
        Whether series are increments, and the power of their positions is wanted too.
    """

    def __init__(self, length: int, n_rows: int, *, of_both: bool = False) -> None:
        made = program(length, n_rows, of_both=of_both)
        self._table, self._n_work = made.table, made.n_work
        self._engine, address = _compiled(made.text)
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self._call = ctypes.CFUNCTYPE(None, pointer, number, *[pointer] * 7)(address)
        self._rows = {"x": n_rows, "squares": length // 2 + (not of_both)}
        if of_both:
            self._rows |= {"power": length // 4, "mean": 1, "distance": 1}
        self._n_coefficients = length // 2 if of_both else 0

    def power(self, x: Float32, squares: Float32) -> None:
        """``|FFT|^2``.

        Parameters
        ----------
        x : (row, series)
        squares : (frequency, series)
            Written: frequencies 0..length/2.
        """
        self._run({"x": x, "squares": squares})

    def both(
        self, x: Float32, squares: Float32, power: Float32, mean: Float32, distance: Float32,
        coefficients: Float32,
    ) -> None:  # fmt: skip
        """Power of increments and of positions, as `trajscope.kernels.powers` says.

        Parameters
        ----------
        x : (row, series)
            Increments less their mean.
        squares, power : (frequency, series)
            Written: of positions at 1..length/2, of increments at every second of those.
        mean, distance : (1, series)
            s and m.
        coefficients : (frequency, 4)
        """
        arrays = {"x": x, "squares": squares, "power": power, "mean": mean, "distance": distance}
        self._run(arrays, coefficients)

    def _run(self, arrays: dict[str, Float32], coefficients: Float32 | None = None) -> None:
        """Machine code looks at no bounds: they are looked at here."""
        width = arrays["x"].shape[1]
        for name, rows in self._rows.items():
            each = arrays[name]
            if (
                each.shape != (rows, width)
                or width != padded_width(width)
                or each.dtype != np.float32
                or not each.flags.c_contiguous
            ):
                raise ValueError(f"{name}: {each.shape} {each.dtype}, not {(rows, width)} float32.")
        n_coefficients = 0 if coefficients is None else len(coefficients)
        if n_coefficients != self._n_coefficients:
            raise ValueError(f"coefficients: {n_coefficients} rows, not {self._n_coefficients}.")
        if not width:
            return
        work = _aligned(self._n_work)
        given = [
            arrays["x"].ctypes.data, width, work.ctypes.data, self._table.ctypes.data,
            *(_address(arrays.get(name)) for name in ("squares", "power", "mean", "distance")),
            _address(coefficients),
        ]  # fmt: skip
        self._call(*given)


def _address(array: Float32 | None) -> int | None:
    return None if array is None else array.ctypes.data


def _aligned(n_numbers: int) -> Float32:
    """Memory that begins at a line of the cache."""
    raw = np.empty(4 * n_numbers + _ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % _ALIGNMENT
    return raw[start : start + 4 * n_numbers].view(np.float32)


def transform(length: int, n_rows: int, *, of_both: bool = False) -> Transform:
    """One that is compiled once, whatever the threads."""
    with _LOCK:
        return _kept(length, n_rows, of_both)


@lru_cache(maxsize=8)
def _kept(length: int, n_rows: int, of_both: bool) -> Transform:
    return Transform(length, n_rows, of_both=of_both)


def _compiled(text: str) -> tuple[Any, int]:
    """What holds the machine code, and the address of its entry."""
    from llvmlite import binding as llvm

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(), features=llvm.get_host_cpu_features().flatten(), opt=3
    )
    module = llvm.parse_assembly(text)
    module.verify()
    options = llvm.create_pipeline_tuning_options(speed_level=2)
    # Everything is vectors already.
    options.loop_vectorization = options.slp_vectorization = options.loop_unrolling = False
    passes = llvm.create_pass_builder(machine, options)
    passes.getModulePassManager().run(module, passes)
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    return engine, engine.get_function_address(ENTRY)
