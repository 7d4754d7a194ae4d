"""The page docs/calibration.md: what was measured, in tables, and what follows from it."""

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import Template
from typing import Any, Final

from scipy.stats import binom

from .cells import FIRST_SEED, SURROGATES, TESTS, Cell
from .differences import OF_DIFFERENCES
from .honest import DAMAGE
from .measures import LABELS, LEVEL
from .ordinary import ORDINARY

TEMPLATE: Final = Path(__file__).with_name("template.md")
LEVELS: Final = (0.01, 0.05)
MANY_ERRORS: Final = 2
POWER_OF: Final = ("omnibus", "confined", "brownian", "phases", "AR modes", "circulation", "line")

Runs = Sequence[Mapping[str, Any]]
Found = Mapping[Cell, Runs]


@dataclass(frozen=True)
class Rate:
    """How often a test rejected at a level."""

    rejected: int
    n: int
    level: float

    @property
    def share(self) -> float:
        """Of the windows in which the test applied."""
        return self.rejected / self.n

    @property
    def is_liberal(self) -> bool:
        """Whether it lies more than two binomial errors above its level."""
        return self.rejected > self.bound

    @property
    def bound(self) -> float:
        """Rejections at two binomial errors above the level."""
        return self.n * self.level + MANY_ERRORS * error(self.level, self.n) * self.n

    @property
    def chance(self) -> float:
        """Probability of `is_liberal` for a test that keeps its level exactly."""
        return float(binom.sf(self.bound, self.n, self.level))


def error(share: float, n: int) -> float:
    """Binomial standard error of a share of n."""
    return float((share * (1 - share) / n) ** 0.5)


def rate(runs: Runs, test: str, level: float) -> Rate | None:
    """How often `test` rejected at `level` where it applied, or None if it never did."""
    applied = [run[test] for run in runs if test in run]
    return Rate(sum(p <= level + 1e-9 for p in applied), len(applied), level) if applied else None


def page(found: Found) -> str:
    """All of it, as Markdown."""
    tables = {
        "FIRST_SEED": f"{FIRST_SEED:,}",
        "FEW": str(SURROGATES["increments"]),
        "MANY": str(SURROGATES["verdict"]),
        "SUMMARY": _summary(found),
        "INCREMENTS": _rates(found, "increments"),
        "POSITIONS": _rates(found, "positions"),
        "POWER": _power(found),
        "VERDICTS": _verdicts(found),
        "ORDINARY": _ordinary(found),
        "SAME": _same(found),
        "OTHER": _other(found),
        "AUDIT": _audit(found),
        "DAMAGE": _damage(found),
    }
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(tables)


def _summary(found: Found) -> str:
    rows, n_liberal, expected, total = [], 0, 0.0, 0
    for table, tests in TESTS.items():
        for test in tests:
            cells = [(cell, rates) for cell in _of(found, table)
                     if (rates := _both(found, cell, test))]  # fmt: skip
            if not cells:
                continue
            flat = [each for _, rates in cells for each in rates]
            liberal = sum(each.is_liberal for each in flat)
            n_liberal, total = n_liberal + liberal, total + len(flat)
            expected += sum(each.chance for each in flat)
            pooled = (_pooled(rates[k] for _, rates in cells) for k in range(len(LEVELS)))
            worst = max(cells, key=lambda pair: (pair[1][0].share, pair[1][1].share))
            rows.append((
                _named(test), f"of {table}", str(len(cells)), *pooled, f"{liberal} of {len(flat)}",
                f"{_label(worst[0])}: {worst[1][0].share:.3f}",
            ))  # fmt: skip
    header = ("test", "table", "processes", "1%", "5%", "liberal", "largest rate at 1%")
    return (
        f"{n_liberal} of {total} rates lie more than two errors above their level; of tests that "
        f"keep it exactly, {expected:.0f} would by chance.\n\n" + _table(header, rows)
    )


def _pooled(rates: Iterable[Rate]) -> str:
    together = list(rates)
    n = sum(each.n for each in together)
    share = sum(each.rejected for each in together) / n
    return f"{share:.4f} ± {error(share, n):.4f}"


def _rates(found: Found, table: str) -> str:
    tests = TESTS[table]
    rows = []
    for cell in _of(found, table):
        row = [_name(cell), str(cell.n_steps), str(cell.d), str(len(found[cell]))]
        if table == "positions":
            row.append(_refused(found[cell]))
        rows.append((*row, *(_cell(_both(found, cell, test), len(found[cell])) for test in tests)))
    extra = ("refused",) if table == "positions" else ()
    return _table(("process", "T", "d", "runs", *extra, *(_named(test) for test in tests)), rows)


def _power(found: Found) -> str:
    rows = []
    for cell in _of(found, "power"):
        runs = found[cell]
        shares = (rate(runs, test, LEVEL) for test in POWER_OF)
        written = [f"{each.share:.2f}" if each else "–" for each in shares]
        rows.append((cell.process, str(cell.n_steps), str(len(runs)), *written[:3],
                     _refused(runs), *written[3:]))  # fmt: skip
    labels = [_named(test) for test in POWER_OF]
    return _table(("process", "T", "runs", *labels[:3], "refused", *labels[3:]), rows)


def _verdicts(found: Found) -> str:
    rows = []
    for cell in _of(found, "verdict"):
        counts = Counter(str(run["code"]) for run in found[cell])
        n = counts.total()
        share = sum(counts[code] for code in cell.right) / n
        shares = ", ".join(f"{code} {count / n:.2f}" for code, count in counts.most_common())
        rows.append((_name(cell), str(cell.d), str(n), shares, " or ".join(cell.right),
                     f"{share:.2f} ± {error(share, n):.2f}", cell.prototype))  # fmt: skip
    header = ("truth", "d", "runs", "verdicts", "right", "share right", "prototype")
    return _table(header, rows)


def _ordinary(found: Found) -> str:
    """Codes, rests and correlation times of processes as ordinary runs are."""
    rows = []
    for cell in _of(found, "ordinary"):
        runs, truth = found[cell], ORDINARY[cell.process]
        n = len(runs)
        codes, rests = (Counter(str(run[what]) for run in runs) for what in ("code", "rest"))
        times = [float(run["time"]) for run in runs if run["time"] is not None]
        time = "–"
        if truth.time is not None and times:
            time = f"{statistics.median(times) / truth.time:.2f}"
        moved = sum(run["components"] > 0 for run in runs) / n
        cut = sum(run["phases"] > 1 for run in runs) / n
        rows.append((
            cell.process, str(n), _shares(codes), _right(codes, truth.codes), _shares(rests),
            _right(rests, truth.rests), time,
            f"{moved:.2f}" + (" (there is one)" if truth.moves else ""), f"{cut:.2f}",
        ))  # fmt: skip
    header = ("truth", "runs", "verdicts", "right", "rests", "right", "time over the true one",
              "a course found", "cut into phases")  # fmt: skip
    return _table(header, rows)


def _shares(counts: Counter[str]) -> str:
    return ", ".join(f"{code} {count / counts.total():.2f}" for code, count in counts.most_common())


def _right(counts: Counter[str], right: str) -> str:
    share = sum(counts[code] for code in right.split()) / counts.total()
    return f"{share:.2f} ± {error(share, counts.total()):.2f}"


def _same(found: Found) -> str:
    """Rates of the tests of difference between equal runs, and how often intervals cover."""
    rows = []
    for cell in _of(found, "equal"):
        runs = found[cell]
        steps = f"{cell.n_steps}" + (f", {cell.second_steps}" if cell.second_steps else "")
        rates = [_cell(_both(found, cell, test), len(runs)) for test in OF_DIFFERENCES]
        covers = [_covers(runs, test) for test in OF_DIFFERENCES]
        cover = " / ".join(covers) if any(each != "–" for each in covers) else "–"
        rows.append(
            (cell.process, steps, str(cell.d), str(len(runs)), _refused(runs), *rates, cover)
        )
    header = ("process", "T", "d", "runs", "refused", *OF_DIFFERENCES, "95% intervals cover")
    return _table(header, rows)


def _covers(runs: Runs, test: str) -> str:
    covered = [bool(run[f"{test}, covered"]) for run in runs if f"{test}, covered" in run]
    return f"{sum(covered) / len(covered):.2f}" if covered else "–"


def _other(found: Found) -> str:
    rows = []
    for cell in _of(found, "other"):
        shares = (rate(found[cell], test, LEVEL) for test in OF_DIFFERENCES)
        written = [f"{each.share:.2f}" if each else "–" for each in shares]
        rows.append((cell.process, cell.second, str(len(found[cell])), *written))
    return _table(("first", "second", "runs", *OF_DIFFERENCES), rows)


def _audit(found: Found) -> str:
    """How often the audit finds something in runs in order."""
    rows, n_found, n = [], 0, 0
    for cell in _of(found, "audit"):
        runs = found[cell]
        any_kind = sum(bool(run) for run in runs)
        n_found, n = n_found + any_kind, n + len(runs)
        kinds = Counter(kind for run in runs for kind in run)
        told = ", ".join(f"{kind} {count / len(runs):.3f}" for kind, count in kinds.most_common())
        rows.append((cell.process, str(len(runs)), _with_error(any_kind, len(runs)), told or "–"))
    if n:
        rows.append(("all", str(n), _with_error(n_found, n), ""))
    return _table(("run", "runs", "share with any finding", "of which kinds"), rows)


def _damage(found: Found) -> str:
    """Shares of damaged checkpoints that the audit names."""
    rows = []
    for cell in _of(found, "damage"):
        runs = found[cell]
        shares = [sum(run[name] for run in runs) / len(runs) for name in DAMAGE]
        rows.append((cell.process, str(len(runs)), *(f"{share:.2f}" for share in shares)))
    return _table(("run", "runs", *DAMAGE), rows)


def _with_error(count: int, n: int) -> str:
    """A share and its error; where there is none, what 95% of such tables stay below."""
    if count == 0:
        return f"0 (< {3 / n:.3f})"
    return f"{count / n:.3f} ± {error(count / n, n):.3f}"


def sections(text: str) -> dict[str, str]:
    """Parts of a page by their headings of the second level; what comes before under ""."""
    parts = re.split(r"^(?=## )", text, flags=re.MULTILINE)
    return {part.split("\n", 1)[0] if part.startswith("## ") else "": part for part in parts}


def _of(found: Found, table: str) -> list[Cell]:
    return [cell for cell in found if cell.table == table and found[cell]]


def _both(found: Found, cell: Cell, test: str) -> list[Rate]:
    """Rates at both levels, or none where the process is no null or the test never applied."""
    if test in cell.silent:
        return []
    return [each for level in LEVELS if (each := rate(found[cell], test, level))]


def _cell(rates: list[Rate], n_runs: int) -> str:
    if not rates:
        return "–"
    text = " / ".join(f"**{each.share:.3f}**" if each.is_liberal else f"{each.share:.3f}"
                      for each in rates)  # fmt: skip
    return text if rates[0].n == n_runs else f"{text} ({rates[0].n})"


def _named(test: str) -> str:
    return LABELS.get(test, test)


def _refused(runs: Runs) -> str:
    return f"{sum(not run['guard'] for run in runs) / len(runs):.2f}"


def _name(cell: Cell) -> str:
    return cell.process + ("" if cell.damping is None else ", momentum known")


def _label(cell: Cell) -> str:
    return f"{_name(cell)}, T = {cell.n_steps}, d = {cell.d}"


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
