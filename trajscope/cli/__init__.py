"""The command line."""

from trajscope.cli.commands import main

__all__ = ["main"]
