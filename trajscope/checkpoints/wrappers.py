"""Prefixes that wrappers put before the names of a model's tensors: DDP, compile, FSDP, SWA."""

import re
from collections.abc import Iterable, Mapping

_PREFIXES = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_WRAPPERS = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
# What a wrapper stores beside the model, without a prefix.
_COUNTED = frozenset({"n_averaged", "steps"})


def unwrapped(names: Mapping[str, str]) -> dict[str, str]:
    """The names, by the same keys, without what wrappers put before and into them."""
    prefix = common_prefix(names.values())
    return {raw: _WRAPPERS.sub("", name.removeprefix(prefix)) for raw, name in names.items()}


def common_prefix(names: Iterable[str]) -> str:
    """The wrappers' prefixes that all names begin with."""
    own = [name for name in names if name not in _COUNTED]
    prefix = ""
    while own:
        longer = next(
            (p for p in _PREFIXES if all(name.startswith(prefix + p) for name in own)), None
        )
        if longer is None:
            break
        prefix += longer
    return prefix
