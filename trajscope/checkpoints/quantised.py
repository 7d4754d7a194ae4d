"""Quantised weights: codes, less a zero point where there is one, times a scale.

Read are the layouts in `_LAYOUTS`, which are documented and in which every code is one weight.
Codes of any other layout are found too, so that they and their scales can be left out.
"""

import math
import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from trajscope.checkpoints.products import Factor, Product
from trajscope.checkpoints.stored import Stored
from trajscope.readers.base import NUMPY, SLICES, SPARSE, UNREADABLE, widened_dtype

_BLOCK = 128
"""Rows and columns that share a scale in public float8 models; their last block may be shorter."""


@dataclass(frozen=True)
class _Layout:
    """One way to call codes and what belongs to them, in templates for `re.Match.expand`.

    Attributes
    ----------
    codes, dtypes :
        Name and dtypes of the codes.
    scale, zero :
        Names of what they are multiplied with and of what is subtracted first.
    shown :
        What the weight is called.
    divisor :
        Of the scale.
    """

    codes: re.Pattern[str]
    dtypes: re.Pattern[str]
    scale: str
    zero: str
    shown: str
    divisor: float = 1.0


_ANY, _WEIGHT = re.compile(r"(?P<x>.+)"), re.compile(r"(?P<m>(?:.*[./])?)weight")
_FLOAT8, _EIGHT_BITS = re.compile(r"float8_.*"), re.compile(r"int8|float8_.*")
_LAYOUTS = (
    # Tensors of torch's own quantised dtypes and of torchao, as the reader of torch files lists.
    _Layout(
        _ANY, re.compile(r"u?int8|int32|float8_.*"), r"\g<x>:scale", r"\g<x>:zero_point", r"\g<x>"
    ),
    # compressed-tensors, FBGEMM.
    _Layout(_ANY, _EIGHT_BITS, r"\g<x>_scale", r"\g<x>_zero_point", r"\g<x>"),
    # Block-scaled float8: a factor, whatever "inv" says.
    _Layout(_ANY, _FLOAT8, r"\g<x>_scale_inv", "", r"\g<x>"),
    # Scaled float8 of image models.
    _Layout(_WEIGHT, _FLOAT8, r"\g<m>scale_weight", "", r"\g<m>weight"),
    # torchao in safetensors.
    _Layout(
        re.compile(r"(?P<m>(?:.*[./])?)_(?P<leaf>[^./]+)_qdata"),
        _EIGHT_BITS,
        r"\g<m>_\g<leaf>_scale",
        r"\g<m>_\g<leaf>_zero_point",
        r"\g<m>\g<leaf>",
    ),
    # bitsandbytes, LLM.int8(): the largest magnitude of each row.
    _Layout(_WEIGHT, re.compile("int8"), r"\g<m>SCB", "", r"\g<m>weight", 127.0),
)

# Codes of any layout, of which several may be packed into one number; and what stands beside
# codes, in their module or behind their own name.
_PACKED = re.compile(r"u?int(8|32)|packed_.*|float8_.*")
_CODES = re.compile(
    r"_data|W_q|(.*_)?(q?weight|weight_packed|packed_weight|qdata|int_data|codes|blocks)"
)
_COMPANION = re.compile(
    r"(.*[._:])?(scales?|scale_inv|scale_weight|scale_input|scale_\d|zeros?|zero_points?|qzeros|"
    r"absmax|quant_map|SCB|weight_format|g_idx|quant_state\..*|pre_scale)"
)
_OF_ACTIVATIONS = re.compile(r"(.*[./])?((input|output|act|[kvq]|kv)_scale|scaled_fp8)")


def quantised(arrays: Mapping[str, Stored]) -> dict[str, tuple[str, Stored]]:
    """By the name of the codes that are read: what the weight is called, and the weight."""
    found = {}
    for name, array in arrays.items():
        for layout in _LAYOUTS:
            match = layout.codes.fullmatch(name)
            if match is None or not layout.dtypes.fullmatch(array.spec.dtype):
                continue
            shown = match.expand(layout.shown)
            weight = _weight(match, layout, array, arrays)
            if weight is not None and (shown == name or shown not in arrays):
                found[name] = shown, weight
                break
    return found


def beside_codes(arrays: Mapping[str, Stored], read: Collection[str]) -> dict[str, str]:
    """For each array that belongs to codes, and for codes that are not in `read`: whose it is.

    Codes are whole numbers or float8 of a name like "qweight" that have a scale beside them, or
    tensors of a class that the reader could not take apart.
    """
    modules: dict[str, list[str]] = defaultdict(list)
    for name in arrays:
        modules[_module(name)].append(name)
    found: dict[str, str] = {}
    for name, array in arrays.items():
        if not _may_be_codes(name, array):
            continue
        near = {each for each in modules[_module(name)] if _COMPANION.fullmatch(each)}
        near |= set(modules.get(name, ()))
        if near or array.spec.dtype == UNREADABLE:
            found |= dict.fromkeys(near - set(read), name)
            if name not in read:
                found[name] = name
    if found or read:
        first = next(iter(found.values()), next(iter(read), ""))
        found |= {name: first for name in arrays if _OF_ACTIVATIONS.fullmatch(name)}
    return found


def _weight(
    match: re.Match[str], layout: _Layout, codes: Stored, arrays: Mapping[str, Stored]
) -> Stored | None:
    """The weight of which these are the codes; `None` where it is not as the layout says."""
    scale, zero = arrays.get(match.expand(layout.scale)), None
    if scale is None or widened_dtype(scale.spec.dtype) is None or not codes.spec.size:
        return None
    if any(f"{match.string}{more}" in arrays for more in _MORE_FACTORS):
        return None
    if layout.zero:
        zero = arrays.get(match.expand(layout.zero))
    factors = []
    for array in (zero, scale):
        blocks = None if array is None else _blocks(codes.spec.shape, array.spec.shape)
        if array is not None and blocks is None:
            return None
        if array is not None and blocks is not None:
            by = layout.divisor if array is scale else 1.0
            factors.append(Factor(array.part, array.name, array.spec, blocks, array is zero, by))
    dtype = codes.spec.dtype
    if widened_dtype(dtype) is None:
        # torch computes in float32, whatever the dtype of the scale.
        dtype = "float32" if codes.spec.original.startswith("q") else scale.spec.dtype
    return replace(codes, product=Product(tuple(factors), dtype))


_MORE_FACTORS = ("_scale_2", "_global_scale", "_g_idx")
"""Endings of what a weight is made of besides, in layouts that are not read."""


def _blocks(shape: tuple[int, ...], scale: tuple[int, ...]) -> tuple[int, ...] | None:
    """Codes along each axis that share one value of a scale; `None` where that is not certain.

    One value for all, one for each index of some of the axes, one for each `_BLOCK` along some of
    them, or one for each group of equal length along the last.
    """
    if math.prod(scale) == 1:
        return shape
    if len(scale) == 1:
        scale = (*scale, *(1 for _ in shape[1:]))
    if len(scale) != len(shape):
        return None
    blocks = [
        1 if count == length else length if count == 1 else 0
        for length, count in zip(shape, scale, strict=True)
    ]
    open_axes = [axis for axis, block in enumerate(blocks) if not block]
    if all(scale[axis] == -(-shape[axis] // _BLOCK) for axis in open_axes):
        return tuple(block or _BLOCK for block in blocks)
    last, others = len(shape) - 1, scale[:-1] == shape[:-1]
    if open_axes == [last] and others and scale[last] and shape[last] % scale[last] == 0:
        return (*blocks[:-1], shape[last] // scale[last])
    return None


def _may_be_codes(name: str, array: Stored) -> bool:
    """Whether an array may hold codes, by its dtype and name."""
    spec = array.spec
    if spec.dtype == UNREADABLE:
        known = spec.original in {*SLICES, SPARSE} or spec.original.startswith(NUMPY)
        return bool(spec.original) and not known
    leaf = re.split("[./]", name)[-1]
    return bool(
        spec.size > 1 and _PACKED.fullmatch(spec.dtype) and _CODES.fullmatch(leaf)
    )  # fmt: skip


def _module(name: str) -> str:
    """What an array belongs to: the tensor before a colon, else the name up to its last dot."""
    owner, colon, _ = name.partition(":")
    return owner if colon else name[: max(name.rfind("."), name.rfind("/"), 0)]
