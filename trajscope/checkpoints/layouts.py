"""From the tensors that were chosen to how they are read: a manifest."""

import os
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from trajscope.checkpoints.base import Checkpoint, CheckpointPart, Series
from trajscope.checkpoints.manifest import FileManifest, Indices, Manifest, shifted
from trajscope.checkpoints.plan import Layout, TensorPlace
from trajscope.checkpoints.store_manifest import StoreManifest
from trajscope.checkpoints.stored import Stored
from trajscope.checkpoints.weight_tensors import Weights
from trajscope.readers.base import widened_dtype


def make_manifest(series: Series, weights: Weights) -> Manifest:
    """How to read the tensors that were chosen, in the dtype that holds all of them exactly."""
    starts = np.cumsum([0, *(tensor.size for tensor in weights.tensors)], dtype=np.int64)
    names = {name for tensor in weights.tensors for name in tensor.stored_dtype.split("|")}
    dtypes = [dtype for dtype in map(widened_dtype, sorted(names)) if dtype is not None]
    dtype = np.result_type(*dtypes)
    if series.store is not None:
        rows = np.array([checkpoint.row for checkpoint in weights.checkpoints], np.intp)
        stored = tuple(entry.name for entry in weights.stored[0])
        products = tuple(entry.product for entry in weights.stored[0])
        return StoreManifest(series.store, stored, products, dtype, starts, rows)
    return _file_manifest(series, weights, dtype, starts)


def _file_manifest(
    series: Series, weights: Weights, dtype: np.dtype[np.floating], starts: NDArray[np.int64]
) -> FileManifest:
    layouts: dict[Layout, int] = {}
    # Checkpoints with one table of tensors, shared by the reader, need no second look.
    seen: dict[tuple[int, ...], tuple[int, list[int]]] = {}
    layout_of, first_file, bases = [], [0], []
    parts: list[CheckpointPart] = []
    for checkpoint, stored in zip(weights.checkpoints, weights.stored, strict=True):
        tables = tuple(id(part.header.tensors) for part in checkpoint.parts)
        if tables not in seen:
            layout, own_bases = _layout(checkpoint, stored)
            seen[tables] = layouts.setdefault(layout, len(layouts)), own_bases
        number, own_bases = seen[tables]
        layout_of.append(number)
        bases.extend(own_bases)
        parts.extend(checkpoint.parts)
        first_file.append(len(parts))
    return FileManifest(
        root=str(series.root if series.root.is_dir() else series.root.parent),
        dtype=dtype,
        starts=starts,
        layouts=tuple(layouts),
        layout_of=_narrow(layout_of),
        first_file=_narrow(first_file[:-1]),
        paths=np.array(_paths(series, parts)),
        sizes=_narrow([part.file.size for part in parts]),
        states=np.array([part.file.state for part in parts], np.uint64),
        bases=_narrow(bases),
        digests={
            number: digest
            for number, part in enumerate(parts)
            if (digest := part.header.digest.removesuffix(part.inside))
        },
    )


def _paths(series: Series, parts: Sequence[CheckpointPart]) -> list[bytes]:
    """Where each file lies below the folder."""
    if series.renamed:
        return [os.fsencode(part.file.path.relative_to(series.root)) for part in parts]
    return [os.fsencode(part.file.relative) for part in parts]  # paths take longer to take apart


def _narrow(numbers: Sequence[int]) -> Indices:
    """Non-negative numbers in the narrowest dtype, since a manifest travels to every worker."""
    return np.array(numbers, np.min_scalar_type(max(numbers, default=0)))


def _layout(checkpoint: Checkpoint, stored: Sequence[Stored]) -> tuple[Layout, list[int]]:
    """The layout of one checkpoint, and where each of its files begins to be plain."""
    places = [TensorPlace(each.part, each.name, each.spec, each.product) for each in stored]
    arrays = [array for place in places for array in place.arrays]
    bases = [0] * len(checkpoint.parts)
    for part in range(len(checkpoint.parts)):
        offsets = [e.spec.offset for e in arrays if e.part == part and e.spec.offset is not None]
        bases[part] = min(offsets, default=0)
    shifted = tuple(_from_base(place, bases) for place in places)
    readers = tuple(part.reader for part in checkpoint.parts)
    return Layout(shifted, readers, any(place.product for place in places)), bases


def _from_base(place: TensorPlace, bases: Sequence[int]) -> TensorPlace:
    """The place with offsets that count from where its files begin to be plain."""
    spec, product = shifted(place.spec, -bases[place.part]), place.product
    if product is not None:
        factors = tuple(
            replace(each, spec=shifted(each.spec, -bases[each.part])) for each in product.factors
        )
        product = replace(product, factors=factors)
    return replace(place, spec=spec, product=product)
