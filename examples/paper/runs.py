"""The runs that the figures are made from, and the commands of trajscope that read them."""

import shlex
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import data
import xarray as xr
from loops import CHECKPOINTS, STORE
from networks import Recipe, named
from train import train

import trajscope

PROBLEMS = Path(__file__).with_name("networks.py")


@dataclass(frozen=True)
class Run:
    """A training run.

    Attributes
    ----------
    recipe :
        Of the full length.
    short :
        The same with fewer epochs, and batches for a few hundred images.
    start :
        Name of the run at whose last weights it begins; none for fresh weights.
    """

    name: str
    network: str
    recipe: Recipe
    short: Recipe
    start: str = ""


def _annealed(network: str) -> Run:
    recipe = named(network).recipe
    return Run(network, network, recipe, replace(recipe, epochs=10, anneal=10, batch=50))


def _plain(name: str, rate: float, batch: int, updates: int, start: str = "") -> Run:
    """Plain SGD at one rate, batches drawn with replacement, a checkpoint every ten updates."""
    epochs = round(updates * batch / data.N_TINY)
    recipe = Recipe(epochs, 0, batch, rate, rate, 0.0, 1e-3, every=10, replace=True)
    return Run(name, "tiny-fc", recipe, replace(recipe, epochs=100, every=4), start)


def _quarters(drawn: str) -> Run:
    """Plain SGD with batches of a quarter of the images, and a checkpoint after every step.

    At the last rate, 5e-3, steps are so short that increments are noise, with next to no pull back.
    """
    recipe = Recipe(1_500, 600, 7_500, 0.1, 5e-3, 0.0, 1e-3, every=1, replace=drawn == "with")
    short = replace(recipe, epochs=200, anneal=80, batch=188)
    return Run(f"quarters-{drawn}", "tiny-fc", recipe, short)


ANNEALED = tuple(_annealed(name) for name in ("small-lenet", "small-fc", "deep-fc"))
ALLCNN = _annealed("small-allcnn")
LONG = Run(
    *("tiny-fc", "tiny-fc", named("tiny-fc").recipe),
    replace(named("tiny-fc").recipe, epochs=400, anneal=100, batch=100),
)
PLATEAU = _plain("plateau", 0.1, 50, 150_000)
BRANCHES = tuple(
    _plain(name, rate, batch, 40_000, PLATEAU.name)
    for name, rate, batch in (
        ("same-1", 0.1, 50),
        ("same-2", 0.1, 50),
        ("both", 0.2, 100),
        ("half", 0.05, 50),
        ("double", 0.2, 50),
    )
)
"""Runs from one plateau on, at its rate over batch, at half of it and at twice."""
QUARTERS = {drawn: _quarters(drawn) for drawn in ("with", "without")}


@dataclass(frozen=True)
class Workplace:
    """Where runs and results are, and whether they are the short ones.

    Attributes
    ----------
    runs :
        Folder with one folder for each run and seed.
    out :
        Folder of the figures and their numbers; trajscope's reports are in its folder `reports`.
    seeds :
        How many runs of each kind there are.
    """

    runs: Path
    out: Path
    short: bool
    seeds: int

    def recipe(self, run: Run) -> Recipe:
        """How the run is trained here."""
        return run.short if self.short else run.recipe

    def trained(self, run: Run, seed: int) -> Path:
        """The checkpoints of a run, which is trained if it is not there or has not ended."""
        folder = self.runs / f"{run.name}-{seed}"
        start = self.runs / f"{run.start}-{seed}" if run.start else None
        # Branches of one run see images in different orders.
        own = seed if start is None else 1_000 * (seed + 1) + BRANCHES.index(run)
        train(named(run.network), self.recipe(run), folder, own, start)
        return folder / (STORE if run.network == "tiny-fc" else CHECKPOINTS)

    def report(self, name: str, *words: object) -> xr.DataTree:
        """What `trajscope WORDS -o REPORT` finds; a command that has run is not run again.

        If a run went on since, remove its reports.
        """
        folder, path = self.out / "reports" / name, self.out / "reports" / f"{name}.txt"
        command = shlex.join(["trajscope", *map(str, words), "-o", str(folder)])
        if not (path.exists() and path.read_text() == command):
            print("$", command, flush=True)
            arguments = [sys.executable, "-m", "trajscope", *map(str, words), "-o", str(folder)]
            subprocess.run([*arguments, "--quiet"], check=True)
            path.write_text(command)
        return trajscope.open_results(folder / "results.zarr")


def problem(run: Run) -> list[str]:
    """The words that name the problem of a run's network."""
    return ["--problem", f"{PROBLEMS}:{run.network.replace('-', '_')}_problem"]
