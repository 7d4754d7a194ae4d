"""The start of every run: the engine is held to what the module itself gives for a few samples."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from trajscope.errors import OptionError, printable
from trajscope.model.batches import Batches
from trajscope.model.gradients import Gradients
from trajscope.model.layers import site_of, watched
from trajscope.model.losses import batch_loss, length
from trajscope.model.mapping import Parameter, ParameterMapping
from trajscope.model.matching import Arrays
from trajscope.model.plain import AT_ONCE, Few, few_samples
from trajscope.model.problem import Problem
from trajscope.model.samples import Samples, mapped

if TYPE_CHECKING:
    from torch import Tensor, nn

_RELATIVE, _ABSOLUTE = 1e-3, 1e-5
"""Of the parameter's gradient and of the largest: some models compute in float32 whatever they
are given. What is wrong is wrong by a factor."""


def checked_gradients(
    problem: Problem,
    mapping: ParameterMapping,
    arrays: Arrays,
    samples: Samples | Batches,
    *,
    seed: int | None = None,
) -> Gradients:
    """The way to per-sample gradients, after it gave those of a few samples rightly.

    Samples from the start, the middle and the end are passed backward one by one by the module
    itself, loaded with the checkpoint's weights, in float64 where it can. The fastest way that
    gives the same is taken: mapped over samples, with layers by their factors, or one by one.

    Parameters
    ----------
    samples :
        Or batches, each of which counts as one.
    seed :
        Of the random numbers that the module draws in train mode.

    Raises
    ------
    OptionError
        The data or the loss cannot be used, or no way gives the gradients of the module itself.
    """
    import torch

    few = few_samples(problem, mapping, arrays, samples, seed)
    unmapped: tuple[str, ...] = ()
    if not few.of_batches:
        gradients, why = _mapped(problem, mapping, few)
        if gradients is not None:
            return gradients
        unmapped = (why,)
    gradients = Gradients(problem, mapping, (), False, few.of_batches, unmapped)
    for names in _parts(mapping.parameters):
        wrong = _differing(gradients, few, few.expected(names))
        if wrong:
            raise OptionError(
                f"The gradients of single samples by parameter {printable(wrong[0])!r} differ "
                "from those of a backward pass over that sample alone. Does the model, in eval "
                "mode, draw random numbers, keep state between calls, or mix the samples of a "
                "batch?"
            )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return gradients


def _mapped(problem: Problem, mapping: ParameterMapping, few: Few) -> tuple[Gradients | None, str]:
    """The mapped way, or none and the reason.

    Whatever torch cannot map over samples (some recurrent layers, choices made by values,
    activation checkpointing) says so in many ways, and the layer it happens in is named. The plain
    way has worked, so that no exception here is a fault of the user's code.
    """
    with entered(problem.model) as inside:
        try:
            gradients, wrong = _without_wrong_sites(_with_sites(problem, mapping, few), few)
        except Exception as error:
            where = inside[-1] if inside else "the loss, or its backward pass"
            words = str(error.__cause__ or error).strip().partition("\n")[0]
            return None, f"{where}: {printable(words, limit=160)}"
    if wrong:
        return None, (
            f"{printable(wrong)}: its vectorised gradient (vmap) differs from that of the module"
        )
    return gradients, ""


def _with_sites(problem: Problem, mapping: ParameterMapping, few: Few) -> Gradients:
    """The mapped way, every layer that allows it by its factors."""
    import torch

    calls: Counter[str] = Counter()
    shapes: dict[str, tuple[Any, Any]] = {}
    first = mapped(few.batch, lambda tensor: tensor[:1])
    with torch.no_grad(), watched(problem.model, calls, shapes):
        batch_loss(problem, few.state, first)
    found = [
        site_of(problem.model, name, mapping, shapes[name]) for name in calls if calls[name] == 1
    ]
    return Gradients(problem, mapping, tuple(site for site in found if site is not None))


def _without_wrong_sites(gradients: Gradients, few: Few) -> tuple[Gradients, str]:
    """The same without layers whose factors are wrong, and a parameter that is wrong even so."""
    sums: dict[str, Tensor] = {}
    for names in _parts(gradients.mapping.parameters):
        expected = few.expected(names)
        wrong = _differing(gradients, few, expected)
        if wrong and gradients.sites:
            sites = [site for site in gradients.sites if not {site.weight, site.bias} & set(wrong)]
            gradients = replace(gradients, sites=tuple(sites))
            wrong = _differing(gradients, few, expected)
        if wrong:
            return gradients, wrong[0]
        sums |= {name: rows.sum(0) for name, rows in expected.items()}
    return gradients, "the sum of losses" if _sums_differ(gradients, few, sums) else ""


@contextmanager
def entered(model: "nn.Module") -> Iterator[list[str]]:
    """The layers whose call has begun and not ended, innermost last: where an error came from."""
    import torch

    inside: list[str] = []

    def before(name: str) -> Callable[..., None]:
        return lambda module, _: inside.append(f"{name or 'the model'} ({type(module).__name__})")

    handles = []
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            continue
        handles.append(module.register_forward_pre_hook(before(printable(name))))
        handles.append(module.register_forward_hook(lambda *_: inside.pop() and None))
    try:
        yield inside
    finally:
        for handle in handles:
            handle.remove()


def _parts(parameters: Sequence[Parameter]) -> Iterator[list[str]]:
    """The names of the parameters in parts that are small together."""
    part: list[Parameter] = []
    for parameter in parameters:
        if part and sum(each.size for each in part) + parameter.size > AT_ONCE:
            yield [each.name for each in part]
            part = []
        part.append(parameter)
    yield [each.name for each in part]


def _differing(gradients: Gradients, few: Few, expected: "dict[str, Tensor]") -> list[str]:
    """Parameters whose gradients are not as expected; those that are not numbers are let pass."""
    import torch

    factored = {site.weight for site in gradients.sites if site.is_factored} & set(expected)
    rows: dict[str, list[Tensor]] = {name: [] for name in expected}
    for batch in few.batches(one_by_one=not gradients.vectorised):
        few.set_seed()
        piece = gradients.piece(few.state, batch, list(expected), factored)
        for name in expected:
            if name in piece.factors:
                entered, returned = piece.factors[name]
                rows[name].append((returned.mT @ entered).flatten(1))
            else:
                rows[name].append(piece.rows[name])
    largest = max(known.norm(dim=1).max() for known in expected.values())
    wrong = []
    for name, known in expected.items():
        found = torch.cat(rows[name]) if len(rows[name]) > 1 else rows[name][0]
        bound = _RELATIVE * known.norm(dim=1) + _ABSOLUTE * largest
        if bool(((found - known).norm(dim=1) > bound).any()):
            wrong.append(name)
    return wrong


def _sums_differ(gradients: Gradients, few: Few, expected: "dict[str, Tensor]") -> bool:
    """Whether weighted losses passed backward give other sums than the single gradients."""
    import torch

    like = next(iter(expected.values()))
    ones = like.new_ones((1, length(few.batch)))
    found, _ = gradients.weighted_sums(few.state, few.batch, ones)
    known = torch.cat([expected[parameter.name] for parameter in gradients.mapping.parameters])
    return bool((found[0] - known).norm() > _RELATIVE * known.norm() + _ABSOLUTE)
