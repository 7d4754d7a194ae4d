"""A folder of checkpoints as one lazy, labelled array: ``weights(step, weight)``."""

from trajscope.trajectory.backend import TrajscopeBackend
from trajscope.trajectory.opening import open_selection, open_trajectory, with_buffers
from trajscope.trajectory.tensors import tensor

__all__ = ["TrajscopeBackend", "open_selection", "open_trajectory", "tensor", "with_buffers"]
