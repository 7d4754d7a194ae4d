"""Weights that are made of several stored arrays, found by the names of an array's neighbours."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from trajscope.checkpoints.products import Factor, Product
from trajscope.checkpoints.quantised import beside_codes, quantised
from trajscope.checkpoints.reasons import of_section
from trajscope.checkpoints.stored import Stored
from trajscope.errors import printable
from trajscope.readers.base import SLICES, SPARSE, widened_dtype
from trajscope.readers.ranges import PARTS

SLICE = "one rank's slice of a tensor"
"""Why a tensor that is spread over ranks is left out."""

_PLACES = "a sparse tensor, which is not read: save it with to_dense()"

_TOLD_FIRST = 0.1
"""Share of a model's values that may be codes of an unknown layout before it is a warning."""

# How a quantised layer of torch.ao calls its weight and bias.
_TORCH_LAYER = re.compile(r"(?P<layer>.+)\._packed_params\._packed_params/(?P<number>[01])")


@dataclass(frozen=True)
class Composed:
    """The arrays of a checkpoint, composed weights among them, and what the user should know."""

    arrays: dict[str, Stored]
    decisions: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def composed(stored: Mapping[str, Stored]) -> Composed:
    """The arrays with composed weights beside what they are made of.

    A pruned weight ``X`` is ``X_orig`` times ``X_mask`` (torch.nn.utils.prune); a quantised one is
    codes times a scale. What was used, or belongs to codes of an unknown layout, keeps its name and
    gets a note.
    """
    arrays = _renamed(stored)
    pruned, codes = _pruned(arrays), quantised(arrays)
    made = pruned | codes
    unknown = beside_codes(arrays, made)
    notes = _notes(arrays, made, unknown)
    found: dict[str, Stored] = {}
    for name, array in arrays.items():
        shown, weight = made.get(name, ("", array))
        if shown:
            found[shown] = weight
        if shown != name:
            found[name] = replace(array, note=notes.get(name, ""))
    return Composed(
        found, tuple(_decisions(found, pruned, codes)), tuple(_warnings(arrays, unknown))
    )


def _renamed(stored: Mapping[str, Stored]) -> dict[str, Stored]:
    """The arrays, weight and bias of torch's quantised layers called so."""
    arrays = {}
    for name, array in stored.items():
        match, shown = _TORCH_LAYER.match(name), name
        if match:
            leaf = ("weight", "bias")[int(match["number"])]
            shown = f"{match['layer']}.{leaf}{name[match.end() :]}"
        arrays[name if shown in stored else shown] = array
    return arrays


def _pruned(arrays: Mapping[str, Stored]) -> dict[str, tuple[str, Stored]]:
    """For the name of each array that is pruned: what the weight is called, and the weight."""
    found = {}
    for name, array in arrays.items():
        shown = name.removesuffix("_orig")
        mask = arrays.get(f"{shown}_mask") if shown != name else None
        if mask is not None and shown not in arrays and mask.spec.shape == array.spec.shape:
            blocks = (1,) * len(array.spec.shape)
            factor = Factor(mask.part, mask.name, mask.spec, blocks)
            product = Product((factor,), array.spec.dtype)
            found[name] = shown, replace(array, product=product)
    return found


def _notes(
    arrays: Mapping[str, Stored],
    made: Mapping[str, tuple[str, Stored]],
    unknown: Mapping[str, str],
) -> dict[str, str]:
    """Why arrays are no weights by themselves, by name."""
    notes = {name: SLICE for name, array in arrays.items() if array.spec.original in SLICES}
    notes |= {name: _PLACES for name, array in arrays.items() if array.spec.original == SPARSE}
    for name, codes in unknown.items():
        if codes == name:
            notes[name] = "codes of a quantised weight in a layout that is not supported"
        else:
            notes[name] = f"belongs to the quantised {printable(codes)!r}, not a weight"
    places = {(array.part, array.name): name for name, array in arrays.items()}
    for shown, weight in made.values():
        parts = [(weight.part, weight.name)]
        if weight.product is not None:
            parts.extend((each.part, each.name) for each in weight.product.factors)
        for part in parts:
            notes[places[part]] = f"part of the weight {printable(shown)!r}"
    return notes


def _decisions(
    found: Mapping[str, Stored],
    pruned: Mapping[str, tuple[str, Stored]],
    codes: Mapping[str, tuple[str, Stored]],
) -> list[str]:
    """How weights are read that are not stored as plain numbers, in words for the user."""
    complex_ones = [
        name for name, each in found.items() if each.spec.original in PARTS and not each.note
    ]
    kinds = (
        ([shown for shown, _ in pruned.values()], "pruned: read as the weights times their mask"),
        (
            [shown for shown, _ in codes.values()],
            "quantised: read as codes times scale, so the increments contain their rounding",
        ),
        (complex_ones, "complex: read as pairs of real and imaginary part"),
    )
    return [
        f"{len(names)} tensor{' is' if len(names) == 1 else 's are'} {how} (first: "
        f"{printable(names[0])})."
        for names, how in kinds
        if names
    ]


def _warnings(arrays: Mapping[str, Stored], unknown: Mapping[str, str]) -> list[str]:
    """What is said first if much of a model is codes that are not read."""
    codes = [name for name, whose in unknown.items() if name == whose]
    left = sum(arrays[name].spec.size for name in codes)
    rest = sum(
        array.spec.size
        for name, array in arrays.items()
        if name not in unknown and widened_dtype(array.spec.dtype) is not None
        if not ("/" in name and of_section(name.partition("/")[0]))
    )
    if not codes or left <= _TOLD_FIRST * (left + rest):
        return []
    share = left / max(left + rest, 1)
    return [
        f"{'Most' if share > 0.5 else f'{share:.0%}'} of this model is quantised in a layout that "
        f"is not supported ({len(codes)} tensors, first {printable(codes[0])}): the codes and "
        "their scales are left out, and only the rest is analysed. Save the weights in a "
        "floating-point dtype as well, for example with .dequantize()."
    ]
