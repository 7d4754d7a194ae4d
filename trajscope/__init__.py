"""What a training run does in weight space, read from its checkpoints.

>>> import trajscope
>>> results = trajscope.analyze("runs/resnet18/checkpoints")  # doctest: +SKIP
>>> trajscope.write_report(results, "report")  # doctest: +SKIP
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING

from trajscope.errors import (
    CheckpointError,
    OptionError,
    ResultsError,
    TrajectoryError,
    TrajscopeError,
    TrajscopeWarning,
)

if TYPE_CHECKING:
    from trajscope import plot, simulate
    from trajscope.analysis.audit import audit
    from trajscope.analysis.average import average
    from trajscope.analysis.compare import compare
    from trajscope.analysis.dynamics import dynamics
    from trajscope.analysis.run import analyze
    from trajscope.dense import CheckpointStore
    from trajscope.gradient_noise.api import diffusion
    from trajscope.model.problem import Problem
    from trajscope.packing import pack
    from trajscope.report import open_results, write_report
    from trajscope.saving import save_checkpoint
    from trajscope.trajectory import open_trajectory, tensor

__all__ = [
    "CheckpointError",
    "CheckpointStore",
    "OptionError",
    "Problem",
    "ResultsError",
    "TrajectoryError",
    "TrajscopeError",
    "TrajscopeWarning",
    "__version__",
    "analyze",
    "audit",
    "average",
    "compare",
    "diffusion",
    "dynamics",
    "open_results",
    "open_trajectory",
    "pack",
    "plot",
    "save_checkpoint",
    "simulate",
    "tensor",
    "write_report",
]

__version__ = version("trajscope")

# Imported on first use: xarray and dask take seconds, and `trajscope --help` needs neither.
_HOMES = {
    "CheckpointStore": "trajscope.dense",
    "Problem": "trajscope.model.problem",
    "analyze": "trajscope.analysis.run",
    "audit": "trajscope.analysis.audit",
    "average": "trajscope.analysis.average",
    "compare": "trajscope.analysis.compare",
    "diffusion": "trajscope.gradient_noise.api",
    "dynamics": "trajscope.analysis.dynamics",
    "open_results": "trajscope.report",
    "open_trajectory": "trajscope.trajectory",
    "pack": "trajscope.packing",
    "save_checkpoint": "trajscope.saving",
    "tensor": "trajscope.trajectory",
    "write_report": "trajscope.report",
}
_MODULES = ("plot", "simulate")


def __getattr__(name: str) -> object:
    if name in _MODULES:
        return import_module(f"trajscope.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'trajscope' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
