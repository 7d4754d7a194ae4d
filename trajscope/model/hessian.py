"""Products of the Hessian of the loss with vectors, averaged over batches and checkpoints."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from trajscope.errors import OptionError, TrajscopeError, printable
from trajscope.model.losses import State, batch_loss, with_gradient
from trajscope.model.mapping import ParameterMapping
from trajscope.model.problem import Problem
from trajscope.model.samples import mapped

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from trajscope.model.samples import Samples

_STEP: Final = 1e-5
"""Of the norm of the weights: over which gradients are subtracted."""
_SAME: Final = 0.05
"""Relative: kinks of activations within the step, and sums in float32, take less."""
_MAPPED: Final = 200_000
"""Numbers that the gradient of a batch keeps for the next derivative."""
_ROUNDING: Final = 1e-6
"""Of a gradient, for modules that compute in float32 whatever they are given."""


@dataclass(frozen=True)
class Place:
    """A checkpoint, and the batches whose losses count there.

    Attributes
    ----------
    state :
        As `mapping.loaded_state` makes it.
    rows : (batch, sample)
        Positions in the samples.
    """

    state: State
    rows: "NDArray[np.int64]"

    def moved(self, names: Sequence[str], vector: "Tensor") -> "Place":
        """The same at other weights: the tensors of these names moved along a vector."""
        parts = vector.split([self.state[name].numel() for name in names])  # type: ignore[no-untyped-call]
        own = {
            name: self.state[name] + part.view_as(self.state[name])
            for name, part in zip(names, parts, strict=True)
        }
        return replace(self, state={**self.state, **own})


@dataclass(frozen=True)
class Hessian:
    """The mean over places of the Hessian of the mean loss of a batch, and weight decay.

    ``H = mean over places and batches of d^2 loss / dx dx' + lambda``, in the mode that the module
    is in. Random numbers that the module draws are the same in every product.

    Attributes
    ----------
    problem, mapping, samples :
        What is differentiated, by which parameters in which order, and what batches are drawn from.
    weight_decay :
        lambda.
    seed :
        Of what the module draws; the batch counts on from it.
    """

    problem: Problem
    mapping: ParameterMapping
    samples: "Samples"
    places: tuple[Place, ...]
    weight_decay: float = 0.0
    seed: int = 0

    def product(self, vectors: "Tensor") -> "Tensor":
        """``H v`` of every vector, (vector, weight), all at once for each batch.

        Raises
        ------
        OptionError
            The loss cannot be differentiated twice.
        FloatingPointError
            A product is not finite.
        """
        total, count = 0 * vectors, sum(len(place.rows) for place in self.places)
        for found in self.products(vectors):
            total += found / count
        if not total.isfinite().all():
            raise FloatingPointError("the loss or its derivatives are not finite")
        return total + self.weight_decay * vectors

    def products(self, vectors: "Tensor") -> "Iterator[Tensor]":
        """Those of every batch alone, without weight decay.

        Raises
        ------
        OptionError
            As `product`.
        """
        for number, place in enumerate(self.places):
            for batch in self._own_batches(number, place):
                yield self._of_batch(place.state, batch, vectors)

    def gradients(self, at_once: int = 1) -> "Iterator[tuple[int, Tensor]]":
        """For some batches the number of their place, and their gradients, decay left out.

        Parameters
        ----------
        at_once :
            Batches that are mapped over, where the module can be; 1 where it keeps state between
            calls, or draws random numbers.

        Yields
        ------
        number, (batch, weight)
        """
        for number, place in enumerate(self.places):
            if at_once > 1:
                try:
                    rows = np.array_split(place.rows, -(-len(place.rows) // at_once))
                    found = [self._mapped_gradients(place.state, own) for own in rows]
                except Exception:  # whatever torch cannot map goes one by one, where it can fail
                    at_once = 1
                else:
                    yield from ((number, each) for each in found)
                    continue
            for batch in self._own_batches(number, place):
                yield number, self._gradient(place.state, batch)[0].detach()[None]

    def batch_sharpness(self) -> float:
        """Curvature of the batches along their own gradients, ``sum g_b' H_b g_b / sum |g_b|^2``.

        Weight decay is part of both (arXiv:2412.20553).
        """
        import torch

        names = [parameter.name for parameter in self.mapping.parameters]
        curved = total = 0.0
        for number, place in enumerate(self.places):
            decay = self.weight_decay * torch.cat([place.state[n].flatten() for n in names])
            for batch in self._own_batches(number, place):
                with torch.random.fork_rng():  # the same random numbers in both
                    gradient = self._gradient(place.state, batch)[0].detach() + decay
                product = self._of_batch(place.state, batch, gradient[None])[0]
                product = product + self.weight_decay * gradient
                curved += float(gradient @ product)
                total += float(gradient @ gradient)
        return curved / total if total > 0 else float("nan")

    @cached_property
    def maps(self) -> bool:
        """Whether vectors go back through a batch together: on a CPU only through small ones.

        There a mapped convolution of a large batch takes twice as long as one vector at a time.
        """
        import torch

        place, found = self.places[0], 0
        if next(iter(place.state.values())).device.type != "cpu":
            return True

        def note(tensor: "Tensor") -> "Tensor":
            nonlocal found
            found += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            self._gradient(place.state, next(self._own_batches(0, place)), create_graph=True)
        return found <= _MAPPED

    def _mapped_gradients(self, state: State, rows: "NDArray[np.int64]") -> "Tensor":
        """Gradients of the mean losses of batches, (batch, weight), by one mapped pass."""
        import torch
        from torch.func import grad, vmap

        flat = self.samples.picked(rows.ravel().tolist())
        batches = mapped(flat, lambda tensor: tensor.reshape(*rows.shape, *tensor.shape[1:]))
        own = {parameter.name: state[parameter.name] for parameter in self.mapping.parameters}

        def value(own: State, batch: Any) -> Any:
            return batch_loss(self.problem, {**state, **own}, batch)

        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "There is a performance drop")
            found = vmap(grad(value), in_dims=(None, 0))(own, batches)
        return torch.cat([part.flatten(1) for part in found.values()], dim=1).detach()

    def _own_batches(self, number: int, place: Place) -> Iterator[Any]:
        import torch

        for position, rows in enumerate(place.rows):
            batch = self.samples.picked(rows.tolist())
            torch.manual_seed(self.seed + 100_003 * number + position)
            yield batch

    def _of_batch(self, state: State, batch: Any, vectors: "Tensor") -> "Tensor":
        import torch

        with _blamed(), _differentiable_twice():
            gradient, leaves = self._gradient(state, batch, create_graph=True)
            if not gradient.requires_grad:  # a loss that is linear in the weights
                return torch.zeros_like(vectors)
            grad = partial(
                torch.autograd.grad, gradient, leaves, retain_graph=True, allow_unused=True
            )
            if len(vectors) > 1 and self.maps:
                with suppress(RuntimeError):  # what torch cannot map over vectors goes one by one
                    return _filled(vectors, leaves, grad(vectors, is_grads_batched=True))
            return torch.cat([_filled(v[None], leaves, grad(v)) for v in vectors])

    def check(self) -> None:
        """Hold the products to differences of gradients, for one batch, in float64.

        Raises
        ------
        OptionError
            They differ: a layer's backward pass cannot be differentiated, and does not say so.
        FloatingPointError
            As `product`.
        """
        import torch

        first, samples = self.places[0], self.samples.of_dtype(torch.float64)
        state = {n: t.double() if t.is_floating_point() else t for n, t in first.state.items()}
        one = replace(self, samples=samples, places=(Place(state, first.rows[:1]),))
        names = [parameter.name for parameter in self.mapping.parameters]
        weights = torch.cat([state[name].flatten() for name in names])
        vector = torch.randn(len(weights), generator=torch.Generator().manual_seed(self.seed))
        vector = vector.to(weights) / vector.norm()
        length = _STEP * float(weights.norm().clamp_min(1.0))
        ends = []
        for sign in (1, -1):
            place = one.places[0].moved(names, sign * length * vector)
            ends.append(next(replace(one, places=(place,)).gradients())[1][0])
        expected = (ends[0] - ends[1]) / (2 * length) + self.weight_decay * vector
        found = one.product(vector[None])[0]
        rounding = _ROUNDING * float(ends[0].norm()) / length
        if not float((found - expected).norm()) <= _SAME * float(expected.norm()) + rounding:
            raise OptionError(
                "Hessian-vector products of the problem's loss differ from differences of its "
                "gradients, at one batch. Does a layer detach what it computes, have a backward "
                "pass that cannot be differentiated, or draw random numbers of its own?"
            )

    def _gradient(
        self, state: State, batch: Any, *, create_graph: bool = False
    ) -> "tuple[Tensor, list[Tensor]]":
        """Gradient of the mean loss of a batch, (weight,), and the weights it is taken by."""
        import torch

        names = [parameter.name for parameter in self.mapping.parameters]
        leaves = {name: state[name].detach().requires_grad_() for name in names}
        loss = with_gradient(batch_loss(self.problem, {**state, **leaves}, batch))
        found = torch.autograd.grad(
            loss, list(leaves.values()), create_graph=create_graph, materialize_grads=True
        )
        return torch.cat([part.flatten() for part in found]), list(leaves.values())


def _filled(
    vectors: "Tensor", leaves: "Sequence[Tensor]", found: "Sequence[Tensor | None]"
) -> "Tensor":
    """Products by every weight as rows; zeros by those on which the gradient does not depend."""
    import torch

    parts = [
        vectors.new_zeros((len(vectors), leaf.numel()))
        if part is None
        else part.reshape(len(vectors), -1)
        for leaf, part in zip(leaves, found, strict=True)
    ]
    return torch.cat(parts, dim=1)


@contextmanager
def _blamed() -> Iterator[None]:
    try:
        yield
    except (TrajscopeError, KeyboardInterrupt):
        raise
    except Exception as error:
        words = printable(str(error).strip().partition("\n")[0], limit=200)
        raise OptionError(
            f"The loss cannot be differentiated twice, which Hessian-vector products need: {words}."
        ) from error


@contextmanager
def _differentiable_twice() -> Iterator[None]:
    """Attention by plain products: its fused kernels have no second derivative."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    with sdpa_kernel(SDPBackend.MATH):
        yield
