"""A folder of checkpoints as one lazy, labelled array: ``weights(step, weight)``."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trajscope.trajectory.backend import TrajscopeBackend
    from trajscope.trajectory.files import checkpoint_files
    from trajscope.trajectory.opening import open_selection, open_trajectory, with_buffers
    from trajscope.trajectory.tensors import tensor

__all__ = [
    "TrajscopeBackend",
    "checkpoint_files",
    "open_selection",
    "open_trajectory",
    "tensor",
    "with_buffers",
]

# Imported on first use: to list a folder takes neither xarray nor what xarray loads.
_HOMES = {
    "TrajscopeBackend": "backend",
    "checkpoint_files": "files",
    "open_selection": "opening",
    "open_trajectory": "opening",
    "tensor": "tensors",
    "with_buffers": "opening",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
