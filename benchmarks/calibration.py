"""Measure false-positive rates, power and verdicts.

    python benchmarks/calibration.py                 # full size: some 5,000 s of one core
    python benchmarks/calibration.py --scale 0.01    # the same, with a hundredth of the runs

Every cell is one process with a known answer on one window, simulated many times with seeds that
were never used for choosing anything, in parallel processes of one BLAS thread each. What is
measured is saved under --work-dir as it comes; a second call goes on where the first one stopped.
At full size the page docs/calibration.md is written; otherwise it is printed.
"""

import argparse
import json
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from calibrate.cells import CELLS, FIRST_SEED, Cell, measure
from calibrate.page import page, sections

PAGE = Path(__file__).parents[1] / "docs" / "calibration.md"
SECTIONS = {
    "increments": "## False positives: increments",
    "positions": "## False positives: positions",
    "power": "## Power",
    "verdict": "## Verdicts",
    "ordinary": "## Noise, course and rest",
    "equal": "## Differences between equal runs",
    "other": "## Differences between other runs",
    "audit": "## False alarms of the audit",
    "damage": "## Damage that the audit finds",
}
"""Headings of the parts of the page that a table fills."""
WORK_DIR = Path("build/calibration") / str(FIRST_SEED)


def n_runs(cell: Cell, scale: float) -> int:
    """Runs of a cell at this scale."""
    return max(1, round(cell.n_runs * scale))


def missing(folder: Path, scale: float) -> list[tuple[int, int, int, Path]]:
    """What is not saved yet: (cell, first run, number of runs, file).

    All cells advance together, so that a page can be made at any time.
    """
    todo = []
    for number, cell in enumerate(CELLS):
        total = n_runs(cell, scale)
        for first in range(0, total, cell.n_at_once):
            count = min(cell.n_at_once, total - first)
            path = folder / cell.key / f"{first:04d}.json"
            if not path.exists() or len(json.loads(path.read_text())) < count:
                todo.append((number, first, count, path))
    return sorted(todo, key=lambda task: task[1] / n_runs(CELLS[task[0]], scale))


def measure_and_save(number: int, first: int, count: int, path: Path) -> float:
    """Measure some runs of a cell in this process; seconds it took."""
    begun = time.process_time()
    found = measure(CELLS[number], first, count)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    partial.write_text(json.dumps(found))
    partial.replace(path)
    return time.process_time() - begun


def collected(folder: Path, scale: float) -> dict[Cell, list[dict[str, float | str]]]:
    """All runs that are saved, by cell."""
    found = {}
    for cell in CELLS:
        files = sorted((folder / cell.key).glob("*.json"))
        runs = [run for path in files for run in json.loads(path.read_text())]
        found[cell] = runs[: n_runs(cell, scale)]
    return found


def only(text: str, tables: list[str]) -> str:
    """The page as it is, with the sections of these tables new."""
    new = sections(text)
    kept = sections(PAGE.read_text(encoding="utf-8"))
    kept |= {SECTIONS[table]: new[SECTIONS[table]] for table in tables}
    return "\n".join(kept.get(heading, new[heading]).rstrip("\n") + "\n" for heading in new)


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=1.0, help="share of the runs")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="processes")
    parser.add_argument("--work-dir", type=Path, default=WORK_DIR)
    parser.add_argument(
        "--tables", help="only these and their parts of the page, such as verdict,power"
    )
    parser.add_argument("--page-only", action="store_true", help="measure nothing more")
    options = parser.parse_args()
    # Read by the libraries when they are loaded: the workers start from nothing.
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    todo = [] if options.page_only else missing(options.work_dir, options.scale)
    if options.tables:
        todo = [task for task in todo if CELLS[task[0]].table in options.tables.split(",")]
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.workers, mp_context=spawn) as workers:
        running = {workers.submit(measure_and_save, *task): task for task in todo}
        for done, finished in enumerate(as_completed(running), start=1):
            number, first, count, _ = running[finished]
            what = f"{CELLS[number].key} {first}+{count}: {finished.result():.1f} s"
            print(f"{done}/{len(todo)} {what}", file=sys.stderr, flush=True)
    text = page(collected(options.work_dir, options.scale))
    if options.tables:
        text = only(text, options.tables.split(","))
    if options.scale == 1:
        PAGE.write_text(text, encoding="utf-8")
        print(f"Written: {PAGE}")
    else:
        print(text)


if __name__ == "__main__":
    main()
