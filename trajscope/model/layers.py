"""Layers whose per-sample gradients are products of what goes in and what comes back."""

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from trajscope.model.mapping import ParameterMapping

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Site:
    """A linear layer or convolution that is passed once per sample, at T positions.

    The gradient of its weight is ``sum_t delta_t a_t'``, that of its bias ``sum_t delta_t``.

    Attributes
    ----------
    module, weight, bias :
        Names; `bias` is ``""`` where there is none.
    n_positions, n_in, n_out :
        T (pixels of the output, tokens), length of a_t, length of delta_t.
    output_shape :
        For one sample.
    unfold :
        Arguments of ``torch.nn.functional.unfold`` for a convolution, else ``()``.
    """

    module: str
    weight: str
    bias: str
    n_positions: int
    n_in: int
    n_out: int
    output_shape: tuple[int, ...]
    unfold: tuple[Any, ...] = ()

    @property
    def is_factored(self) -> bool:
        """Whether products of factors cost less than products of gradients.

        ``T^2 (n_in + n_out) < n_in n_out`` multiplications per pair of samples.
        """
        return self.n_positions**2 * (self.n_in + self.n_out) < self.n_in * self.n_out

    def factors(self, entered: "Tensor", returned: "Tensor") -> "tuple[Tensor, Tensor]":
        """What went in and came back, as (sample, position, n_in) and (sample, position, n_out).

        Parameters
        ----------
        entered : (sample, 1, ...)
            The layer's inputs.
        returned : (sample, 1, ...)
            Derivatives of each sample's loss by the layer's outputs.
        """
        n = len(entered)
        if self.unfold:
            patches = patches_of(entered.flatten(0, 1), *self.unfold)
            return patches.mT, returned.reshape(n, self.n_out, -1).mT
        return entered.reshape(n, -1, self.n_in), returned.reshape(n, -1, self.n_out)


def patches_of(
    images: "Tensor",
    kernel_size: tuple[int, ...],
    dilation: tuple[int, ...],
    padding: tuple[int, ...],
    stride: tuple[int, ...],
) -> "Tensor":
    """What ``torch.nn.functional.unfold`` gives, (sample, channel and pixel of kernel, position).

    Copied from a view with all patches in it, which takes a ninth of the time where rows are long.
    """
    from torch.nn.functional import pad

    if any(padding):
        images = pad(images, (padding[1], padding[1], padding[0], padding[0]))
    n, channels, *sizes = images.shape
    spans = [gap * (size - 1) for gap, size in zip(dilation, kernel_size, strict=True)]
    left = [
        (size - span - 1) // step + 1 for size, span, step in zip(sizes, spans, stride, strict=True)
    ]
    of_sample, of_channel, *of_pixel = images.stride()
    view = images.as_strided(
        (n, channels, *kernel_size, *left),
        (
            of_sample,
            of_channel,
            *(each * gap for each, gap in zip(of_pixel, dilation, strict=True)),
            *(each * step for each, step in zip(of_pixel, stride, strict=True)),
        ),
    )
    return view.reshape(n, -1, left[0] * left[1])


@contextmanager
def tapped(
    model: "nn.Module", taps: "Mapping[str, Tensor]"
) -> "Iterator[dict[str, tuple[Tensor, ...]]]":
    """Add a tensor to the output of each named layer, and collect what goes into it.

    The derivative by a tap of zeros is the derivative by the output.
    """
    entered: dict[str, tuple[Tensor, ...]] = {}

    def hook_of(name: str) -> Any:
        def hook(_: Any, inputs: "tuple[Tensor, ...]", output: "Tensor") -> "Tensor":
            entered[name] = inputs
            return output + taps[name]

        return hook

    handles = [model.get_submodule(name).register_forward_hook(hook_of(name)) for name in taps]
    try:
        yield entered
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def watched(
    model: "nn.Module", calls: "Counter[str]", shapes: dict[str, tuple[Any, Any]]
) -> Iterator[None]:
    """Count the calls of every linear layer and convolution, and note the shapes."""
    from torch import nn

    def hook_of(name: str) -> Any:
        def hook(_: Any, inputs: tuple[Any, ...], output: Any) -> None:
            calls[name] += 1
            shapes[name] = tuple(inputs[0].shape) if inputs else (), tuple(output.shape)

        return hook

    handles = [
        module.register_forward_hook(hook_of(name))
        for name, module in model.named_modules()
        # A subclass, or a layer with a parametrisation, may compute something else.
        if type(module) in (nn.Linear, nn.Conv2d)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def site_of(
    model: "nn.Module",
    name: str,
    mapping: ParameterMapping,
    shapes: tuple[tuple[int, ...], tuple[int, ...]],
) -> Site | None:
    """The layer called `name` as a site, or `None` where the general way has to take it.

    Parameters
    ----------
    shapes :
        Of its input and its output, for a batch of one sample.
    """
    from torch import nn

    module = model.get_submodule(name)
    entered, left = shapes
    dot = f"{name}." if name else ""
    own = {p.name for p in mapping.parameters} & {f"{dot}weight", f"{dot}bias"}
    parameters = dict(module.named_parameters(recurse=False))
    names = [key for key, _ in model.named_parameters(remove_duplicate=False)]
    tied = len(names) > len(list(model.parameters())) and any(
        sum(p is parameter for _, p in model.named_parameters(remove_duplicate=False)) > 1
        for parameter in parameters.values()
    )
    if tied or len(own) < len(parameters) or not entered:
        return None
    bias = f"{dot}bias" if "bias" in parameters else ""
    if isinstance(module, nn.Linear):
        n_positions = _count(left) // module.out_features
        site = Site(
            name, f"{dot}weight", bias, n_positions, module.in_features, module.out_features, left
        )
        # Gradients at many positions are the same products the general way takes.
        return site if site.is_factored else None
    assert isinstance(module, nn.Conv2d)
    plain = module.groups == 1 and module.padding_mode == "zeros"
    if not plain or isinstance(module.padding, str) or len(entered) != 4:
        return None
    n_in = _count(tuple(module.weight.shape[1:]))
    unfold = (module.kernel_size, module.dilation, module.padding, module.stride)
    n_positions = left[2] * left[3]
    return Site(name, f"{dot}weight", bias, n_positions, n_in, module.out_channels, left, unfold)


def _count(shape: tuple[int, ...]) -> int:
    count = 1
    for length in shape:
        count *= length
    return count
