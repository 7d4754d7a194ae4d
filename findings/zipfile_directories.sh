#!/usr/bin/env bash
# Python 3.11 to 3.13: zipfile believes a zip archive's directory, and takes quadratic time over it.
#
# - A count of members that is not theirs, a name that runs past the end of the directory and an
#   offset that puts members before the file are taken without a word.
# - An archive whose comment holds the mark of a directory's end is refused, though it is whole.
# - An extra field of 64 kB in pieces of four bytes is copied once for every piece: one megabyte of
#   directory takes .25 to .3 s, 16 MB take 4 s.
#
# Exits with 1 when one of them is no longer so.
set -euo pipefail
python3 - <<'PYTHON'
import io
import struct
import sys
import time
import zipfile

ENTRY, END = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s4H2IH")


def archive(comment=b"", **changes):
    """Two members in an archive of which bytes were changed, by their place in the last records."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as new:
        new.comment = comment
        new.writestr("one", b"1" * 10)
        new.writestr("two", b"2" * 20)
    content = bytearray(file.getvalue())
    for mark, (at, value) in changes.items():
        first = content.rindex({"end": b"PK\5\6", "entry": b"PK\1\2"}[mark]) + at
        content[first : first + len(value)] = value
    return io.BytesIO(content)


def members(file):
    return [(each.filename, each.header_offset) for each in zipfile.ZipFile(file).infolist()]


whole = members(archive())
print("a count of 60000:", members(archive(end=(10, b"\x60\xea"))))
assert members(archive(end=(10, b"\x60\xea"))) == whole
print("a name of 65535 bytes:", members(archive(entry=(28, b"\xff\xff"))))
assert members(archive(entry=(28, b"\xff\xff"))) == whole
moved = members(archive(end=(16, b"\xff\xff\xff\x00")))
print("a directory at byte 16777215:", moved)
assert moved[0][1] < 0
try:
    sys.exit(f"a comment with a mark: {members(archive(comment=b'PK' + bytes([5, 6]) + b'x' * 18))}")
except zipfile.BadZipFile as error:
    print("a comment with a mark:", error)


def seconds(count):
    extra = b"\x09\x99\0\0" * 16_383
    sizes = 1, len(extra), 0, 0, 0, 0, 0
    entries = b"".join(
        ENTRY.pack(b"PK\1\2", 20, 20, 0, 0, 0, 0, 0, 0, 0, *sizes) + bytes([65 + index]) + extra
        for index in range(count)
    )
    end = END.pack(b"PK\5\6", 0, 0, count, count, len(entries), 0, 0)
    started = time.process_time()
    zipfile.ZipFile(io.BytesIO(entries + end))
    return time.process_time() - started


taken = seconds(16)
print(f"one megabyte of extra fields: {taken:.2f} s")
sys.exit(taken < 0.05)
PYTHON
