import re

import pytest

from trajscope.report.figures.catalogue import FIGURES
from trajscope.report.figures.palette import ROLES, TIME, declarations

TEXT = ("ink", "second", "observed", "null", "outside-text", "paper")


def contrast(one, other):
    """Contrast ratio of two colours as WCAG 2 defines it."""

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [0, 1])
@pytest.mark.parametrize("ground", ["background", "panel"])
@pytest.mark.parametrize("role", TEXT)
def test_text_can_be_read_on_the_page_and_on_panels(role, ground, theme):
    assert contrast(ROLES[role][theme], ROLES[ground][theme]) >= 4.6


@pytest.mark.parametrize("theme", [0, 1])
def test_marks_and_time_can_be_told_from_the_page(theme):
    marks = [ROLES["outside"][theme], *(pair[theme] for pair in TIME)]
    assert all(contrast(mark, ROLES["background"][theme]) >= 3.3 for mark in marks)


@pytest.mark.parametrize("dark", [False, True])
def test_every_variable_is_declared_once_per_theme(dark):
    names = re.findall(r"(--[\w-]+):#[0-9a-f]{6};", declarations(dark))
    assert len(names) == len(set(names)) == len(ROLES) + len(TIME)


@pytest.mark.parametrize("name", ["updates", "distances"])
def test_captions_of_shades_hold_in_the_dark_as_well(name):
    (figure,) = (each for each in FIGURES if each.name == name)
    assert not re.search("dark|light|pale", figure.caption + figure.compare)
