"""The files of a trajectory's checkpoints."""

from pathlib import Path

import xarray as xr

from trajscope.schema import PATH


def checkpoint_files(trajectory: xr.Dataset) -> tuple[list[Path], bool]:
    """The file or folder of each checkpoint, and whether each lies in a folder of its own.

    There are none where the trajectory has no paths, or several checkpoints have the same one:
    the rows of a store have no files beside them.
    """
    texts = trajectory[PATH].values.tolist() if PATH in trajectory.coords else []
    if len(set(texts)) < len(texts):
        return [], False
    paths = [Path(text) for text in texts]
    folders = {path if path.is_dir() else path.parent for path in paths}
    return paths, len(folders) == len(paths) > 1
