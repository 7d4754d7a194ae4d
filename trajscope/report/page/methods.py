"""How a result was made, and what lies behind its page, as rows of names and values."""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence

import xarray as xr
from markupsafe import Markup

from trajscope.errors import printable
from trajscope.report.content.curves import MOST_POINTS
from trajscope.report.content.input import Reading
from trajscope.report.content.numbers import number, plain
from trajscope.report.figures.record import Columns
from trajscope.report.page.environment import asset, stylesheet

PAPER = (
    "P. Chaudhari, S. Soatto. Stochastic gradient descent performs variational inference, "
    "converges to limit cycles for deep networks. ICLR 2018. arXiv:1710.11029"
)


def frame(
    results: xr.DataTree,
    tables: Mapping[str, Columns],
    definitions: Sequence[tuple[str, str]],
    *,
    rows: int = MOST_POINTS,
    runs: bool,
) -> dict[str, object]:
    """What the head and the methods of every page show, by the names in their templates.

    Parameters
    ----------
    tables :
        The drawn curves by their figure, for the CSV; `rows` of each at most.
    definitions :
        Of the curves, by what they are called.
    runs :
        Whether several runs are drawn.
    """
    script = asset("script.js")
    return {
        "command": printable(results.attrs.get("command") or "", limit=2000),
        "definitions": definitions,
        "paper": PAPER,
        "version": printable(results.attrs["trajscope"]),
        "embedded": Markup(_embedded(tables, rows)),
        "csv_rows": rows,
        "style": Markup(stylesheet(runs=runs)),
        "script": Markup(script),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    }


def methods(results: xr.DataTree, seen: Reading | None = None) -> list[tuple[str, str]]:
    """How a result was made; of one run, with what was read."""
    told = results.attrs
    rows = [
        ("trajscope", printable(told["trajscope"])),
        ("made", printable(told.get("created", ""))),
        ("with", _pairs(told.get("versions", {}), " ")),
        ("seed", printable(told.get("seed", ""))),
        ("options", _pairs(told.get("config", {}), " = ")),
        ("input fingerprint", printable(told.get("fingerprint", ""))),
        ("pass", printable(told.get("path", ""))),
    ]
    if seen is not None:
        length = seen.window.checkpoints
        rows.append(("window", f"T = {length:,}, n = {length - 1:,}"))
    return [(name, value) for name, value in rows if value]


def timings(results: xr.DataTree) -> str:
    """Seconds by what they were spent on."""
    seconds = results.attrs.get("timings", {})
    return ", ".join(
        f"{printable(name).removesuffix('_s')} {number(float(time), 2)} s"
        for name, time in seconds.items()
    )


def _pairs(values: Mapping[str, object], between: str) -> str:
    return ", ".join(f"{printable(k)}{between}{printable(v)}" for k, v in values.items())


def _embedded(tables: Mapping[str, Columns], rows: int) -> str:
    """Curves as JSON that cannot end its script element."""
    thinned = {
        figure: {
            name: [plain(float(f"{value:.6g}")) for value in column[:: -(-column.size // rows)]]
            for name, column in columns.items()
        }
        for figure, columns in tables.items()
    }
    text = json.dumps(thinned, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
