"""Tables of the docs say what the records say."""

import pytest

from tests.tables import PAGES, TABLE, TABLES, remade


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_table_of_the_docs_is_that_of_the_records(page):
    text = page.read_text(encoding="utf-8")
    assert remade(page) == text, "Make the tables again: python -m tests.tables"


def test_every_table_has_its_place():
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    assert sorted(name for text in texts for _, name in TABLE.findall(text)) == sorted(TABLES)
