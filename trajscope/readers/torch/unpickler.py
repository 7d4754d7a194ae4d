"""A pickle read as data: its opcodes build inert records, and nothing it names is ever looked up.

Threat model
------------
A pickle is a program for a stack machine, and whoever wrote the file wrote the program. Python's
own machine imports what the program names and calls it; that is how a checkpoint can delete a home
folder. The machine below is complete enough to read what ``torch.save`` and ``pickle.dump`` write
in every protocol, and holds to these rules:

- **Nothing is imported, called or set.** A name becomes a `Global`, two strings. A call, an
  instance, a restored state becomes a `Record` that remembers what was asked for. No `getattr`, no
  `setattr`, no hook of any class, no extension registry, no import; so there is no list of allowed
  or forbidden names that could have a hole.
- **Foreign values are never hashed or compared.** A dictionary is a list of pairs, a set a record
  with items. Keys chosen to collide, or containers that contain themselves, cost nothing here.
- **Memory follows the file.** Lengths are checked against the bytes that are there before anything
  is taken, the memo is a dictionary (an index of four billion is one entry), the pickle has at
  most `MAX_PICKLE` bytes and `MAX_OPCODES` opcodes.
- **Every failure is a `DamagedPickleError`.** Whoever walks the result must still expect cycles,
  sharing and any type in any place.

The opcodes are those of Python's ``pickletools`` documentation, protocols 0 to 5.
"""

import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from trajscope.errors import CheckpointError

MAX_PICKLE = 64 * 2**20
"""Bytes of one pickle; those of trainers hold names and numbers and stay far below."""

MAX_OPCODES = 4_000_000

_MAX_MEMO_INDEX = 2**32


class DamagedPickleError(CheckpointError):
    """The bytes are no pickle, or one beyond the limits above."""


class UnfinishedPickleError(DamagedPickleError):
    """The bytes end before the pickle does."""


@dataclass(frozen=True, slots=True)
class Global:
    """The name of a class or function, nothing more."""

    module: str
    name: str


@dataclass(eq=False, slots=True)
class Record:
    """What a pickle asked to be made, and was not.

    Attributes
    ----------
    origin :
        What would have been called: a `Global`, or whatever the pickle put in its place.
    arguments :
        What it would have been called with.
    state :
        What the instance would have been restored from.
    items, pairs :
        What would have been appended to it, and set in it by key.
    """

    origin: object
    arguments: object = ()
    state: object = None
    items: list[object] = field(default_factory=list)
    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Dictionary:
    """The pairs of a dictionary in the order they were set; a later key replaces an earlier one."""

    pairs: list[tuple[object, object]] = field(default_factory=list)


@dataclass(frozen=True, eq=False, slots=True)
class Persistent:
    """A reference to something kept outside the pickle."""

    identity: object


@dataclass(frozen=True)
class Pickled:
    """One pickle: the value, where it ended, and every outside reference in it."""

    value: object
    end: int
    references: tuple[Persistent, ...]


def parse_pickle(data: bytes, start: int = 0) -> Pickled:
    """The value pickled at `start`, as inert records.

    None, bool, int, float, str, bytes, list and tuple are themselves; the rest is `Dictionary`,
    `Record`, `Global` and `Persistent`.

    Raises
    ------
    UnfinishedPickleError
        `data` ends first.
    DamagedPickleError
        It is no pickle, or it is beyond the limits.
    """
    machine = _Machine(data, start)
    try:
        value = machine.run()
    except struct.error as error:
        raise UnfinishedPickleError("its pickle ends early") from error
    except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        # Pops from an empty stack, unknown memo entries, numerals that are none: all mean damage.
        raise DamagedPickleError(f"its pickle is damaged near byte {machine.position}") from error
    return Pickled(value, machine.position, tuple(machine.references))


class _Machine:
    """Stack, marks and memo of one pickle that is being read."""

    __slots__ = ("data", "marks", "memo", "position", "references", "stack", "start")

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.start = self.position = start
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.references: list[Persistent] = []

    def run(self) -> object:
        data, memo = self.data, self.memo
        end = min(len(data), self.start + MAX_PICKLE)
        for _ in range(MAX_OPCODES):
            if self.position >= end:
                break
            code = data[self.position]
            self.position += 1
            if code == _BINPUT:  # every third opcode of a state dict; a call would double its cost
                memo[self.take(1)[0]] = self.stack[-1]
            elif code == _STOP:
                return self.stack.pop()
            else:
                _ACTIONS[code](self)
        if self.position < len(data):
            raise DamagedPickleError(
                f"its pickle is larger than {MAX_PICKLE} bytes or {MAX_OPCODES} opcodes, "
                "the most that is read"
            )
        raise UnfinishedPickleError("its pickle ends early")

    def take(self, count: int) -> bytes:
        """The next `count` bytes, which must be there."""
        first = self.position
        if count > len(self.data) - first:
            raise UnfinishedPickleError("its pickle ends early")
        self.position = first + count
        return self.data[first : self.position]

    def unsigned(self, width: int) -> int:
        return int.from_bytes(self.take(width), "little")

    def line(self) -> bytes:
        """The bytes up to the next newline, which is passed over."""
        first = self.position
        stop = self.data.find(b"\n", first)
        if stop < 0:
            raise UnfinishedPickleError("its pickle ends early")
        self.position = stop + 1
        return self.data[first:stop]

    def to_mark(self) -> list[object]:
        """Everything above the last mark, taken off the stack."""
        above = self.stack
        self.stack = self.marks.pop()
        return above

    def push(self, value: object) -> None:
        self.stack.append(value)


_Action = Callable[[_Machine], object]
_STOP, _BINPUT = ord("."), ord("q")


def _text(raw: bytes) -> str:
    # Half a surrogate pair, or a Python 2 string of bytes, must not break whoever prints a name.
    return raw.decode("utf-8", "backslashreplace")


def _unescaped(line: bytes) -> str:
    """Text of protocol 0, which is Latin-1 with escapes."""
    return _text(line.decode("raw_unicode_escape").encode("utf-8", "surrogatepass"))


def _number(line: bytes) -> object:
    if line in {b"00", b"01"}:  # how protocol 0 and 1 write a bool
        return line == b"01"
    return int(line)


def _quoted(line: bytes) -> str:
    if len(line) < 2 or line[0] != line[-1] or line[0] not in b"'\"":
        raise ValueError
    return _text(line[1:-1])


def _mark(machine: _Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _build(machine: _Machine) -> None:
    state = machine.stack.pop()
    if isinstance(target := machine.stack[-1], Record):
        target.state = state


def _append(machine: _Machine) -> None:
    _extend(machine, [machine.stack.pop()])


def _extend(machine: _Machine, values: list[object]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, Record):
        target.items.extend(values)
    else:
        raise TypeError


def _set_item(machine: _Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _update(machine, [key, value])


def _update(machine: _Machine, flat: list[object]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, (Dictionary, Record)):
        raise TypeError
    target.pairs.extend(_paired(flat))


def _paired(flat: list[object]) -> list[tuple[object, object]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _put(machine: _Machine, index: int) -> None:
    if not 0 <= index < _MAX_MEMO_INDEX:
        raise ValueError
    machine.memo[index] = machine.stack[-1]


def _call(machine: _Machine) -> None:
    arguments, origin = machine.stack.pop(), machine.stack.pop()
    machine.push(Record(origin, arguments))


def _call_with_keywords(machine: _Machine) -> None:
    machine.stack.pop()
    _call(machine)


def _named_call(machine: _Machine) -> None:
    origin = Global(_text(machine.line()), _text(machine.line()))
    machine.push(Record(origin, tuple(machine.to_mark())))


def _marked_call(machine: _Machine) -> None:
    origin, *arguments = machine.to_mark()
    machine.push(Record(origin, tuple(arguments)))


def _stacked_global(machine: _Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise TypeError
    machine.push(Global(module, name))


def _refer(machine: _Machine, identity: object) -> None:
    reference = Persistent(identity)
    machine.references.append(reference)
    machine.push(reference)


def _last(machine: _Machine, count: int) -> tuple[object, ...]:
    values = [machine.stack.pop() for _ in range(count)]
    return tuple(reversed(values))


def _refuse(machine: _Machine) -> None:
    at = machine.position - 1
    raise DamagedPickleError(
        f"its pickle has an unknown opcode, {machine.data[at]:#x} at byte {at}"
    )


def _drop(machine: _Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.to_mark()


def _long(machine: _Machine, width: int) -> None:
    count = machine.unsigned(width)
    machine.push(int.from_bytes(machine.take(count), "little", signed=True))


def _extension(machine: _Machine, width: int) -> None:
    machine.push(Global("copyreg", f"extension {machine.unsigned(width)}"))


_SET, _FROZENSET = Global("builtins", "set"), Global("builtins", "frozenset")
_FLOAT, _INT = struct.Struct(">d"), struct.Struct("<i")

_BY_OPCODE: dict[bytes, _Action] = {
    # Stack, memo, protocol.
    b"(": _mark,
    b"0": _drop,
    b"1": lambda m: m.to_mark().clear(),
    b"2": lambda m: m.push(m.stack[-1]),
    b"p": lambda m: _put(m, int(m.line())),
    b"r": lambda m: _put(m, m.unsigned(4)),
    b"\x94": lambda m: _put(m, len(m.memo)),
    b"g": lambda m: m.push(m.memo[int(m.line())]),
    b"h": lambda m: m.push(m.memo[m.unsigned(1)]),
    b"j": lambda m: m.push(m.memo[m.unsigned(4)]),
    b"\x80": lambda m: m.take(1),
    b"\x95": lambda m: m.take(8),  # a frame's length; the opcodes inside say all that is needed
    # Scalars.
    b"N": lambda m: m.push(None),
    b"\x88": lambda m: m.push(True),
    b"\x89": lambda m: m.push(False),
    b"I": lambda m: m.push(_number(m.line())),
    b"L": lambda m: m.push(int(m.line().rstrip(b"L"))),
    b"F": lambda m: m.push(float(m.line())),
    b"K": lambda m: m.push(m.unsigned(1)),
    b"M": lambda m: m.push(m.unsigned(2)),
    b"J": lambda m: m.push(*_INT.unpack(m.take(4))),
    b"G": lambda m: m.push(*_FLOAT.unpack(m.take(8))),
    b"\x8a": lambda m: _long(m, 1),
    b"\x8b": lambda m: _long(m, 4),
    b"S": lambda m: m.push(_quoted(m.line())),
    b"V": lambda m: m.push(_unescaped(m.line())),
    b"T": lambda m: m.push(_text(m.take(m.unsigned(4)))),
    b"U": lambda m: m.push(_text(m.take(m.unsigned(1)))),
    b"X": lambda m: m.push(_text(m.take(m.unsigned(4)))),
    b"\x8c": lambda m: m.push(_text(m.take(m.unsigned(1)))),
    b"\x8d": lambda m: m.push(_text(m.take(m.unsigned(8)))),
    b"B": lambda m: m.push(m.take(m.unsigned(4))),
    b"C": lambda m: m.push(m.take(m.unsigned(1))),
    b"\x8e": lambda m: m.push(m.take(m.unsigned(8))),
    b"\x96": lambda m: m.push(m.take(m.unsigned(8))),
    # Containers.
    b"]": lambda m: m.push([]),
    b"l": lambda m: m.push(m.to_mark()),
    b"a": _append,
    b"e": lambda m: _extend(m, m.to_mark()),
    b")": lambda m: m.push(()),
    b"t": lambda m: m.push(tuple(m.to_mark())),
    b"\x85": lambda m: m.push(_last(m, 1)),
    b"\x86": lambda m: m.push(_last(m, 2)),
    b"\x87": lambda m: m.push(_last(m, 3)),
    b"}": lambda m: m.push(Dictionary()),
    b"d": lambda m: m.push(Dictionary(_paired(m.to_mark()))),
    b"s": _set_item,
    b"u": lambda m: _update(m, m.to_mark()),
    b"\x8f": lambda m: m.push(Record(_SET)),
    b"\x90": lambda m: _extend(m, m.to_mark()),
    b"\x91": lambda m: m.push(Record(_FROZENSET, items=m.to_mark())),
    # What Python would look up, call or restore.
    b"c": lambda m: m.push(Global(_text(m.line()), _text(m.line()))),
    b"\x93": _stacked_global,
    b"\x82": lambda m: _extension(m, 1),
    b"\x83": lambda m: _extension(m, 2),
    b"\x84": lambda m: _extension(m, 4),
    b"R": _call,
    b"\x81": _call,
    b"\x92": _call_with_keywords,
    b"i": _named_call,
    b"o": _marked_call,
    b"b": _build,
    b"P": lambda m: _refer(m, _text(m.line())),
    b"Q": lambda m: _refer(m, m.stack.pop()),
}
_ACTIONS = [_BY_OPCODE.get(bytes([code]), _refuse) for code in range(256)]
