"""Arrays whose neighbours show that they are no weights: rules that see one module at a time.

A name alone says little: ``weight_v`` beside ``weight_g`` is a weight, and beside ``weight_orig``
the last step of a power iteration. A rule gets the arrays of one module by the last part of their
names and returns those that are no weights.
"""

import re
from collections import defaultdict
from collections.abc import Mapping

from trajscope.checkpoints.keras_layers import KERAS_RULES
from trajscope.checkpoints.modules import Module, Rule, split_name
from trajscope.readers.base import TensorSpec, widened_dtype


def why_beside(specs: Mapping[str, TensorSpec]) -> dict[str, str]:
    """Why arrays of a checkpoint are no weights, as far as their neighbours show it, by name."""
    modules: dict[str, dict[str, TensorSpec]] = defaultdict(dict)
    stored: dict[str, dict[str, str]] = defaultdict(dict)
    for raw, spec in specs.items():
        path, leaf = split_name(raw)
        modules[path][leaf] = spec
        stored[path][leaf] = raw
    found: dict[str, str] = {}
    for path, arrays in modules.items():
        module = Module(path, arrays, modules)
        for rule in RULES:
            for leaf in rule.find(module):
                found.setdefault(stored[path][leaf], rule.reason)
    return found


def _power_iteration_hook(module: Module) -> set[str]:
    """``weight_u`` and ``weight_v`` of the old spectral norm; before torch 1.0 also ``weight``."""
    arrays = module.arrays
    stems = [leaf.removesuffix("_u") for leaf in arrays if leaf.endswith("_u")]
    normed = [
        stem
        for stem in stems
        if not arrays.keys().isdisjoint({stem + "_orig", stem + "_bar"})
        and len(arrays[stem + "_u"].shape) == 1
    ]
    return arrays.keys() & {each for stem in normed for each in (stem, stem + "_u", stem + "_v")}


def _parametrization(module: Module) -> set[str]:
    """What torch's own parametrizations keep beside ``original``."""
    match = _PARAMETRIZATION.fullmatch(module.path)
    if match is None:
        return set()
    if {"_u", "_v"} <= module.arrays.keys():
        return {"_u", "_v"}
    original = module.everywhere.get(match["of"], {}).get("original")
    base = module.arrays.get("base")
    return {"base"} if base and original and base.shape == original.shape else set()


def _numbered_power_iteration(module: Module) -> set[str]:
    """``u0`` and ``sv0`` beside ``weight``, as BigGAN's layers keep them."""
    arrays = module.arrays
    numbers = [leaf.removeprefix("sv") for leaf in arrays if leaf.startswith("sv")]
    pairs = [{f"u{number}", f"sv{number}"} for number in numbers if number.isdigit()]
    return {each for pair in pairs if {"weight", *pair} <= arrays.keys() for each in pair}


def _observer(module: Module) -> set[str]:
    """Ranges of torch's observers: ``min_val``, ``max_val``, ``eps``, ``histogram``."""
    arrays = module.arrays
    named = _OBSERVER.fullmatch(module.path.rpartition(".")[2]) is not None
    for ends in ({"min_val", "max_val"}, {"min_vals", "max_vals"}):
        if ends <= arrays.keys() and ("eps" in arrays or named):
            return {*ends, "eps", "histogram"} & arrays.keys()
    return set()


def _quantization_range(module: Module) -> set[str]:
    """Scale and zero point of fake quantisation and of quantised modules, unless they learn."""
    arrays = module.arrays
    scale, zero = arrays.get("scale"), arrays.get("zero_point")
    faked = "fake_quant_enabled" in arrays
    found = {"eps"} & arrays.keys() if faked else set()
    if scale is None or zero is None or "learning_enabled" in arrays:
        return found
    whole = widened_dtype(zero.dtype) is None
    return (
        found | {"scale", "zero_point"} if scale.shape == zero.shape and (whole or faked) else found
    )


def _range_of_activations(module: Module) -> set[str]:
    """Smallest and largest activation: ``x_min`` beside ``x_max``, one number each."""
    single = {leaf for leaf, spec in module.arrays.items() if spec.size == 1}
    pairs = [{f"{of}_min", f"{of}_max"} for of in ("x", "input", "output")]
    return {each for pair in pairs if pair <= single for each in pair}


def _batch_statistics(module: Module) -> set[str]:
    """``mean`` and ``var`` beside ``scale`` or ``bias``: batch normalisation of flax NNX."""
    arrays = module.arrays
    extra = arrays.keys() - {"mean", "var", "scale", "bias"}
    shapes = {spec.shape for spec in arrays.values()}
    if not {"mean", "var"} < arrays.keys() or extra or len(shapes) > 1:
        return set()
    return {"mean", "var"} if all(len(shape) == 1 for shape in shapes) else set()


def _running_moments(module: Module) -> set[str]:
    """Mean and variance beside the count of what they were taken from: of inputs, of rewards."""
    arrays = module.arrays
    counts = {leaf for leaf in _COUNTS if leaf in arrays and arrays[leaf].size == 1}
    for before in ("", "_", "running_"):
        mean = before + "mean"
        spreads = {before + of for of in _SPREADS} & arrays.keys()
        shapes = {arrays[leaf].shape for leaf in spreads | ({mean} & arrays.keys())}
        if counts and spreads and mean in arrays and len(shapes) == 1:
            return {mean, *spreads, *counts}
    return set()


def _moving_average(module: Module) -> set[str]:
    """``average``, ``hidden`` and ``counter`` of haiku's ExponentialMovingAverage."""
    parts = {"average", "hidden", "counter"}
    return parts if parts <= module.arrays.keys() and module.arrays["counter"].size == 1 else set()


def _queue(module: Module) -> set[str]:
    """Features kept for contrast, beside the one number that says where the next ones go."""
    pointers = [
        leaf for leaf, spec in module.arrays.items() if leaf.endswith("_ptr") and spec.size == 1
    ]
    pairs = [{leaf, leaf.removesuffix("_ptr")} for leaf in pointers]
    return {each for pair in pairs if pair <= module.arrays.keys() for each in pair}


def _codebook_statistics(module: Module) -> set[str]:
    """Sums and counts that a codebook is the average of: ``embed_avg`` beside ``cluster_size``."""
    arrays = module.arrays
    found = {leaf for leaf in arrays if leaf.lstrip("_") in _CODEBOOK_SUMS}
    sizes = {leaf for leaf in arrays if leaf.lstrip("_") in _CODEBOOK_SIZES}
    return found | sizes | (arrays.keys() & _CODEBOOK_FLAGS) if found and sizes else set()


_PARAMETRIZATION = re.compile(r"(?P<of>(?:.*\.)?parametrizations\.[^.]+)\.\d+")
_OBSERVER = re.compile(r"activation_post_process(_\d+)?|weight_fake_quant|.*observer(_\d+)?")
_COUNTS = ("count", "n", "counter", "num_samples", "current_count")
_SPREADS = ("var", "variance", "std", "m2", "M2")
_CODEBOOK_SUMS = frozenset({"embed_avg", "embed_sum", "ema_w", "ema_embed", "embedding_avg"})
_CODEBOOK_SIZES = frozenset({"cluster_size", "ema_cluster_size", "cluster_usage"})
_CODEBOOK_FLAGS = frozenset({"inited", "initted", "initialized"})

_STATISTIC = "a running statistic, not a weight"
_ITERATION = "a vector of the power iteration, not a weight"
_RANGE = "a range of quantisation, not a weight"

RULES: tuple[Rule, ...] = (
    Rule(_ITERATION, _power_iteration_hook),
    Rule("kept by a parametrization, not a weight", _parametrization),
    Rule(_ITERATION, _numbered_power_iteration),
    Rule(_RANGE, _observer),
    Rule(_RANGE, _quantization_range),
    Rule(_RANGE, _range_of_activations),
    Rule(_STATISTIC, _batch_statistics),
    Rule(_STATISTIC, _running_moments),
    Rule(_STATISTIC, _moving_average),
    Rule(_STATISTIC, _codebook_statistics),
    Rule("earlier features, not a weight", _queue),
    *KERAS_RULES,
)
