"""Training with one trainer, and the comparison of what is read with what was saved."""

import importlib.util
import warnings
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from tests.trainers.composed_trainers import TRAINERS as COMPOSED
from tests.trainers.library_trainers import TRAINERS as FROM_LIBRARIES
from tests.trainers.module_trainers import TRAINERS as FROM_MODULES
from tests.trainers.records import Trainer
from tests.trainers.torch_trainers import TRAINERS as FROM_TORCH
from trajscope.analysis.run import analyze
from trajscope.errors import TrajscopeError
from trajscope.trajectory import open_trajectory, tensor

TRAINERS = (*FROM_TORCH, *FROM_LIBRARIES, *COMPOSED, *FROM_MODULES)


def missing(trainer: Trainer) -> list[str]:
    """The packages that a trainer needs and that are not installed."""
    return [name for name in trainer.needs if importlib.util.find_spec(name) is None]


def checked(trainer: Trainer, folder: Path) -> xr.Dataset | None:
    """The trajectory that a trainer wrote, compared bit for bit; `None` where it is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = trainer.train(folder)
    opened_folder = folder / trainer.below
    if trainer.refusal:
        with pytest.raises(TrajscopeError, match=trainer.refusal):
            open_trajectory(opened_folder, **trainer.options)
        return None
    opened = open_trajectory(opened_folder, **trainer.options)
    assert list(opened["step"].values) == sorted(saved)
    for index, step in enumerate(sorted(saved)):
        assert sorted(opened["tensor"].values) == sorted(saved[step])
        for name, expected in saved[step].items():
            np.testing.assert_array_equal(tensor(opened, name)[index], expected)
    if len(saved) > 2:  # an increment has to be compared with another
        assert analyze(opened)["observables"].sizes["step"] == len(saved)
    return opened
