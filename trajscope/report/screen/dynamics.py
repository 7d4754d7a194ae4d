"""The test of the theory as plain lines."""

import xarray as xr

from trajscope.report.content.dynamics import refusals
from trajscope.report.content.theory_holds import dynamics_sentences
from trajscope.report.screen.lines import columns_within, console, in_ascii, labelled, shows_unicode

TITLE = "Does the theory hold here?"


def dynamics_lines(
    found: xr.Dataset, *, width: int | None = None, unicode: bool | None = None
) -> list[str]:
    """Whether the stationary law is the predicted one, and what was refused, as plain lines.

    Parameters
    ----------
    found :
        As `trajscope.dynamics` returns it.
    width, unicode :
        As in `screen`.
    """
    output = console()
    columns = columns_within(output.width if width is None else width)
    notes = [("", text) for text in dynamics_sentences(found)]
    notes += [("Refused", f"{each.code}: {each.reason} {each.remedy}") for each in refusals(found)]
    lines = [TITLE, *labelled(notes, columns)]
    plain = not (shows_unicode(output) if unicode is None else unicode)
    return [in_ascii(line) for line in lines] if plain else lines
