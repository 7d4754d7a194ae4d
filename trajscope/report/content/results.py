"""A result as it shows itself in a notebook: its verdict and key numbers before its arrays."""

from collections.abc import Sequence
from typing import Final

import xarray as xr
from markupsafe import Markup

from trajscope.report.content.cases import overview
from trajscope.report.content.headline import blind_spots, headline, key_numbers
from trajscope.schema import RESULT_PARTS, is_comparison

_STYLE: Final = "text-align:left;padding:1px 12px 1px 0;background:none"
_CELL: Final = Markup(f'<td style="{_STYLE}">{{}}</td>')
_ROW: Final = Markup("<tr>{}</tr>")


class Results(xr.DataTree):  # type: ignore[no-untyped-call]  # xarray's own hook
    """A finished result: a DataTree of xarray that shows its verdict first in a notebook.

    Examples
    --------
    >>> import trajscope
    >>> walk = trajscope.simulate.brownian(64, 20, seed=1)
    >>> results = trajscope.analyze(walk, n_surrogates=199)
    >>> print(results["verdict"].attrs["code"])
    brownian
    >>> "Indistinguishable" in results._repr_html_()
    True
    """

    __slots__ = ()

    def _repr_html_(self) -> str:
        arrays = str(super()._repr_html_())  # type: ignore[no-untyped-call]
        if is_comparison(self):
            top = _comparison(self)
        elif self._is_whole:
            top = _of_one(self)
        else:
            return arrays
        return str(
            Markup("<div>{}<details><summary>All arrays</summary>{}</details></div>").format(
                top, Markup(arrays)
            )
        )

    @property
    def _is_whole(self) -> bool:
        """Whether it is one run, or one case, with its curves."""
        parts_are_there = all(part in self.children for part in RESULT_PARTS)
        return parts_are_there and "path_length" in self["observables"].data_vars


def _of_one(results: xr.DataTree) -> Markup:
    """Verdict, detection limits and key numbers; names in them come from files, and are escaped."""
    told = headline(results)
    rows = [(each.name, each.value, each.reference) for each in key_numbers(results)]
    limits = [Markup("<li>{}</li>").format(each) for each in blind_spots(results)]
    return Markup("<p><b>{}</b>: {} {}</p>{}<p>This window cannot show:</p><ul>{}</ul>").format(
        told.word, told.sentence, told.detail, _table(rows), Markup("").join(limits)
    )


def _comparison(results: xr.DataTree) -> Markup:
    """The verdict on all weights of every run."""
    whole = [row for row in overview(results) if row.group == "all"]
    return Markup("<p><b>{} runs compared</b></p>{}").format(
        len(whole), _table([(row.case, row.verdict, f"exponent {row.exponent}") for row in whole])
    )


def _table(rows: Sequence[tuple[str, ...]]) -> Markup:
    cells = (_ROW.format(Markup("").join(map(_CELL.format, row))) for row in rows)
    return Markup("<table>{}</table>").format(Markup("").join(cells))
