"""Write the --help texts that the docs quote as they are now: python -m tests.quoted."""

import re
import shlex
from pathlib import Path
from typing import Final

from click.testing import CliRunner

from trajscope.cli import main

ROOT: Final = Path(__file__).parents[1]
QUOTED: Final = re.compile(
    r"^(```\w*\n\$ trajscope([^\n]*) --help\n)(.*?)(^```)", re.DOTALL | re.MULTILINE
)


def pages() -> list[Path]:
    """Every page that may quote one."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def remade(text: str) -> str:
    """The text of a page with its quotations as the commands say it now."""
    return QUOTED.sub(lambda found: f"{found[1]}{_said(found[2])}{found[4]}", text)


def _said(command: str) -> str:
    arguments = [*shlex.split(command), "--help"]
    # As on a terminal of 80 columns, of which click leaves two empty.
    return CliRunner().invoke(main, arguments, prog_name="trajscope", terminal_width=78).output


if __name__ == "__main__":
    for page in pages():
        text = page.read_text(encoding="utf-8")
        page.write_text(remade(text), encoding="utf-8")
