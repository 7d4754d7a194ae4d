"""A finished result as a screen, a page and a store; nothing is computed here."""

from trajscope.report.reading_lines import reading_lines
from trajscope.report.storage import open_results, save_results
from trajscope.report.summary import summary, trajectory_summary, write_summary
from trajscope.report.terminal import screen
from trajscope.report.write import check_output, write_report

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
