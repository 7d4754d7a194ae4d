"""Gradients of single samples, many at a time, at any weights, in eval mode."""

import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trajscope.errors import OptionError
from trajscope.model.layers import Site, site_of, tapped, watched
from trajscope.model.mapping import Fit
from trajscope.model.problem import Problem
from trajscope.model.samples import mapped

if TYPE_CHECKING:
    from torch import Tensor, nn

State = Mapping[str, "Tensor"]


@dataclass(frozen=True)
class Piece:
    """What a block of samples says about some parameters.

    Attributes
    ----------
    rows :
        By parameter, the gradients of the samples: (sample, weight).
    factors :
        By parameter, instead: (sample, position, n_in) and (sample, position, n_out), whose
        products over positions are the gradients.
    losses : (sample,)
    """

    rows: "dict[str, Tensor]"
    factors: "dict[str, tuple[Tensor, Tensor]]"
    losses: "Tensor"


@dataclass(frozen=True)
class Gradients:
    """The gradients of a problem's samples.

    Attributes
    ----------
    problem, fit :
        The module and its parameters.
    sites :
        Layers that are taken by their factors, or unfolded.
    vectorised :
        Whether the module can be mapped over samples; else they go one by one.
    of_batches :
        Whether each "sample" is a batch of samples, whose mean loss counts.
    """

    problem: Problem
    fit: Fit
    sites: tuple[Site, ...] = ()
    vectorised: bool = True
    of_batches: bool = False

    def losses(self, state: State, batch: Any) -> "Tensor":
        """The loss of each sample, differentiable by the parameters in `state`: (sample,)."""
        import torch

        if self.vectorised:
            losses: Tensor = self._mapped(lambda sample: self._loss(state, sample), batch)
            return losses
        return torch.stack([self._loss(state, sample) for sample in _samples(batch)])

    def weighted_sums(
        self, state: State, batch: Any, coefficients: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        """Sums ``sum_k c_k g_k`` of the samples' gradients, which are never made one by one.

        Parameters
        ----------
        coefficients : (sum, sample)

        Returns
        -------
        (sum, weight), (sample,)
            The sums over all parameters in their order, and the losses.
        """
        import torch

        names = [parameter.name for parameter in self.fit.parameters]
        leaves = {name: state[name].detach().requires_grad_() for name in names}
        losses = self.losses({**state, **leaves}, batch)
        sums = []
        for row in coefficients:
            found = torch.autograd.grad(
                losses, list(leaves.values()), row, retain_graph=True, materialize_grads=True
            )
            sums.append(torch.cat([each.flatten() for each in found]))
        return torch.stack(sums), losses.detach()

    def piece(
        self, state: State, batch: Any, wanted: Sequence[str], factored: Collection[str]
    ) -> Piece:
        """Gradients of each sample's loss by the parameters in `wanted`.

        Parameters
        ----------
        state :
            As `fit.filled` makes it.
        batch :
            Samples along the first axis.
        factored :
            Weights that come as factors, of layers that allow it.
        """
        from torch import zeros
        from torch.func import grad

        if not self.vectorised:
            rows, losses = self.one_by_one(state, batch, wanted)
            return Piece(rows, {}, losses)
        like = next(iter(state.values()))
        sites = [site for site in self.sites if {site.weight, site.bias} & set(wanted)]
        owned = {name for site in sites for name in (site.weight, site.bias)}
        general = {name: state[name] for name in wanted if name not in owned}
        taps = {
            site.module: zeros(site.output_shape, dtype=like.dtype, device=like.device)
            for site in sites
        }

        def value(general: State, taps: State, sample: Any) -> Any:
            with tapped(self.problem.model, taps) as entered:
                loss = self._loss({**state, **general}, sample)
            return loss, (loss, {name: inputs[0] for name, inputs in entered.items()})

        derivatives = grad(value, argnums=(0, 1), has_aux=True)
        (rows, returned), (losses, entered) = self._mapped(
            lambda sample: derivatives(general, taps, sample), batch
        )
        found = Piece({name: row.flatten(1) for name, row in rows.items()}, {}, losses)
        for site in sites:
            factors = site.factors(entered[site.module].detach(), returned[site.module])
            _add(found, site, factors, wanted, factored)
        return found

    def one_by_one(
        self, state: State, batch: Any, wanted: Sequence[str]
    ) -> "tuple[dict[str, Tensor], Tensor]":
        """The same gradients, (sample, weight), and losses, by one plain backward pass a sample."""
        import torch

        leaves = {name: state[name].detach().requires_grad_() for name in wanted}
        rows: dict[str, list[Tensor]] = {name: [] for name in wanted}
        losses = []
        for sample in _samples(batch):
            loss = self._loss({**state, **leaves}, sample)
            found = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
            for name, gradient in zip(wanted, found, strict=True):
                rows[name].append(gradient.flatten())
            losses.append(loss.detach())
        return {name: torch.stack(each) for name, each in rows.items()}, torch.stack(losses)

    def _loss(self, state: State, sample: Any) -> "Tensor":
        """The loss of one sample, as a scalar."""
        batch = sample if self.of_batches else mapped(sample, lambda tensor: tensor[None])
        return batch_loss(self.problem, state, batch)

    def _mapped(self, function: Callable[[Any], Any], batch: Any) -> Any:
        """`function` of all samples at once, the results stacked."""
        from torch.func import vmap

        with warnings.catch_warnings():
            # Operations that are mapped in a loop are right, and need no word to the user.
            warnings.filterwarnings("ignore", "There is a performance drop")
            return vmap(function)(batch)


def gradients_of(problem: Problem, fit: Fit, state: State, batch: Any) -> Gradients:
    """The way to the gradients of this problem, found by trying it on a few samples.

    Raises
    ------
    OptionError
        The loss is not one number per sample.
    """
    import torch

    calls: Counter[str] = Counter()
    shapes: dict[str, tuple[Any, Any]] = {}
    first = mapped(batch, lambda tensor: tensor[:1])
    with torch.no_grad(), watched(problem.model, calls, shapes):
        batch_loss(problem, state, first)
    found = [site_of(problem.model, name, fit, shapes[name]) for name in calls if calls[name] == 1]
    gradients = Gradients(problem, fit, tuple(site for site in found if site is not None))
    smallest = min(fit.parameters, key=lambda parameter: parameter.size).name
    try:
        gradients.piece(state, batch, [smallest], ())
    except RuntimeError:
        # Whatever torch cannot map over samples: recurrent layers, choices made by values.
        return Gradients(problem, fit, vectorised=False)
    return gradients


def batch_loss(problem: Problem, state: State, batch: Any) -> "Tensor":
    """The mean loss of a batch at the weights in `state`.

    Raises
    ------
    OptionError
        It is neither one number nor one per sample.
    """
    from torch.func import functional_call

    bound = {f"model.{name}": tensor for name, tensor in state.items()}
    loss: Any = functional_call(_lossy(problem), bound, (batch,))
    if getattr(loss, "ndim", 2) > 1 or (loss.ndim == 1 and len(loss) != length(batch)):
        raise OptionError(
            f"The problem's loss returned {type(loss).__name__} of shape "
            f"{tuple(getattr(loss, 'shape', ()))} for a batch of {length(batch)}; one number, or "
            "one per sample, was expected."
        )
    mean: Tensor = loss.mean()
    return mean


def length(batch: Any) -> int:
    """How many samples a batch holds."""
    found: list[int] = []

    def note(tensor: "Tensor") -> "Tensor":
        found.append(len(tensor))
        return tensor

    mapped(batch, note)
    return found[0]


@contextmanager
def in_mode(model: "nn.Module", mode: str) -> Iterator[None]:
    """The module in "eval" or "train" mode, and afterwards each part in its own again."""
    modes = [(module, module.training) for module in model.modules()]
    model.train(mode == "train")
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def _samples(batch: Any) -> Iterator[Any]:
    """The samples of a batch one by one."""
    for position in range(length(batch)):
        yield mapped(batch, lambda tensor: tensor[position])  # noqa: B023 - used at once


def _lossy(problem: Problem) -> "nn.Module":
    """Model and loss as one module, whose weights can be exchanged for a call."""
    from torch import nn

    class Loss(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = problem.model

        def forward(self, batch: Any) -> Any:
            return problem.loss(self.model, batch)

    return Loss()


def _add(
    found: Piece,
    site: Site,
    factors: "tuple[Tensor, Tensor]",
    wanted: Sequence[str],
    factored: Collection[str],
) -> None:
    """Put what belongs to a site into `found`."""
    entered, returned = factors
    if site.weight in factored:
        found.factors[site.weight] = factors
    elif site.weight in wanted:
        found.rows[site.weight] = (returned.mT @ entered).flatten(1)
    if site.bias and site.bias in wanted:
        found.rows[site.bias] = returned.sum(1)
