"""Unfinished work on disk, so that a run that was killed goes on where it was."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from trajscope.errors import OptionError, printable
from trajscope.files import replaced
from trajscope.kernels.gram import Floats


@dataclass
class Ledger:
    """Arrays that are written now and then, and read by the next run of the same work.

    Attributes
    ----------
    path :
        The file, named after everything the arrays depend on; `None` keeps nothing.
    interval :
        Least seconds between two writings: writing takes time too.
    """

    path: Path | None
    interval: float = 20.0
    written: float = field(default_factory=time.monotonic)

    def load(self) -> dict[str, Floats]:
        """What was written last, or nothing.

        Raises
        ------
        OptionError
            The file is damaged.
        """
        if self.path is None or not self.path.exists():
            return {}
        try:
            with self.path.open("rb") as file, np.load(file, allow_pickle=False) as saved:
                return {name: saved[name] for name in saved.files}
        except (OSError, ValueError, EOFError, BadZipFile) as error:
            raise OptionError(
                f"{printable(self.path)} is expected to contain intermediate results of an "
                "earlier run, but cannot be read. Remove it to start again."
            ) from error

    def save(self, arrays: Mapping[str, Floats]) -> None:
        """Write `arrays`, unless that was done a short while ago."""
        if self.path is None or time.monotonic() - self.written < self.interval:
            return
        with (
            written_in(self.path.parent),
            replaced(self.path, durable=True, tidy=True) as unfinished,
        ):
            np.savez(unfinished, **dict(arrays))  # type: ignore[arg-type]
        self.written = time.monotonic()

    def clear(self) -> None:
        """Remove what was written: the work is done."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)


@contextmanager
def written_in(folder: Path) -> Iterator[None]:
    """Tell in words why unfinished work cannot be written."""
    try:
        yield
    except OSError as error:
        raise OptionError(
            f"--work-dir: {printable(folder)} cannot be written to: "
            f"{error.strerror or printable(error)}. Free disk space and run the same command "
            "again, which goes on from what is there; or choose another folder."
        ) from error
