"""Help texts whose options stand in groups, by topic."""

from typing import Final

import click

from trajscope.cli.options import TOPICS, spelled

_OTHER: Final = "Options"


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
                lists[topic_of.get(spelled(param), _OTHER)].append(record)
        for topic, records in lists.items():
            if records:
                with formatter.section(topic):
                    formatter.write_dl(records)
