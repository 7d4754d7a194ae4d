"""The restricted unpickler, compared with Python's pickle on data, and unmoved by programs."""

import collections
import contextlib
import fractions
import math
import os
import pickle
import time
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.readers.reading import at_most
from trajscope.readers.torch import machine, opcodes, records, unpickler
from trajscope.readers.torch.records import (
    DamagedPickleError,
    Dictionary,
    Global,
    Persistent,
    Record,
    UnfinishedPickleError,
)
from trajscope.readers.torch.unpickler import parse_pickle

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**200), 2**200)
    | st.floats(allow_nan=False)
    | st.text(st.characters(exclude_categories=["Cs"]))
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.lists(inner, max_size=5).map(tuple)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])) | st.integers(), inner, max_size=5
        )
    ),
    max_leaves=20,
)


def plain(value: object) -> object:
    """Records of dictionaries as dictionaries again."""
    if isinstance(value, Dictionary):
        return {plain(key): plain(each) for key, each in value.pairs}
    if isinstance(value, (list, tuple)):
        return type(value)(plain(each) for each in value)
    return value


class Rebuilt:
    """An object whose pickle calls what it was told to."""

    def __init__(self, *reduced: object) -> None:
        self.reduced = reduced

    def __reduce__(self) -> tuple[object, ...]:
        return self.reduced


class WithState:
    """An object whose pickle restores state through a method."""

    def __init__(self, state: object) -> None:
        self.content = state

    def __getstate__(self) -> object:
        return self.content

    def __setstate__(self, state: object) -> None:
        Path(str(state)).touch()


@given(value=values, protocol=st.sampled_from(PROTOCOLS))
def test_plain_data_is_what_pickle_reads(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    parsed = parse_pickle(data)
    expected = pickle.loads(data)
    assert plain(parsed.value) == expected
    assert repr(plain(parsed.value)) == repr(expected)  # 1, 1.0 and True are equal
    assert parsed.end == len(data)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_pickles_behind_one_another_are_read_in_turn(protocol: int) -> None:
    data = b"".join(pickle.dumps(value, protocol) for value in ([1], "two", {"3": 3.0}))
    first = parse_pickle(data)
    second = parse_pickle(data, first.end)
    third = parse_pickle(data, second.end)
    assert [plain(each.value) for each in (first, second, third)] == [[1], "two", {"3": 3.0}]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_calls_and_instances_become_records(protocol: int) -> None:
    value = parse_pickle(pickle.dumps(fractions.Fraction(1, 3), protocol)).value
    assert isinstance(value, Record)
    assert value.origin == Global("fractions", "Fraction")
    ordered = parse_pickle(pickle.dumps(collections.OrderedDict(a=1, b=2), protocol)).value
    assert isinstance(ordered, Record)
    assert ordered.origin == Global("collections", "OrderedDict")
    assert ordered.pairs == [("a", 1), ("b", 2)]


@pytest.mark.parametrize("protocol", [4, 5])
def test_bytes_sets_and_large_text_are_read(protocol: int) -> None:
    value = [b"abc", bytearray(b"de"), {1}, frozenset({2}), "x" * 300, b"y" * 300]
    found = parse_pickle(pickle.dumps(value, protocol)).value
    assert isinstance(found, list)
    assert (found[0], found[4], found[5]) == (b"abc", "x" * 300, b"y" * 300)
    assert isinstance(found[2], Record)
    assert found[2].items == [1]
    assert isinstance(found[3], Record)
    assert found[3].items == [2]


def test_outside_references_are_collected() -> None:
    found = parse_pickle(b"\x80\x02(X\x01\x00\x00\x00aK\x07tQPb\ne.".replace(b"e.", b"\x86."))
    assert [each.identity for each in found.references] == [("a", 7), "b"]
    assert all(isinstance(each, Persistent) for each in found.references)


def test_python_2_strings_are_text() -> None:
    assert parse_pickle(b"U\x02ab.").value == "ab"
    assert parse_pickle(b"T\x02\x00\x00\x00a\xff.").value == "a\\xff"
    assert parse_pickle(b"S'ab'\n.").value == "ab"


def test_half_a_surrogate_pair_does_not_reach_a_name() -> None:
    found = parse_pickle(pickle.dumps("a\ud800", 4)).value
    assert isinstance(found, str)
    found.encode("utf-8")


def programs(marker: Path) -> dict[str, bytes]:
    """Pickles that create a file when Python reads them."""
    touch = f"open({str(marker)!r}, 'w')"
    name = str(marker).encode()
    return {
        "os.system": pickle.dumps(Rebuilt(os.system, (f"touch {marker}",))),
        "posix protocol 0": b"cos\nsystem\n(S'touch " + name + b"'\ntR.",
        "exec": pickle.dumps(Rebuilt(exec, (touch,))),
        "eval": pickle.dumps(Rebuilt(eval, (touch,)), 2),
        "inst": b"(S'" + name + b"'\nS'w'\niio\nopen\n.",
        "obj": b"(cio\nopen\nS'" + name + b"'\nS'w'\no.",
        "newobj": b"\x80\x02cpathlib\nPath\nS'" + name + b"'\n\x85\x81.",
        "newobj_ex": b"\x80\x04cio\nFileIO\n(S'" + name + b"'\nS'w'\nt}\x92.",
        "setstate": pickle.dumps(WithState(str(marker))),
        "dotted name": b"\x80\x04\x8c\x08builtins\x8c\x12open.__call__.fake\x93S'"
        + name
        + b"'\n\x85R.",
        "append to an instance": b"cio\nopen\n(S'" + name + b"'\nS'w'\nlR(I1\nI2\ne.",
        "extension": b"\x80\x02\x82\x01(S'" + name + b"'\nS'w'\ntR.",
        "build slots of a function": b"cos\npath\nN}S'__code__'\nS'x'\ns\x86b.",
        "reference": b"\x80\x02cos\nsystem\nQ.",
    }


@pytest.mark.parametrize("attack", programs(Path("x")))
def test_no_program_runs(tmp_path: Path, attack: str) -> None:
    marker = tmp_path / "marker"
    parse_pickle(programs(marker)[attack])
    assert not marker.exists()


def test_the_same_programs_do_run_under_pickle(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(programs(marker)["os.system"])
    assert marker.exists()
    marker.unlink()
    pickle.loads(programs(marker)["setstate"])
    assert marker.exists()


@pytest.mark.parametrize("module", [machine, opcodes, records, unpickler])
def test_its_modules_have_no_way_to_look_a_name_up(module: ModuleType) -> None:
    source = Path(str(module.__file__)).read_text()
    code = source.split('"""', 2)[2]
    for word in (
        "__import__",
        "importlib",
        "getattr(",
        "setattr(",
        "eval(",
        "exec(",
        "import pickle",
    ):
        assert word not in code


@pytest.mark.parametrize(
    "data",
    [
        b"\x96" + (2**62).to_bytes(8, "little") + b".",
        b"\x8e" + (2**62).to_bytes(8, "little") + b".",
        b"\x8d" + (2**62).to_bytes(8, "little") + b".",
        b"\x8b\xff\xff\xff\x7f.",
        b"B\xff\xff\xff\x7f.",
        b"X\xff\xff\xff\xff.",
        b"I1",
        b"",
        b"]",
    ],
)
def test_a_length_beyond_the_end_takes_no_memory(data: bytes) -> None:
    with at_most(1), pytest.raises(UnfinishedPickleError, match="its pickle ends early"):
        parse_pickle(data)


@pytest.mark.parametrize(
    "data",
    [
        b".",
        b"0.",
        b"t.",
        b"h\x05.",
        b"p-1\n.",
        b"Np9999999999\n.",
        b"I" + b"9" * 5000 + b"\n.",
        b"Fx\n.",
        b"S'a\n.",
        b"S\n.",
        b"K\x01K\x02\x93.",
        b"(K\x01d.",
        b"K\x01K\x02a.",
        b"K\x01K\x02K\x03s.",
        b"(o.",
        b"R.",
        b"Q.",
        b"1.",
    ],
)
def test_a_program_that_makes_no_sense_is_damaged(data: bytes) -> None:
    with pytest.raises(DamagedPickleError, match="its pickle is damaged near byte"):
        parse_pickle(data)


def test_an_unknown_opcode_is_named() -> None:
    with pytest.raises(DamagedPickleError, match="an unknown opcode, 0xff at byte 1"):
        parse_pickle(b"N\xff.")


def test_a_huge_memo_index_is_one_entry() -> None:
    with at_most(1):
        assert parse_pickle(b"Nr\xff\xff\xff\xff.").value is None


def test_containers_in_themselves_and_doubling_are_cheap() -> None:
    with at_most(4):
        found = parse_pickle(b"]q\x00h\x00a.").value
        assert isinstance(found, list)
        assert found[0] is found
        parse_pickle(b"]" + b"".join(b"q%c]h%ch%c\x86a" % (i, i, i) for i in range(100)) + b".")


def test_keys_that_collide_cost_nothing() -> None:
    colliding = b"".join(
        b"\x8a\x10" + (k * (2**61 - 1)).to_bytes(16, "little") + b"N" for k in range(200_000)
    )
    started = time.process_time()
    parse_pickle(b"}(" + colliding + b"u.")
    assert time.process_time() - started < 10


def test_deep_nesting_is_read_without_recursion() -> None:
    parse_pickle(b"]" * 300_000 + b"a" * 299_999 + b".")
    parse_pickle(b")" + b"\x85" * 300_000 + b".")


def test_too_many_opcodes_are_refused() -> None:
    with pytest.raises(DamagedPickleError, match="the limit"):
        parse_pickle(b"N0" * (unpickler.MAX_OPCODES // 2 + 1) + b".")


def test_too_many_bytes_are_refused() -> None:
    blob = b"B" + (2**24).to_bytes(4, "little") + bytes(2**24)
    with pytest.raises(DamagedPickleError, match="is larger than 67108864 bytes"):
        parse_pickle(blob * 5 + b".")


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_damaged(data: bytes) -> None:
    with contextlib.suppress(DamagedPickleError):
        parse_pickle(data)


@given(
    st.lists(
        st.sampled_from(
            [bytes([code]) for code in range(256)] + [b"I1\n", b"K\x01", b"X\x01\x00\x00\x00a"]
        ),
        max_size=40,
    )
)
def test_any_program_is_read_or_damaged(opcodes: list[bytes]) -> None:
    with contextlib.suppress(DamagedPickleError):
        parse_pickle(b"((((" + b"".join(opcodes) + b".")


def test_floats_keep_their_bits() -> None:
    found = parse_pickle(pickle.dumps([math.inf, -0.0, 5e-324, 1e308], 4)).value
    assert repr(found) == "[inf, -0.0, 5e-324, 1e+308]"
