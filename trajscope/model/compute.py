"""How something of a network is computed: in which mode, where, how exactly, from how much."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from trajscope.errors import OptionError, printable
from trajscope.measure.resources import parse_bytes
from trajscope.model.device import chosen_device, room_on

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Rule:
    """What a value of an option, where it is given, has to be."""

    name: str
    expected: str
    holds: Callable[[Any], bool]


@dataclass(frozen=True, kw_only=True)
class Compute:
    """The options of everything that is computed with a problem, checked before any work.

    Attributes
    ----------
    mode :
        Of the network; `None` is that of training, "train".

    Raises
    ------
    OptionError
        One of them cannot be had.
    """

    mode: str | None = None
    device: str = "auto"
    dtype: str = "float32"
    memory: int | str | None = None
    samples: int | None = None
    seed: int = 0

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule("mode", "eval or train", lambda value: value in ("eval", "train")),
        Rule("dtype", "float32 or float64", lambda value: value in ("float32", "float64")),
        Rule("samples", "at least 1", lambda value: value >= 1),
        Rule("seed", "a number of at least 0", lambda value: value >= 0),
    )

    def __post_init__(self) -> None:
        for rule in self.rules:
            value = getattr(self, rule.name)
            if value is not None and not rule.holds(value):
                option = f"--{rule.name.replace('_', '-')} {printable(value)}"
                raise OptionError(f"{option}: {rule.expected} was expected.")
        if isinstance(self.memory, str):
            parse_bytes(self.memory)

    @property
    def torch_dtype(self) -> "torch.dtype":
        """The dtype the network is evaluated in."""
        import torch

        return torch.float64 if self.dtype == "float64" else torch.float32

    def torch_device(self) -> "torch.device":
        """The device asked for, as `model.device.chosen_device`."""
        return chosen_device(self.device)

    def room(self) -> int:
        """Bytes that may still be taken on it, as `model.device.room_on`."""
        return room_on(self.torch_device(), self.memory)
