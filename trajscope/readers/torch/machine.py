"""The stack machine of pickles: what it holds, and how it reads the bytes that are there."""

from trajscope.readers.torch.records import Persistent, UnfinishedPickleError


class Machine:
    """Stack, marks and memo of one pickle that is being read."""

    __slots__ = ("data", "marks", "memo", "position", "references", "stack")

    def __init__(self, data: bytes, start: int) -> None:
        self.data = data
        self.position = start
        self.stack: list[object] = []
        self.marks: list[list[object]] = []
        self.memo: dict[int, object] = {}
        self.references: list[Persistent] = []

    def take(self, count: int) -> bytes:
        """The next `count` bytes, which must be there."""
        first = self.position
        if count > len(self.data) - first:
            raise UnfinishedPickleError("its pickle ends early")
        self.position = first + count
        return self.data[first : self.position]

    def unsigned(self, width: int) -> int:
        """The whole number in the next `width` bytes, least significant byte first."""
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
        """Put a value on the stack."""
        self.stack.append(value)
