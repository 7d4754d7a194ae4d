"""The diffusion matrix: the covariance of per-sample gradients at chosen checkpoints."""

import sys
from types import ModuleType
from typing import Any

from trajscope.diffusion.front import diffusion
from trajscope.diffusion.problem import Problem, load_problem

__all__ = ["Problem", "diffusion", "load_problem"]


class _Callable(ModuleType):
    """The package, which is also the function of its name.

    ``trajscope.diffusion`` is the package as soon as anything in it has been imported, and the
    function to everybody who calls it.
    """

    def __call__(self, *args: Any, **options: Any) -> Any:
        return diffusion(*args, **options)


sys.modules[__name__].__class__ = _Callable
