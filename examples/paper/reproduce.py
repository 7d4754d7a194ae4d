"""Make a figure of arXiv:1710.11029 again, from runs that trajscope reads, and its numbers.

    python examples/paper/reproduce.py fig1a --data MNIST/raw --out paper
    python examples/paper/reproduce.py all --out paper --short

Runs that are missing are trained first (train.py), into OUT/runs; every command of trajscope is
printed. FIGURE.png and FIGURE.json are written into OUT. The full-length runs take hours of one
core; --short shows the same in minutes, from short runs.

Without --data, the networks see the small digits that ship with trajscope.
"""

import argparse
import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import course
import rules
import spectra
import well
from runs import Workplace


@dataclass(frozen=True)
class Figure:
    """A figure by its name in the paper, or a table.

    Attributes
    ----------
    make :
        Writes it, and returns the row of numbers.
    """

    name: str
    make: Callable[[Workplace], dict[str, Any]]


FIGURES = (
    Figure("fig1a", spectra.fig1a),
    Figure("fig1b", spectra.fig1b),
    Figure("fig3a", course.fig3a),
    Figure("fig3b", course.fig3b),
    Figure("fig3c", course.fig3c),
    Figure("fig4", well.fig4),
    Figure("table", spectra.table),
    Figure("scaling", rules.scaling),
    Figure("replacement", rules.replacement),
)


def main(arguments: list[str] | None = None) -> None:
    """Make what was asked for."""
    options = parse(arguments)
    if options.data is not None:
        os.environ["MNIST_DIR"] = str(options.data.absolute())
    runs = options.runs or options.out / "runs"
    place = Workplace(runs, options.out, options.short, options.seeds)
    for figure in FIGURES:
        if options.figure in ("all", figure.name):
            row = figure.make(place)
            path = options.out / f"{figure.name}.json"
            path.write_text(json.dumps(known(row), indent=1, ensure_ascii=False) + "\n")
            print(f"{figure.name}: {path}", flush=True)


def known(value: Any) -> Any:
    """The value with null for every number that is not known: JSON has no NaN."""
    if isinstance(value, dict):
        return {key: known(each) for key, each in value.items()}
    if isinstance(value, list):
        return [known(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Options of the command line."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("figure", choices=[*(each.name for each in FIGURES), "all"])
    parser.add_argument("--data", type=Path, metavar="DIR", help="MNIST's IDX files; MNIST_DIR too")
    parser.add_argument("--out", type=Path, metavar="DIR", default="paper", help="for figures")
    parser.add_argument("--runs", type=Path, metavar="DIR", help="for runs; OUT/runs by default")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each kind")
    parser.add_argument("--short", action="store_true", help="short runs and small samples")
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error("--seeds must be at least 1")
    return options


if __name__ == "__main__":
    main()
