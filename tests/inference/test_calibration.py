"""Every test keeps its level where nothing is, and sees what is there: a small calibration.

docs/calibration.md holds the large one; both measure the cells of benchmarks/calibrate.
"""

import pytest
from scipy.stats import binom

from benchmarks.calibrate.cells import CELLS, FIRST_SEED, TESTS, Cell, measure
from benchmarks.calibrate.honest import DAMAGE, HONEST, TRAINED
from benchmarks.calibrate.measures import LEVEL, OF_INCREMENTS
from benchmarks.calibrate.ordinary import ORDINARY
from benchmarks.calibrate.page import page, rate
from benchmarks.calibrate.processes import PROCESSES

RARE = 5e-4
"""Probability at which a sound test would fail here by chance, for each of about seventy rates."""

NULLS = (
    Cell("increments", "Brownian, isotropic", 150, n_steps=50, d=1000),
    Cell("increments", "Brownian, t3", 200, n_steps=32),
    Cell("increments", "Brownian, drift .1", 150, silent=("constant_drift",)),
    Cell("positions", "OU, tau = 2", 150, n_steps=50),
    Cell("positions", "Brownian, rank 10", 100),
    Cell("positions", "double well, lambda = 0", 100),
    Cell("positions", "ringing, 3 modes", 60, damping=0.95),
)
THERE = {
    "confined": ("OU, tau = T/20", 0.9),
    "omnibus": ("OU, tau = 2", 0.9),
    "constant_drift": ("Brownian, drift .3", 0.9),
    "noise_scale": ("noise scale doubled half-way", 0.9),
    "relaxation": ("relaxing OU (5 sd), tau = T/5", 0.6),
    "early_excess": ("relaxing OU (5 sd), tau = T/20", 0.6),
    "circulation": ("double well, lambda = 1.5", 0.8),
    "line": ("limit cycle, coherent", 0.8),
}
N_RUNS = 30


@pytest.mark.parametrize("cell", NULLS, ids=lambda cell: cell.key)
@pytest.mark.slow
def test_no_test_speaks_too_often_where_nothing_is(cell):
    runs = measure(cell, 0, cell.n_runs)
    for test in TESTS[cell.table]:
        for level in (0.01, 0.05):
            found = rate(runs, test, level)
            if found is None or test in cell.silent:
                continue
            most = binom.ppf(1 - RARE, found.n, level)
            assert found.rejected <= most, f"{test}: {found.rejected} of {found.n} at {level}"


@pytest.mark.parametrize("test", THERE)
def test_every_test_sees_what_it_is_there_for(test):
    process, share = THERE[test]
    table = "increments" if test in OF_INCREMENTS else "power"
    found = rate(measure(Cell(table, process, N_RUNS), 0, N_RUNS), test, LEVEL)
    assert found.rejected >= binom.ppf(RARE, found.n, share), found


@pytest.mark.parametrize("process", [each for each in HONEST if each not in TRAINED])
def test_the_audit_finds_next_to_nothing_in_runs_in_order(process):
    runs = measure(Cell("audit", process, 5, 150, 500), 0, 5)
    # Of infinite variance, one increment now and then really is most of the path.
    assert process == "heavy-tailed step lengths" or sum(bool(run) for run in runs) <= 1
    assert {kind for run in runs for kind in run} <= {"jump", "detour"}


def test_the_audit_finds_planted_damage():
    runs = measure(Cell("damage", "walk of every weight", 3, 150, 500), 0, 3)
    assert runs == [dict.fromkeys(DAMAGE, 1.0)] * 3


def test_cells_have_seeds_and_files_of_their_own():
    assert len({cell.key for cell in CELLS}) == len(CELLS)
    assert len({cell.seed(0) for cell in CELLS}) == len(CELLS)
    assert min(cell.seed(0) for cell in CELLS) >= FIRST_SEED
    assert {cell.process for cell in CELLS} <= PROCESSES.keys() | HONEST.keys() | ORDINARY.keys()


def test_a_liberal_rate_is_bold_on_the_page():
    null, row = (next(c for c in CELLS if c.table == table) for table in ("increments", "verdict"))
    often = [dict.fromkeys(OF_INCREMENTS, 0.03) | {"omnibus": 0.005 * (1 + i)} for i in range(100)]
    text = page({null: often, row: [{"code": "brownian"}] * 3 + [{"code": "confined"}]})
    # Omnibus: uniform p-values, 2 of 100 at 1% and 10 at 5%; all others 100 at 5%.
    assert "| 0.000 / **1.000** | **0.020**" not in text
    assert "| 0.000 / **1.000** | 0.020 / **0.100** |" in text
    assert "brownian 0.75, confined 0.25" in text


def test_false_alarms_of_the_audit_are_listed_with_their_errors():
    quiet, loud = [cell for cell in CELLS if cell.table == "audit"][:2]
    text = page({quiet: [{}] * 60, loud: [{"jump": 1.0}] + [{}] * 9})
    assert f"| {quiet.process} | 60 | 0 (< 0.050) | – |" in text
    assert f"| {loud.process} | 10 | 0.100 ± 0.095 | jump 0.100 |" in text
    assert "| all | 70 | 0.014 ± 0.014 |" in text
