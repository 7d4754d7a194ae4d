"""The input in a few plain lines."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from trajscope.report.content.input import Omission, findings, reading
from trajscope.report.content.numbers import counted, listed
from trajscope.report.screen.lines import columns_within, console, in_ascii, labelled, shows_unicode
from trajscope.schema import Described

if TYPE_CHECKING:
    import xarray as xr

_MOST_REASONS = 5


def reading_lines(
    trajectory: "xr.Dataset | Described",
    *,
    width: int | None = None,
    unicode: bool | None = None,
) -> list[str]:
    """What was found and used, what was left out and why, and every warning, as plain lines.

    That much of the model is left out comes first.

    Takes an opened trajectory, or the part ``/trajectory`` of a result; reads no weight. Omissions
    are grouped by reason, with counts and the first names. `width` and `unicode` are as in
    `screen`.
    """
    output = console()
    columns = columns_within(output.width if width is None else width)
    seen = reading(trajectory)
    found = counted(seen.window.checkpoints, "checkpoint")
    about = [
        ("Warning", seen.first),
        ("Found", f"{found}, {seen.format}" if seen.format else found),
        ("Run", seen.run),
        ("Steps", seen.steps),
        ("From", seen.step_source),
        ("Counts", "; ".join(seen.counts)),
        ("Weights", f"{seen.weights}, {seen.stored}"),
        *(("Choice", text) for text in seen.decisions),
        *(("Left out", text) for text in _omissions(seen.left_out, "tensor")),
        *(("Skipped", text) for text in _omissions(seen.skipped, "file")),
        *(("Warning", text) for text in seen.warnings),
    ]
    lines = [seen.source, *labelled([(label, text) for label, text in about if text], columns)]
    if shows_unicode(output) if unicode is None else unicode:
        return lines
    return [in_ascii(line) for line in lines]


def audit_lines(
    audit: Sequence[Mapping[str, object]],
    checkpoints: int,
    *,
    width: int | None = None,
    unicode: bool | None = None,
) -> list[str]:
    """What an audit of so many checkpoints found, or that it found nothing, as `reading_lines`."""
    output = console()
    columns = columns_within(output.width if width is None else width)
    found = findings(audit) or (f"nothing found in {counted(checkpoints, 'checkpoint')}",)
    lines = labelled([("Audit", text) for text in found], columns)
    if shows_unicode(output) if unicode is None else unicode:
        return lines
    return [in_ascii(line) for line in lines]


def _omissions(found: Sequence[Omission], noun: str) -> list[str]:
    """One phrase for each of the first reasons, and one for all the others."""
    phrases = [
        f"{counted(len(one.names), noun)}, {one.reason}: {listed(one.names)}"
        for one in found[:_MOST_REASONS]
    ]
    names = [name for one in found[_MOST_REASONS:] for name in one.names]
    if names:
        others = counted(len(found) - _MOST_REASONS, "other reason")
        phrases.append(f"{counted(len(names), f'more {noun}')}, {others}: {listed(names)}")
    return phrases
