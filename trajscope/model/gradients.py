"""Gradients of single samples, many at a time, at any weights, in eval mode."""

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trajscope.model.layers import Site, tapped
from trajscope.model.losses import State, backward_through, batch_loss, each_sample
from trajscope.model.mapping import ParameterMapping
from trajscope.model.problem import Problem
from trajscope.model.samples import mapped

if TYPE_CHECKING:
    from torch import Tensor


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
    problem, mapping :
        The module and its parameters.
    sites :
        Layers that are taken by their factors, or unfolded.
    vectorised :
        Whether the module can be mapped over samples; else they go one by one.
    of_batches :
        Whether each "sample" is a batch of samples, whose mean loss counts.
    unmapped :
        Where they go one by one although they are single samples: the layer that torch cannot map
        over samples, and its reason.
    """

    problem: Problem
    mapping: ParameterMapping
    sites: tuple[Site, ...] = ()
    vectorised: bool = True
    of_batches: bool = False
    unmapped: tuple[str, ...] = ()

    def loss(self, state: State, batch: Any) -> "Tensor":
        """The mean loss of samples, or of a batch that is the only one in `batch`."""
        one = mapped(batch, lambda tensor: tensor[0]) if self.of_batches else batch
        return batch_loss(self.problem, state, one)

    def weighted_sums(
        self, state: State, batch: Any, coefficients: "Tensor"
    ) -> "tuple[Tensor, Tensor]":
        """Sums ``sum_k c_k g_k`` of the samples' gradients, and the losses.

        Where the module can be mapped they are weighted losses passed backward: no gradient of a
        single sample is made.

        Parameters
        ----------
        coefficients : (sum, sample)

        Returns
        -------
        (sum, weight), (sample,)
            The sums over all parameters in their order, and the losses.
        """
        import torch

        names = [parameter.name for parameter in self.mapping.parameters]
        if not self.vectorised:
            return self._summed_one_by_one(state, batch, coefficients, names)
        leaves = {name: state[name].detach().requires_grad_() for name in names}
        both = {**state, **leaves}
        losses: Tensor = self._mapped(lambda sample: self._loss(both, sample), batch)
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
            As `mapping.loaded_state` makes it.
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

        rows: dict[str, list[Tensor]] = {name: [] for name in wanted}
        losses = []
        for sample in each_sample(batch):
            # Leaves of their own: the backward pass adds to what is there.
            leaves = {name: state[name].detach().requires_grad_() for name in wanted}
            losses.append(
                backward_through(self.problem, {**state, **leaves}, self._as_batch(sample))
            )
            for name, leaf in leaves.items():
                rows[name].append(dense_gradient(leaf).flatten())
        return {name: torch.stack(each) for name, each in rows.items()}, torch.stack(losses)

    def _summed_one_by_one(
        self, state: State, batch: Any, coefficients: "Tensor", names: Sequence[str]
    ) -> "tuple[Tensor, Tensor]":
        import torch

        sums = coefficients.new_zeros((len(coefficients), self.mapping.n_weights))
        losses = []
        for sample, weights in zip(each_sample(batch), coefficients.T, strict=True):
            one = mapped(sample, lambda tensor: tensor[None])
            rows, loss = self.one_by_one(state, one, names)
            sums += weights[:, None] * torch.cat([rows[name] for name in names], dim=1)
            losses.append(loss)
        return sums, torch.cat(losses)

    def _loss(self, state: State, sample: Any) -> "Tensor":
        """The loss of one sample, as a scalar."""
        return batch_loss(self.problem, state, self._as_batch(sample))

    def _as_batch(self, sample: Any) -> Any:
        return sample if self.of_batches else mapped(sample, lambda tensor: tensor[None])

    def _mapped(self, function: Callable[[Any], Any], batch: Any) -> Any:
        """`function` of all samples at once, the results stacked."""
        from torch.func import vmap

        with warnings.catch_warnings():
            # Operations that are mapped in a loop are right, and need no word to the user.
            warnings.filterwarnings("ignore", "There is a performance drop")
            return vmap(function)(batch)


def dense_gradient(parameter: "Tensor") -> "Tensor":
    """What a backward pass has left at a parameter; zeros where the loss does not depend on it."""
    import torch

    found = parameter.grad
    if found is None:
        return torch.zeros_like(parameter)
    return found.to_dense() if found.is_sparse else found


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
