"""Which processes are measured on which windows, how often, and what should come out."""

import re
import zlib
from dataclasses import dataclass, field
from typing import Any, Final

from .differences import OF_DIFFERENCES, difference_tests
from .honest import HONEST, TRAINED, audited, detected
from .measures import (
    LEVEL,
    OF_INCREMENTS,
    OF_POSITIONS,
    increment_tests,
    position_tests,
    verdict,
    window_of,
)
from .ordinary import MODES, ORDINARY, measure_ordinary
from .processes import PROCESSES, RINGING_RADIUS

SURROGATES: Final = {
    "increments": 199, "positions": 199, "power": 199, "verdict": 999, "equal": 199, "other": 199,
    "audit": 0, "damage": 0, "ordinary": 199,
}  # fmt: skip
"""Draws of every null, by table."""
FIRST_SEED: Final = 7_000_000_000
"""Seeds below were used while the tests were chosen, and by earlier versions of the page."""


SECOND_SEED: Final = 1_000_000_000
"""Added for the second of two runs."""
RINGING: Final = ("ringing, 3 modes", "ringing, 10 modes")
RATIOS: Final = (".3", "1", "3")


@dataclass(frozen=True)
class Cell:
    """One process on one window, simulated `n_runs` times.

    Attributes
    ----------
    table :
        Of `SURROGATES`.
    silent :
        Tests for which the process is no null.
    damping :
        Told to the tests; None where the momentum is not known.
    right :
        Verdicts that are right.
    prototype :
        Shares of an earlier prototype's verdicts.
    second, second_steps :
        Of the run that the first is compared with, where they differ from its own.
    """

    table: str
    process: str
    n_runs: int
    n_steps: int = 200
    d: int = 10
    silent: tuple[str, ...] = ()
    damping: float | None = None
    right: tuple[str, ...] = field(default=())
    prototype: str = ""
    second: str = ""
    second_steps: int = 0

    @property
    def key(self) -> str:
        """A file name of its own."""
        known = "" if self.damping is None else f"-damping-{self.damping}"
        other = f"-{self.second}" if self.second else ""
        other += f"-T{self.second_steps}" if self.second_steps else ""
        name = f"{self.table}-{self.process}-T{self.n_steps}-d{self.d}{known}{other}"
        return re.sub(r"[^\w.-]+", "_", name)

    @property
    def n_at_once(self) -> int:
        """Runs that are saved together."""
        if self.process in TRAINED:
            return 1
        return 50 if self.n_steps <= 200 and self.d <= 100 else 10

    def seed(self, run: int) -> int:
        """Of a run: for every cell its own, from `FIRST_SEED` up."""
        return FIRST_SEED + zlib.crc32(self.key.encode()) % 1_000_000 * 1000 + run


def measure(cell: Cell, first: int, count: int) -> list[dict[str, Any]]:
    """What the tests say of runs `first` to ``first + count - 1``."""
    return [_measure_run(cell, cell.seed(run)) for run in range(first, first + count)]


def _measure_run(cell: Cell, seed: int) -> dict[str, Any]:
    if cell.table in ("audit", "damage"):
        look = audited if cell.table == "audit" else detected
        return look(cell.process, cell.n_steps, cell.d, seed)
    if cell.table == "ordinary":
        return measure_ordinary(cell.process, cell.n_steps, SURROGATES["ordinary"], seed)
    if cell.table in ("equal", "other"):
        first = PROCESSES[cell.process](cell.n_steps, cell.d, seed)
        second = PROCESSES[cell.second or cell.process](
            cell.second_steps or cell.n_steps, cell.d, SECOND_SEED + seed
        )
        return difference_tests(first, second, SURROGATES[cell.table], seed)
    window = window_of(PROCESSES[cell.process](cell.n_steps, cell.d, seed))
    n_surrogates = SURROGATES[cell.table]
    if cell.table == "verdict":
        code, evidence = verdict(window, n_surrogates, seed, cell.damping)
        return {"code": code} | evidence
    found = increment_tests(window, n_surrogates, seed)
    if cell.table == "increments":
        return found
    found |= position_tests(window, n_surrogates, seed, cell.damping)
    if found["brownian"] > LEVEL or not found["reverts"]:
        found.pop("early_excess", None)
    return found


def _increment_cells() -> list[Cell]:
    cells = []
    for n_steps in (32, 50, 200, 1000):
        for d in (10, 1000):
            for process in ("isotropic", "rank 1%", "t3", "drift .1"):
                n_runs = 400 if n_steps == 1000 and process in ("t3", "drift .1") else 1000
                silent = ("constant_drift",) if "drift" in process else ()
                name = f"Brownian, {process}"
                cells.append(Cell("increments", name, n_runs, n_steps, d, silent))
    return cells


def _position_cells() -> list[Cell]:
    def cell(process: str, n_steps: int = 200, d: int = 10, n_runs: int = 1000) -> Cell:
        # Ringing is a null of the line where the momentum is known.
        damping = RINGING_RADIUS if "ringing" in process else None
        return Cell("positions", process, n_runs, n_steps, d, damping=damping)

    usual = (*(f"OU, tau = {tau}" for tau in (2, 10, 40)), "double well, lambda = 0", *RINGING)
    short = ("OU, tau = 2", "Brownian, rank 10", "double well, lambda = 0", *RINGING)
    long = (*(f"OU, tau = {tau}" for tau in (20, 200, 1000)), "Brownian, rank 10",
            "double well, lambda = 0", *RINGING)  # fmt: skip
    loud = ("OU, tau = 10, clustered volatility", "100 OU modes, tau = 10, clustered volatility",
            "OU, tau = 10, t3 noise", "OU, tau = 10, Levy noise, 1.7")  # fmt: skip
    return [
        *(cell(process) for process in usual),
        *(cell(process) for process in loud),
        cell("100 equal OU modes, tau = T/40", d=100),
        cell("100 equal OU modes, tau = T/20", d=100),
        cell("Brownian, rank 10"),
        cell("OU, every weight a mode, tau = T/20", d=1000, n_runs=400),
        cell("OU, every weight a mode, tau = T/20", 50, 1000),
        cell("OU, tau = 1", 32),
        *(cell(process, 50) for process in short),
        *(cell(process, 1000) for process in long),
    ]


def _power_cells() -> list[Cell]:
    def power(process: str, n_steps: int = 200, runs: int = 100) -> Cell:
        return Cell("power", process, runs, n_steps)

    turning = [f"rotating OU, {p} omega/a = {w}" for p in ("5 planes,", "1 plane,") for w in RATIOS]
    stirred = ["double well, lambda = .5", "double well, lambda = 1.5"]
    cycles = ["limit cycle, noisy", "limit cycle, coherent"]
    first = ["OU, tau = 2", "OU, tau = T/20", "OU, tau = T/10", "AR(.1) increments"]
    return [power(name) for name in (*first, *turning, *stirred, *cycles)] + [
        power(name, 1000, 50)
        for name in (*turning[:3], *stirred, "symmetric Hessian, noise that does not commute")
    ]


def _verdict_cells() -> list[Cell]:
    def row(process: str, right: str, prototype: str = "", d: int = 10, **options: Any) -> Cell:
        return Cell(
            "verdict", process, 200, d=d, right=tuple(right.split("|")), prototype=prototype,
            **options,
        )  # fmt: skip

    known = {"damping": RINGING_RADIUS}
    return [
        row("Brownian, isotropic", "brownian", "brownian .99"),
        row("Brownian, isotropic", "brownian", "brownian .99", d=1000),
        row("Brownian, rank 10", "brownian", "brownian .97", d=1000),
        row("Brownian, t3", "brownian", "brownian .98"),
        row("AR(.5) increments", "brownian", "brownian .91"),
        row("AR(.9) increments", "brownian|too_short", "drifting .96"),
        row("Brownian, drift .1", "drifting"),
        row("Brownian, drift .1", "drifting", "drifting .99", d=300),
        row("Brownian, drift .3", "drifting", "drifting .98"),
        row("noise scale doubled half-way", "noise_scale_changes", "noise_scale_changes 1.00"),
        row("OU, tau = T/100", "confined", "confined .98"),
        row("OU, tau = T/40", "confined", "confined .96"),
        row("OU, tau = T/20", "confined"),
        row("OU, tau = T/10", "confined|too_short",
            "brownian .44, too_short .29, confined .26"),
        row("OU, tau = 40", "brownian|too_short|confined"),
        row("OU, every weight a mode, tau = T/20", "too_short|confined", d=1000),
        row("100 equal OU modes, tau = T/40", "confined|too_short",
            "confined .57, too_short .34, oscillating .05", d=100),
        row("OU, tau = 10, clustered volatility", "confined|noise_scale_changes"),
        row("100 OU modes, tau = 10, clustered volatility", "confined|noise_scale_changes"),
        row("Brownian, clustered volatility", "brownian|noise_scale_changes"),
        row("OU, tau = 10, t3 noise", "confined"),
        row("OU, tau = 10, Levy noise, 1.7", "confined"),
        row("relaxing OU (5 sd), tau = T/5", "drifting|too_short", "brownian .80"),
        row("relaxing OU (5 sd), tau = T/20", "drifting|too_short", "brownian .54"),
        row("double well, lambda = 0", "confined", "confined .95"),
        row("double well, lambda = .5", "circulating", "circulating .13"),
        row("double well, lambda = 1.5", "circulating", "circulating .98"),
        *(
            row(f"rotating OU, 5 planes, omega/a = {ratio}", "circulating", f"circulating {share}")
            for ratio, share in zip(RATIOS, (".02", ".69", ".96"), strict=True)
        ),
        *(row(f"rotating OU, 1 plane, omega/a = {ratio}", "circulating") for ratio in RATIOS),
        row("limit cycle, noisy", "circulating|oscillating",
            "circulating .78, oscillating .07"),
        row("limit cycle, coherent", "oscillating|circulating", "oscillating .91"),
        row("limit cycle, coherent", "oscillating|circulating", **known),
        row("ringing, 3 modes", "confined|oscillating"),
        row("ringing, 3 modes", "confined", **known),
        row("ringing, 10 modes", "confined|oscillating"),
        row("ringing, 10 modes", "confined", **known),
    ]  # fmt: skip


def _same_cells() -> list[Cell]:
    def cell(process: str, n_steps: int = 200, d: int = 10, second_steps: int = 0) -> Cell:
        n_runs = 1000 if d <= 100 else 400
        return Cell("equal", process, n_runs, n_steps, d, second_steps=second_steps)

    walks = [f"Brownian, {kind}" for kind in ("isotropic", "t3", "drift .1")]
    rest = ["OU, tau = 2", "OU, tau = 10", "AR(.5) increments", "double well, lambda = 1.5"]
    rings = ["AR(.9) increments", *RINGING, "limit cycle, noisy"]
    return [
        *(cell(process, 64) for process in (*walks, "OU, tau = 2")),
        *(cell(process) for process in (*walks, *rest)),
        *(cell("Brownian, isotropic", n, 1000) for n in (64, 200)),
        cell("Brownian, rank 10", 200, 1000),
        *(cell(process, 200, second_steps=1000) for process in (*walks[:2], *rest[:2])),
        *(cell(process) for process in rings),
        *(cell(process, 1000) for process in (walks[0], rest[1], *rings)),
    ]


def _other_cells() -> list[Cell]:
    first = "Brownian, isotropic"
    pairs = [
        (first, "Brownian, drift .1"),
        (first, "Brownian, drift .3"),
        (first, "OU, tau = T/10"),
        (first, "OU, tau = T/20"),
        (first, "AR(.1) increments"),
        (first, "AR(.5) increments"),
        (first, "Brownian, 1.2 times as large"),
        ("OU, tau = 10", "OU, tau = 2"),
        ("OU, tau = 10", "rotating OU, 5 planes, omega/a = 3"),
    ]
    return [Cell("other", one, 200, 200, second=other) for one, other in pairs]


def _audit_cells() -> list[Cell]:
    """Runs in order, and runs with damage."""
    damaged = ("Brownian, isotropic", "walk of every weight", "OU, tau = 2", "OU, tau = 20",
               "double well", "limit cycle, noisy", "rate drops tenfold twice", "log-spaced",
               *TRAINED)  # fmt: skip
    return [
        *(Cell("audit", each, TRAINED.get(each, 200), 150, 500) for each in HONEST),
        *(Cell("damage", each, TRAINED.get(each, 160) // 4, 150, 500) for each in damaged),
    ]


def _ordinary_cells() -> list[Cell]:
    return [Cell("ordinary", each, 60, d=MODES) for each in ORDINARY]


CELLS: Final = (
    *_ordinary_cells(), *_verdict_cells(), *_power_cells(), *_position_cells(), *_increment_cells(),
    *_same_cells(), *_other_cells(),
    *_audit_cells(),
)  # fmt: skip
TESTS: Final = {
    "increments": OF_INCREMENTS,
    "positions": OF_POSITIONS,
    "equal": OF_DIFFERENCES,
}
"""Whose rate under the null a table holds."""
