"""Help texts whose options stand in groups, by topic."""

from collections.abc import Callable
from typing import Any, Final

import click

from trajscope.cli.options import (
    ENGINE,
    HISTORY,
    INFERENCE,
    PHASES,
    SCHEDULE,
    SELECTION,
    SPECTRA,
    WINDOWS,
    with_options,
)
from trajscope.cli.training import PROBLEM, WEIGHT_DECAY

_OTHER: Final = "Options"


def _spelled(param: click.Parameter) -> tuple[str, ...]:
    """What tells an option from others: its spellings and its help."""
    return (*param.opts, str(getattr(param, "help", "")))


def _keys(*options: Callable[[Any], Any]) -> frozenset[tuple[str, ...]]:
    """`_spelled` of options that were not added to any command yet."""
    command = with_options(*options)(lambda: None)
    return frozenset(_spelled(each) for each in command.__click_params__)  # type: ignore[attr-defined]


TOPICS: Final = (
    ("Selection", _keys(*SELECTION)),
    ("Compute", _keys(*ENGINE, HISTORY)),
    ("Tests", _keys(*INFERENCE, WINDOWS, PHASES, SPECTRA, *SCHEDULE)),
    ("Gradient noise", _keys(*PROBLEM, WEIGHT_DECAY)),
)
"""Headings of help texts, and `_spelled` of the options below each; others come first."""


class Grouped(click.Command):
    """A command whose ``--help`` lists its options by the topics of `TOPICS`, others first."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a list of options for every topic that the command has options of."""
        topic_of = {key: topic for topic, keys in TOPICS for key in keys}
        headings = (_OTHER, *(topic for topic, _ in TOPICS))
        lists: dict[str, list[tuple[str, str]]] = {heading: [] for heading in headings}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                lists[topic_of.get(_spelled(param), _OTHER)].append(record)
        for topic, records in lists.items():
            if records:
                with formatter.section(topic):
                    formatter.write_dl(records)
