"""Write the tables of the docs that are made of records: python -m tests.tables."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from trajscope.analysis.spectra import NUMBERS as MATRIX_NUMBERS
from trajscope.gradient_noise.spectrum.numbers import DESCRIPTIONS
from trajscope.inference.comparison.law_guards import GUARDS as LAW_GUARDS
from trajscope.inference.decision.catalogue import TESTS
from trajscope.measure.catalogue import OBSERVABLES, REFERENCES
from trajscope.report.content.scalars import SCALARS
from trajscope.theory.guards import GUARDS

DOCS = Path(__file__).parents[1] / "docs"
TABLE = re.compile(r"(<!-- table of (\w+) -->\n).*?(?=<!-- end of table -->)", re.DOTALL)


def catalogue_table() -> str:
    """Every statistical test, in the order in which they are asked."""
    head = ("`test`", "label", "null hypothesis", "statistic", "draws", "rejects for")
    return _table(head, (_test_row(test) for test in TESTS))


def numbers_table() -> str:
    """Every number of D, in the order of reports."""
    head = ("number", "label", "what")
    rows = ((f"`{name}`", told.label, told.long_name) for name, told in DESCRIPTIONS.items())
    return _table(head, rows)


def observables_table() -> str:
    """Every observable of a group, then what a random walk gives."""
    head = ("name", "dimensions besides group", "units", "formula")
    rows = [(each, ", ".join(each.dims)) for each in OBSERVABLES]
    rows += [(each, f"{', '.join(each.dims)}; no group") for each in REFERENCES]
    return _table(head, ((f"`{each.name}`", dims, each.units, each.formula) for each, dims in rows))


def scalars_table() -> str:
    """Every number of summary.json."""
    rows = [(f"`{name}`", meaning) for name, (meaning, _) in SCALARS.items()]
    more = ("`explained_variance_1`, `_2`, …", "share of the variance along each component")
    return _table(("key", "what"), [*rows, more])


def matrices_table() -> str:
    """Every number of a weight matrix at a checkpoint."""
    rows = ((f"`{name}`", units, what) for name, (units, what) in MATRIX_NUMBERS.items())
    return _table(("name", "units", "what"), rows)


def guards_table() -> str:
    """What the test of the theory refuses: code, why, what would lift it."""
    rows = (
        (f"`{guard.code}`", guard.reason.replace("{detail}", "…"), guard.remedy) for guard in GUARDS
    )
    return _table(("code", "why", "what would lift it"), rows)


def law_guards_table() -> str:
    """Every guard of the comparison of stationary laws."""
    rows = (
        (f"`{each.code}`", each.withholds, each.reason.format(detail="…"), each.remedy)
        for each in LAW_GUARDS
    )
    return _table(("code", "withholds", "reason", "what would lift it"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "law_guards": law_guards_table,
    "matrices": matrices_table,
    "numbers": numbers_table,
    "observables": observables_table,
    "scalars": scalars_table,
    "guards": guards_table,
    "tests": catalogue_table,
}
PAGES = tuple(DOCS / f"{name}.md" for name in ("results", "diffusion", "compare", "dynamics"))


def remade(page: Path) -> str:
    """The text of a page with its tables as the records are now."""
    text = page.read_text(encoding="utf-8")
    return TABLE.sub(lambda found: found[1] + TABLES[found[2]](), text)


def _test_row(test) -> tuple[str, ...]:
    words = (test.label, test.null, test.what_is_compared, test.draws, test.rejects)
    return (f"`{test.name}`", *words)


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    cells = [list(head), ["---"] * len(tuple(head)), *map(list, rows)]
    lines = (" | ".join(cell.replace("|", "\\|") for cell in row) for row in cells)
    return "".join(f"| {line} |\n" for line in lines)


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(remade(page), encoding="utf-8")
