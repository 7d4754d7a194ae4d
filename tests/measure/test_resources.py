import re
from pathlib import Path

import pytest

from trajscope.errors import OptionError
from trajscope.measure.resources import default_memory, parse_bytes, resident_bytes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2GiB", 2 << 30), ("512 MiB", 512 << 20), ("512MB", 512 * 10**6), ("1.5kb", 1500),
        ("1e9", 10**9), ("4096", 4096), (" 1 TiB ", 1 << 40), ("3g", 3 * 10**9), ("7 B", 7),
    ],
)  # fmt: skip
def test_sizes_are_read_in_decimal_and_binary_units(text, expected):
    assert parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text", ["", "two", "2 gallons", "-1GiB", "0", "0.1", "1.2.3MB", "nan", "1e999", "i", "2ib",
             "\x1b[31m2GiB"],
)  # fmt: skip
def test_what_is_no_size_is_refused_and_shown_harmlessly(text):
    message = "is invalid; a number of bytes is expected, such as 2GiB"
    with pytest.raises(OptionError, match=message) as caught:
        parse_bytes(text)
    assert "\x1b" not in str(caught.value)


def test_the_default_is_a_share_of_what_the_machine_has_left():
    assert 0 < default_memory() < 1 << 50


def test_resident_memory_is_what_the_kernel_reports():
    status = Path("/proc/self/status").read_text()
    reported = int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024
    assert abs(resident_bytes() - reported) < 16 << 20
