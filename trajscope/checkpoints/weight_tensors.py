"""The tensors that are analysed, and where they lie in each checkpoint."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trajscope.checkpoints.base import Checkpoint, Series, Skipped
from trajscope.checkpoints.outlines import Outline
from trajscope.checkpoints.sections import LeftOut
from trajscope.checkpoints.stored import Stored
from trajscope.readers.base import TensorSpec


@dataclass(frozen=True)
class WeightTensor:
    """One tensor of weights, at every checkpoint of the same shape.

    `stored_dtype` lists several dtypes with "|" between them where checkpoints differ.
    """

    name: str
    shape: tuple[int, ...]
    stored_dtype: str

    @property
    def size(self) -> int:
        """Number of weights."""
        return TensorSpec(self.shape, self.stored_dtype).size

    @property
    def layer(self) -> str:
        """The name up to its last dot or slash, or all of it."""
        return layer_of(self.name)


@dataclass(frozen=True)
class Weights:
    """The tensors that are analysed, where they lie in each checkpoint, and what was left out.

    Attributes
    ----------
    tensors :
        In the header's order, tensors of one layer next to each other.
    stored :
        For each of `checkpoints`, the stored array of each of `tensors`.
    checkpoints :
        Those of the series that hold these tensors.
    skipped, warnings, decisions :
        For the user, made printable: checkpoints of another model; tensors that change; which
        section was taken and which prefixes dropped.
    """

    tensors: tuple[WeightTensor, ...]
    stored: tuple[tuple[Stored, ...], ...]
    checkpoints: tuple[Checkpoint, ...]
    left_out: tuple[LeftOut, ...]
    skipped: tuple[Skipped, ...] = ()
    warnings: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()


def layer_of(name: str) -> str:
    """The name of the layer a tensor belongs to: up to its last dot or slash, or all of it."""
    cut = max(name.rfind("."), name.rfind("/"))
    return name[:cut] if cut > 0 else name


def by_layer(names: Sequence[str]) -> list[str]:
    """The names with those of one layer together, layers in the order of their first tensor."""
    layers: dict[str, list[str]] = defaultdict(list)
    for name in names:
        layers[layer_of(name)].append(name)
    return [name for members in layers.values() for name in members]


def assembled(
    series: Series,
    outlines: Sequence[Outline],
    names: Sequence[str],
    changes: Mapping[str, str],
) -> Weights:
    """The weights of these names, from checkpoints of these kinds; `changes` are left out.

    `changes` says why, by name.
    """
    outline_of = {id(c): outline for outline in outlines for c in outline.checkpoints}
    checkpoints = tuple(c for c in series.checkpoints if id(c) in outline_of)
    entries = {id(outline): [outline.kept[name] for name in names] for outline in outlines}
    stored = []
    # Readers share the table of tensors between files with equal headers.
    known: dict[tuple[int, ...], tuple[Stored, ...]] = {}
    for checkpoint in checkpoints:
        tables = [part.header.tensors for part in checkpoint.parts]
        key = tuple(map(id, tables))
        if key not in known:
            row = entries[id(outline_of[id(checkpoint)])]
            # Equal outlines may still lie at other offsets: the entry comes from the own header.
            known[key] = tuple(_own(each, tables) for each in row) if tables else tuple(row)
        stored.append(known[key])
    told = series.store.header.left_out if series.store is not None else {}
    left_out = {name: LeftOut(name, why) for name, why in told.items()}
    left_out |= {name: each for outline in outlines for name, each in outline.left_out.items()}
    left_out |= {
        name: LeftOut(name, why, _usual_size(name, outlines)) for name, why in changes.items()
    }
    tensors = []
    for position, name in enumerate(names):
        arrays = [row[position] for row in entries.values()]
        dtypes = "|".join(sorted({each.dtype for each in arrays}))
        if series.store is not None:  # which may have been copied from checkpoints of several
            dtypes = series.store.header.tensors[arrays[0].name].original or dtypes
        tensors.append(WeightTensor(name, arrays[0].spec.shape, dtypes))
    return Weights(
        tensors=tuple(tensors),
        stored=tuple(stored),
        checkpoints=checkpoints,
        left_out=tuple(left_out.values()),
    )


def _usual_size(name: str, outlines: Sequence[Outline]) -> int:
    """Values of a tensor in the kind of checkpoint that is the most frequent of those with it."""
    return next((each.kept[name].spec.size for each in outlines if name in each.kept), 0)


def _own(stored: Stored, tables: Sequence[Mapping[str, TensorSpec]]) -> Stored:
    """The array where it lies in the checkpoint that these tables of tensors are of."""
    if stored.product is None:
        return Stored(stored.part, stored.name, tables[stored.part][stored.name])
    factors = tuple(
        replace(each, spec=tables[each.part][each.name]) for each in stored.product.factors
    )
    spec = tables[stored.part][stored.name]
    return replace(stored, spec=spec, product=replace(stored.product, factors=factors))
