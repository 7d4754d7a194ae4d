"""A finished result as a screen, a page and a store; nothing is computed here."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from trajscope.report.content.summary import summary, trajectory_summary
    from trajscope.report.files.storage import open_results, save_results
    from trajscope.report.files.write import check_output, write_report, write_summary
    from trajscope.report.screen.input import audit_lines, reading_lines

__all__ = [
    "audit_lines",
    "check_output",
    "open_results",
    "reading_lines",
    "save_results",
    "summary",
    "trajectory_summary",
    "write_report",
    "write_summary",
]

# Imported on first use: what was read can be told without xarray and the templates of the page.
_HOMES = {
    "audit_lines": "screen.input",
    "check_output": "files.write",
    "open_results": "files.storage",
    "reading_lines": "screen.input",
    "save_results": "files.storage",
    "summary": "content.summary",
    "trajectory_summary": "content.summary",
    "write_report": "files.write",
    "write_summary": "files.write",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
