"""Write the tables of docs/formats.md: python -m tests.trainers.table docs/formats.md."""

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.checkpoints.test_suites import SUITES
from tests.trainers.checking import TRAINERS, checked, missing
from tests.trainers.records import Trainer

HEADS = {
    "table": "| written by | on disk | read as | steps from |\n|---|---|---|---|\n",
    "left out": "| written by | left out | why |\n|---|---|---|\n",
    "suites": "| names as in | for example | steps | coordinates |\n|---|---|---|---|\n",
}
"""By its name in the page."""
PACKAGES = {"sentence_transformers": "sentence-transformers", "orbax": "orbax-checkpoint"}


def rows(trainer: Trainer) -> tuple[str, str]:
    """What a trainer adds to the tables of trainers and of what is left out, once it is checked."""
    with tempfile.TemporaryDirectory() as folder:
        opened = checked(trainer, Path(folder))
    written = f"{trainer.name} ({of_version(trainer)})"
    if opened is None:
        return f"| {written} | `{trainer.on_disk}` | refused: {trainer.refusal} | |\n", ""
    told = opened.attrs
    by_reason: dict[str, list[str]] = {}
    for each in told["left_out"]:
        by_reason.setdefault(re.sub(r"'[^']*'", "another", each["reason"]), []).append(each["name"])
    left = [
        f"| {written} | `{names[0]}`{f' and {len(names) - 1} more' if len(names) > 1 else ''} "
        f"| {reason} |\n"
        for reason, names in by_reason.items()
    ]
    read = f"| {written} | `{trainer.on_disk}` | {told['format']} | {told['step_source']} |\n"
    return read, "".join(left)


def suites() -> str:
    """The rows of the suites whose names the tests imitate."""
    found = []
    for suite, (names, steps, unit, coordinates) in SUITES.items():
        shown = f"`{names[0]}` ... `{names[-1]}`"
        counted = f"{steps[0]:,} to {steps[-1]:,}{'' if unit == 'step' else f' ({unit})'}"
        found.append(f"| {suite} | {shown} | {counted} | {', '.join(coordinates)} |\n")
    return "".join(found)


def of_version(trainer: Trainer) -> str:
    """The version of the package that wrote, torch where there is no other."""
    name = trainer.needs[0] if trainer.needs else "torch"
    try:
        return version(PACKAGES.get(name, name)).partition("+")[0]
    except PackageNotFoundError:
        return "?"


def main(page: Path) -> None:
    """Run every trainer and put the tables in their places."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    for trainer in TRAINERS:
        if missing(trainer):
            sys.exit(f"{trainer.name}: {', '.join(missing(trainer))} is not installed")
    read, left = zip(*map(rows, TRAINERS), strict=True)
    tables = {"table": "".join(read), "left out": "".join(left), "suites": suites()}
    page.write_text(replaced(page.read_text(encoding="utf-8"), tables), encoding="utf-8")


def replaced(text: str, tables: Mapping[str, str]) -> str:
    """A page with these rows in the tables of these names."""
    for name, own in tables.items():
        place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
        text = place.sub(lambda _, own=own, name=name: HEADS[name] + own, text)
    return text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
