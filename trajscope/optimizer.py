"""How a run was trained: one record of the optimizer's settings, whoever says what they are."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from trajscope.errors import OptionError, printable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SGD: Final = "sgd"
ADAPTIVE: Final = frozenset(
    {"adam", "rmsprop", "adagrad", "adadelta", "rprop", "muon", "lbfgs", "asgd", "sam", "lars"}
)
"""Kinds whose step is not a learning rate times a sum of gradients."""

SAMPLINGS: Final[Mapping[str, bool | None]] = {
    "replacement": True,
    "shuffle": False,
    "unknown": None,
}
"""How batches are sampled, by name: whether with replacement."""

RATE_EXPECTED: Final = "a positive number, from 1e-100 to 1e100,"

_FORGOTTEN: Final = 1e-6
"""Weight of a batch, relative to a new one, below which momentum has forgotten it."""


@dataclass(frozen=True)
class Optimizer:
    """Settings of an optimizer, as torch.optim.SGD defines them; `None` for what is not known.

    ``v <- mu v + (1 - d) g``, then ``x <- x - eta v``, or with Nesterov
    ``x <- x - eta (g + mu v)``, where g is the mean gradient of b samples.

    Attributes
    ----------
    learning_rate :
        eta.
    batch_size :
        b.
    momentum :
        mu, from 0 to below 1.
    nesterov :
        Whether the step looks ahead.
    with_replacement :
        Whether each of the b samples is drawn from all N; else every epoch shuffles the N samples
        and deals them out in N/b batches.
    dampening :
        d.
    weight_decay :
        lambda: every gradient has ``lambda x`` added to it.
    kind :
        "sgd", one of `ADAPTIVE`, or "" where nothing tells.

    Raises
    ------
    OptionError
        A value outside its range.

    Examples
    --------
    >>> from trajscope.optimizer import Optimizer
    >>> Optimizer(learning_rate=0.1, batch_size=32, momentum=0.9).momentum
    0.9
    """

    learning_rate: float | None = None
    batch_size: int | None = None
    momentum: float | None = None
    nesterov: bool = False
    with_replacement: bool | None = None
    dampening: float = 0.0
    kind: str = ""
    weight_decay: float | None = None

    def __post_init__(self) -> None:
        rate, batch, momentum = self.learning_rate, self.batch_size, self.momentum
        decay = self.weight_decay
        for name, value, holds, expected in (
            ("learning_rate", rate, rate is None or is_rate(rate), RATE_EXPECTED),
            ("batch_size", batch, batch is None or batch >= 1, "at least 1 sample"),
            ("momentum", momentum, momentum is None or 0 <= momentum < 1, "from 0 to below 1"),
            ("weight_decay", decay, decay is None or 0 <= decay < 1e100, "a number of at least 0"),
        ):
            if not holds:
                raise OptionError(f"{name}={printable(value)}: {expected} expected.")

    @property
    def eta(self) -> float:
        """The learning rate.

        Raises
        ------
        OptionError
            It is not known.
        """
        return self._known("learning_rate", self.learning_rate)

    @property
    def b(self) -> int:
        """The batch size.

        Raises
        ------
        OptionError
            It is not known.
        """
        return int(self._known("batch_size", self.batch_size))

    @property
    def mu(self) -> float:
        """The momentum, 0 where none is given."""
        return self.momentum or 0.0

    @property
    def is_shuffled(self) -> bool:
        """Whether it is known that epochs deal all samples out."""
        return self.with_replacement is False

    @property
    def is_adaptive(self) -> bool:
        """Whether steps are scaled by something else than a learning rate."""
        return self.kind in ADAPTIVE

    @property
    def memory(self) -> float:
        """``mu / (1 - mu)``: over so many updates a batch is remembered."""
        return self.mu / (1 - self.mu)

    @property
    def temperature(self) -> float | None:
        """``1/beta = eta (1 - d) / (2 b (1 - mu))``, of batches drawn with replacement.

        `None` where the learning rate or the batch size is not known.
        """
        if self.learning_rate is None or self.batch_size is None:
            return None
        same = self.undampened()
        return same.eta / (2 * same.b * (1 - same.mu))

    @property
    def weights(self) -> tuple[float, float]:
        """A and c of ``x <- x - eta (a g + c v)``, v from before the update, without dampening."""
        return (1 + self.mu, self.mu**2) if self.nesterov else (1.0, self.mu)

    def undampened(self) -> "Optimizer":
        """The same training without dampening: velocities ``v / (1 - d)``, ``eta (1 - d)``."""
        rate = self.learning_rate
        if rate is not None and self.mu:  # without momentum torch.optim.SGD has no dampening
            rate *= 1 - self.dampening
        return replace(self, learning_rate=rate, dampening=0.0)

    def response(self) -> "NDArray[np.float64]":
        """What one batch adds to the updates from it on, in units of eta times its gradient.

        ``(1 - d) mu^j``; with Nesterov ``1 + mu, mu^2, mu^3, ...``.

        Returns
        -------
        (update,)
            Until it is next to nothing.
        """
        import numpy as np

        length = 1 if self.mu == 0 else int(np.ceil(np.log(_FORGOTTEN) / np.log(self.mu))) + 1
        powers: NDArray[np.float64] = self.mu ** np.arange(length, dtype=np.float64)
        if not self.nesterov:
            return (1 - self.dampening) * powers
        ahead = self.mu * powers
        ahead[0] += 1
        return ahead

    def batches_per_epoch(self, n_samples: int) -> int:
        """Updates after which sampling starts afresh: N/b where epochs are shuffled, else 1.

        Raises
        ------
        OptionError
            The batches of a shuffled epoch do not divide the samples.
        """
        if not self.is_shuffled:
            return 1
        if n_samples % self.b:
            raise OptionError(
                f"batch_size={self.b}: sampling without replacement needs a divisor of the sample "
                f"size, {n_samples}."
            )
        return n_samples // self.b

    def _known(self, name: str, value: float | None) -> float:
        if value is None:
            raise OptionError(f"{name}=None: a number expected, since the answer depends on it.")
        return value


def is_rate(value: float) -> bool:
    """Whether a learning rate is positive, and its square a number as well."""
    return 1e-100 <= value <= 1e100
