"""What each opcode of a pickle does to the machine that reads it: build records, and never act.

The rules that all of them keep are those of `unpickler`.
"""

import struct
from collections.abc import Callable

from trajscope.readers.torch.machine import Machine
from trajscope.readers.torch.records import (
    DamagedPickleError,
    Dictionary,
    Global,
    Persistent,
    Record,
)

Action = Callable[[Machine], object]

_MAX_MEMO_INDEX = 2**32


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


def _mark(machine: Machine) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _build(machine: Machine) -> None:
    state = machine.stack.pop()
    if isinstance(target := machine.stack[-1], Record):
        target.state = state


def _append(machine: Machine) -> None:
    _extend(machine, [machine.stack.pop()])


def _extend(machine: Machine, values: list[object]) -> None:
    target = machine.stack[-1]
    if isinstance(target, list):
        target.extend(values)
    elif isinstance(target, Record):
        target.items.extend(values)
    else:
        raise TypeError


def _set_item(machine: Machine) -> None:
    value, key = machine.stack.pop(), machine.stack.pop()
    _update(machine, [key, value])


def _update(machine: Machine, flat: list[object]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, (Dictionary, Record)):
        raise TypeError
    target.pairs.extend(_paired(flat))


def _paired(flat: list[object]) -> list[tuple[object, object]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _put(machine: Machine, index: int) -> None:
    if not 0 <= index < _MAX_MEMO_INDEX:
        raise ValueError
    machine.memo[index] = machine.stack[-1]


def _call(machine: Machine) -> None:
    arguments, origin = machine.stack.pop(), machine.stack.pop()
    machine.push(Record(origin, arguments))


def _call_with_keywords(machine: Machine) -> None:
    machine.stack.pop()
    _call(machine)


def _named_call(machine: Machine) -> None:
    origin = Global(_text(machine.line()), _text(machine.line()))
    machine.push(Record(origin, tuple(machine.to_mark())))


def _marked_call(machine: Machine) -> None:
    origin, *arguments = machine.to_mark()
    machine.push(Record(origin, tuple(arguments)))


def _stacked_global(machine: Machine) -> None:
    name, module = machine.stack.pop(), machine.stack.pop()
    if not (isinstance(name, str) and isinstance(module, str)):
        raise TypeError
    machine.push(Global(module, name))


def _refer(machine: Machine, identity: object) -> None:
    reference = Persistent(identity)
    machine.references.append(reference)
    machine.push(reference)


def _last(machine: Machine, count: int) -> tuple[object, ...]:
    values = [machine.stack.pop() for _ in range(count)]
    return tuple(reversed(values))


def _refuse(machine: Machine) -> None:
    at = machine.position - 1
    raise DamagedPickleError(
        f"its pickle has an unknown opcode, {machine.data[at]:#x} at byte {at}"
    )


def _drop(machine: Machine) -> None:
    if machine.stack:
        machine.stack.pop()
    else:
        machine.to_mark()


def _long(machine: Machine, width: int) -> None:
    count = machine.unsigned(width)
    machine.push(int.from_bytes(machine.take(count), "little", signed=True))


def _extension(machine: Machine, width: int) -> None:
    machine.push(Global("copyreg", f"extension {machine.unsigned(width)}"))


_SET, _FROZENSET = Global("builtins", "set"), Global("builtins", "frozenset")
_FLOAT, _INT = struct.Struct(">d"), struct.Struct("<i")

_BY_OPCODE: dict[bytes, Action] = {
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
ACTIONS = [_BY_OPCODE.get(bytes([code]), _refuse) for code in range(256)]
"""By opcode; one that is unknown refuses the pickle."""
