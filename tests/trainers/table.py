"""Write the table of docs/formats.md: python -m tests.trainers.table docs/formats.md."""

import os
import re
import sys
import tempfile
import warnings
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.trainers.checking import TRAINERS, checked, missing
from tests.trainers.records import Trainer

TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)
HEAD = "| written by | on disk | read as | steps from |\n|---|---|---|---|\n"
PACKAGES = {"sentence_transformers": "sentence-transformers", "orbax": "orbax-checkpoint"}


def row(trainer: Trainer) -> str:
    """One line of the table, once the comparison has passed."""
    with tempfile.TemporaryDirectory() as folder:
        opened = checked(trainer, Path(folder))
    written = f"{trainer.name} ({of_version(trainer)})"
    if opened is None:
        return f"| {written} | `{trainer.on_disk}` | refused: {trainer.refusal} | |\n"
    told = opened.attrs
    return f"| {written} | `{trainer.on_disk}` | {told['format']} | {told['step_source']} |\n"


def of_version(trainer: Trainer) -> str:
    """The version of the package that wrote, torch where there is no other."""
    name = trainer.needs[0] if trainer.needs else "torch"
    try:
        return version(PACKAGES.get(name, name)).partition("+")[0]
    except PackageNotFoundError:
        return "?"


def main(page: Path) -> None:
    """Run every trainer and put the table in its place."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    for trainer in TRAINERS:
        if missing(trainer):
            sys.exit(f"{trainer.name}: {', '.join(missing(trainer))} is not installed")
    rows = [row(trainer) for trainer in TRAINERS]
    text = page.read_text(encoding="utf-8")
    page.write_text(TABLE.sub(lambda _: HEAD + "".join(rows), text), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
