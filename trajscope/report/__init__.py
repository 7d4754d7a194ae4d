"""A finished result as a screen, a page and a store; nothing is computed here."""

from trajscope.report.content.summary import summary, trajectory_summary
from trajscope.report.files.storage import open_results, save_results
from trajscope.report.files.write import check_output, write_report, write_summary
from trajscope.report.screen.input import reading_lines
from trajscope.report.screen.result import screen

__all__ = [
    "check_output",
    "open_results",
    "reading_lines",
    "save_results",
    "screen",
    "summary",
    "trajectory_summary",
    "write_report",
    "write_summary",
]
