"""Write the tables of the docs that are made of records: python -m tests.tables."""

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from trajscope.gradient_noise.spectrum.numbers import DESCRIPTIONS
from trajscope.inference.decision.catalogue import TESTS

DOCS = Path(__file__).parents[1] / "docs"
TABLE = re.compile(r"(?<=<!-- table -->\n).*?(?=<!-- end of table -->)", re.DOTALL)


def catalogue_table() -> str:
    """Every statistical test, in the order in which they are asked."""
    head = ("`test`", "label", "null hypothesis", "statistic", "draws", "rejects for")
    return _table(head, (_test_row(test) for test in TESTS))


def numbers_table() -> str:
    """Every number of D, in the order of reports."""
    head = ("number", "label", "what")
    rows = ((f"`{name}`", told.label, told.long_name) for name, told in DESCRIPTIONS.items())
    return _table(head, rows)


PAGES: dict[Path, Callable[[], str]] = {
    DOCS / "results.md": catalogue_table,
    DOCS / "diffusion.md": numbers_table,
}


def remade(page: Path) -> str:
    """The text of a page with its table as the records are now."""
    return TABLE.sub(lambda _: PAGES[page](), page.read_text(encoding="utf-8"))


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
