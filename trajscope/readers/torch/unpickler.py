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
from dataclasses import dataclass

from trajscope.readers.torch.machine import Machine
from trajscope.readers.torch.opcodes import ACTIONS
from trajscope.readers.torch.records import DamagedPickleError, Persistent, UnfinishedPickleError

MAX_PICKLE = 64 * 2**20
"""Bytes of one pickle; those of trainers hold names and numbers and stay far below."""

MAX_OPCODES = 4_000_000

_STOP, _BINPUT = ord("."), ord("q")


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
    machine = Machine(data, start)
    try:
        value = _run(machine)
    except struct.error as error:
        raise UnfinishedPickleError("its pickle ends early") from error
    except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
        # Pops from an empty stack, unknown memo entries, numerals that are none: all mean damage.
        raise DamagedPickleError(f"its pickle is damaged near byte {machine.position}") from error
    return Pickled(value, machine.position, tuple(machine.references))


def _run(machine: Machine) -> object:
    data, memo = machine.data, machine.memo
    end = min(len(data), machine.position + MAX_PICKLE)
    for _ in range(MAX_OPCODES):
        if machine.position >= end:
            break
        code = data[machine.position]
        machine.position += 1
        if code == _BINPUT:  # every third opcode of a state dict; a call would double its cost
            memo[machine.take(1)[0]] = machine.stack[-1]
        elif code == _STOP:
            return machine.stack.pop()
        else:
            ACTIONS[code](machine)
    if machine.position < len(data):
        raise DamagedPickleError(
            f"its pickle is larger than {MAX_PICKLE} bytes or {MAX_OPCODES} opcodes, the limit"
        )
    raise UnfinishedPickleError("its pickle ends early")
