"""Write the tables of docs/formats.md: python -m tests.trainers.table docs/formats.md."""

import os
import re
import sys
import tempfile
import warnings
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from tests.checkpoints.test_suites import SUITES
from tests.trainers.checking import TRAINERS, checked, missing
from tests.trainers.records import Trainer

HEADS = {
    "table": "| written by | on disk | read as | steps from |\n|---|---|---|---|\n",
    "left out": "| what it is | for example | written by |\n|---|---|---|\n",
    "suites": "| names as in | for example | steps | coordinates |\n|---|---|---|---|\n",
}
"""By its name in the page."""
MOST = 3
"""Examples, and trainers, in one row of what is left out."""
PACKAGES = {"sentence_transformers": "sentence-transformers", "orbax": "orbax-checkpoint"}


def row(trainer: Trainer) -> tuple[str, list[tuple[str, str]]]:
    """A trainer's row, once it is checked, and what is left out: names and reasons."""
    with tempfile.TemporaryDirectory() as folder:
        opened = checked(trainer, Path(folder))
    written = f"{trainer.name} ({of_version(trainer)})"
    if opened is None:
        return f"| {written} | `{trainer.on_disk}` | refused: {trainer.refusal} | |\n", []
    told = opened.attrs
    read = f"| {written} | `{trainer.on_disk}` | {told['format']} | {told['step_source']} |\n"
    return read, [(each["name"], each["reason"]) for each in told["left_out"]]


def left_out(found: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """A row for each reason: up to three examples, one of a writer, and up to three writers."""
    examples: dict[str, dict[str, str]] = {}
    writers: dict[str, dict[str, None]] = {}
    for writer, arrays in found.items():
        for name, reasons in arrays:
            for reason in re.sub(r" \(\d+ arrays?\)", "", reasons).split("; "):
                kind = re.sub(r"^part of the weight .*", "part of another weight", reason)
                if writer not in writers.setdefault(kind, {}):
                    examples.setdefault(kind, {}).setdefault(name.rpartition(".")[2], name)
                writers[kind][writer] = None
    return "".join(
        f"| {kind} | {', '.join(f'`{name}`' for name in [*leaves.values()][:MOST])} "
        f"| {_first(writers[kind])} |\n"
        for kind, leaves in examples.items()
    )


def _first(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    known = list(names)
    more = [f"and {len(known) - MOST} more"] if len(known) > MOST else []
    return "; ".join(known[:MOST] + more)


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
    made = {trainer.name: row(trainer) for trainer in TRAINERS}
    tables = {
        "table": "".join(read for read, _ in made.values()),
        "left out": left_out({name: left for name, (_, left) in made.items()}),
        "suites": suites(),
    }
    page.write_text(replaced(page.read_text(encoding="utf-8"), tables), encoding="utf-8")


def replaced(text: str, tables: Mapping[str, str]) -> str:
    """A page with these rows in the tables of these names."""
    for name, own in tables.items():
        place = re.compile(rf"(?<=<!-- {name} -->\n).*?(?=<!-- end of {name} -->)", re.DOTALL)
        text = place.sub(lambda _, own=own, name=name: HEADS[name] + own, text)
    return text


if __name__ == "__main__":
    main(Path(sys.argv[1]))
