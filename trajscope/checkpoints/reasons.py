"""Why an array of a checkpoint is no weight: by its section, its name, its dtype."""

import re

from trajscope.errors import printable
from trajscope.readers.base import NUMPY, SPARSE, TensorSpec, widened_dtype

AVERAGE = "an average of the weights"
LIVE = "a live weight, where averages are asked for"
OTHER_SECTION = "a different section than the model's"
CENTRE = "a running centre of a teacher's outputs, not a weight"
_TRAINER = "the trainer's own state"

_OTHER_SECTIONS = (
    (re.compile(r"(.*[-_.])?(optimizers?|optim|opt_state|opt)([-_.].*)?"), "optimizer state"),
    (re.compile(r"(.*[-_.])?(ema|teacher|swa|averag(e|ed|ing))([-_.].*)?"), AVERAGE),
    (
        re.compile(
            r"(lr_)?schedulers?(_state.*)?|lr_schedulers?|(grad_)?scaler(_state.*)?|amp|rng.*|.*[-_.]rng([-_.].*)?|"
            r".*random.*|callbacks|loops|hyper_parameters|args|config|cfg|epoch|step"
        ),
        _TRAINER,
    ),
)
# "model_and_optim" is a section of sections.
_BOTH = re.compile(r"(^|[-_])(and|with)([-_]|$)")
# With an underscore for the dot where names had to be identifiers: "bn1_running_mean".
_STATISTIC = re.compile(
    r"(.*_)?(running_mean|running_var|running_variance|moving_mean|moving_variance|num_batches_tracked)"
)
# Of one number; a layer may have an array of such a name.
_COUNTERS = frozenset(
    {"n_averaged", "step", "global_step", "iteration", "iter", "iter_num", "epoch"}
)
# The state of a generator of random numbers.
_RANDOM = re.compile(r"(.*[-_])?rng([-_].*)?")
# That of torch on the CPU and on a GPU, whatever it is called.
_STATES = frozenset({(5056,), (16,)})
_LEAVES = {
    **dict.fromkeys(("exp_avg", "exp_avg_sq", "momentum_buffer"), "optimizer state"),
    **dict.fromkeys(
        (
            "position_ids",
            "inv_freq",
            "cos_cached",
            "sin_cached",
            "freqs_cis",
            "final_logits_bias",
        ),
        "a constant of the architecture, not a weight",
    ),
    **dict.fromkeys(
        ("e_score_correction_bias", "expert_bias", "balancing_biases"),
        "moved by a rule that balances experts, not by gradients",
    ),
    **dict.fromkeys(
        (
            "weight_integer",
            "bias_integer",
            "act_scaling_factor",
            "fc_scaling_factor",
            "weight_scaling_factor",
        ),
        "derived from weights in quantisation",
    ),
}
# Of what is left out for these reasons the model itself loses nothing, or the user asked for it.
_NOT_OF_MODEL = (
    "optimizer state", AVERAGE, CENTRE, "a copy of ", _TRAINER, "a counter",
    "earlier features", LIVE, "the kernel of the layer inside", "a logged number",
    "not matched by --include", "excluded by the pattern", "part of the weight",
)  # fmt: skip
# What quantised weights are stored as, apart from the narrow floats.
_CODES = frozenset({"int8", "uint8", "qint8", "quint8", "int4", "uint4", "int2", "uint2"})
_LOGGED = re.compile(
    r"((train|val|valid|validation|test|eval)_?)?"
    r"(loss(es)?|lrs?|learning_rates?|accs?|accurac(y|ies)|times?|perplexit(y|ies)|grad_norms?)"
)
# The first part of a name inside the model, as a module that keeps an average gives it.
_AVERAGED_PART = re.compile(r"(.*_)?ema(_.*)?\..*")


def is_of_model(reason: str, spec: TensorSpec) -> bool:
    """Whether an array that is left out holds values of the model: not state, copies, counters."""
    # A mask of attention has one value for each pair of places.
    rows, columns = spec.shape[-2:] if len(spec.shape) > 2 else (0, 1)
    codes = spec.dtype in _CODES and not (rows == columns and spec.size == rows * columns)
    codes = codes and not (spec.dtype == "uint8" and spec.shape in _STATES)
    real = widened_dtype(spec.dtype) is not None or spec.original == SPARSE
    real = real or spec.original.startswith(f"{NUMPY}float")
    return (real or codes) and not reason.startswith(_NOT_OF_MODEL)


def why_never(spec: TensorSpec) -> str:
    """Why an array can never be weights, whatever its name."""
    if spec.original.startswith(NUMPY):
        return "a NumPy array, which is not read from a pickle; save it as a tensor"
    if widened_dtype(spec.dtype) is None:
        return f"{printable(spec.dtype)} values, not a supported floating-point dtype"
    return "it is empty" if spec.size == 0 else ""


def why_not(raw: str, name: str, spec: TensorSpec) -> str:
    """Why an array is no weight, by its role and name; ``""`` where it may be one."""
    if spec.role == "buffer":
        return "a buffer, not a parameter"
    *above, leaf = re.split(r"[./]", raw)
    if _STATISTIC.fullmatch(leaf.partition(":")[0]) or "batch_stats" in above:
        return "a running statistic, not a weight"
    if leaf in _COUNTERS and spec.size == 1:
        return "a counter, not a weight"
    if leaf in _LEAVES or (widened_dtype(spec.dtype) is None and _RANDOM.fullmatch(leaf)):
        return _LEAVES.get(leaf, _TRAINER)
    # One of real numbers may be learned: its values say what it is.
    if leaf == "masked_bias" or (leaf.endswith("mask") and widened_dtype(spec.dtype) is None):
        return "a mask, not a weight"
    logged = len(spec.shape) < 2 and _LOGGED.fullmatch(name) is not None
    return "a logged number, not a weight" if logged else ""


def of_section(section: str) -> str:
    """Why a section is not the model, or ``""`` where its name does not say."""
    lower = section.lower()
    if _BOTH.search(lower):
        return ""
    return next((why for pattern, why in _OTHER_SECTIONS if pattern.fullmatch(lower)), "")


def is_averaged(name: str) -> bool:
    """Whether a tensor's dotted name begins with that of an average ("model_ema.")."""
    return _AVERAGED_PART.fullmatch(name.lower()) is not None
