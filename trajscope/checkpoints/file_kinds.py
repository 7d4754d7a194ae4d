"""What a file may be by its name alone, before any is opened."""

import re
from functools import lru_cache
from pathlib import Path

from trajscope.readers import FOLDER_READERS, READERS, STORE_READERS
from trajscope.readers.torch.distributed_plan import SHARD_SUFFIX

INDEX_SUFFIX = ".index.json"
KERAS_INDEX = ".weights.json"

# What trainers write beside the weights; opening it would only cost time and trust.
_SIDECARS = re.compile(
    r"(optimizer|optim|scheduler|lr_scheduler|rng|rng_state|random_states|scaler|sampler"
    r"|dl_state_dict|training_args)([-_.\d]|$)|.*optim_states\."
)
_UNFINISHED = re.compile(
    r"\.?tmp[-_.].*|\.tmp.*|.*[-_.]tmp(-\d+)?|.*\.orbax-checkpoint-tmp.*|.*\.part"
)
_OTHER_FORMATS = (".msgpack", SHARD_SUFFIX, ".gguf", ".pkl", ".pickle")
_UNREAD = (
    (
        (".pkl", ".pickle"),
        "a pickle of any objects, which is not opened: .npz or .safetensors is read",
    ),
    ((SHARD_SUFFIX,), "its folder lacks .metadata, which is written last: it may be unfinished"),
)
_ANCHORS = frozenset(name for each in FOLDER_READERS for name in each.reader.suffixes)
_STORE_FILES = tuple(suffix for reader in STORE_READERS for suffix in reader.suffixes)
# Endings by their last part, the longest first: 20,000 names are compared with few each.
_BY_LAST_PART = {
    suffix[suffix.rfind(".") :]: sorted(
        (
            s
            for reader in READERS
            for s in reader.suffixes
            if s.endswith(suffix[suffix.rfind(".") :])
        ),
        key=len,
        reverse=True,
    )
    for reader in READERS
    for suffix in reader.suffixes
}
_DIGITS_ALIKE = {ord(digit): "0" for digit in "123456789"}
NOTHING, ANCHOR, INDEX, STORE, FILE = "nothing", "anchor", "index", "store", "file"
"""What a file is taken for."""
SIDECAR = "the trainer's own state, not weights"
"""Why files are left unopened that lie beside weights; alone they may be weights of that name."""


def known_suffix(name: str) -> str:
    """The longest file ending of `name` that some reader knows, or ``""``."""
    lower = name.lower()
    endings = _BY_LAST_PART.get(lower[lower.rfind(".") :], ())
    return next((suffix for suffix in endings if lower.endswith(suffix)), "")


def taken_as(stem: str, ending: str) -> tuple[str, str]:
    """What a file called ``stem + ending`` is taken for, and why it is left out, by its name."""
    # That does not depend on which digits are in its stem: 20,000 names are few kinds.
    return _by_name(stem.translate(_DIGITS_ALIKE), ending)


def is_unfinished(name: str) -> bool:
    """Whether a file or folder is called as what is being written is."""
    return _UNFINISHED.fullmatch(name.lower()) is not None


@lru_cache(maxsize=4096)
def _by_name(stem: str, ending: str) -> tuple[str, str]:
    """What a file of this name is taken for, and why it is left out, by its name alone."""
    name = stem + ending
    if name in _ANCHORS:
        return ANCHOR, ""
    lower = name.lower()
    is_index = lower.endswith((INDEX_SUFFIX, KERAS_INDEX))
    if not (is_index or known_suffix(_finished(lower)) or lower.endswith(_OTHER_FORMATS)):
        return NOTHING, ""
    kind = INDEX if is_index else STORE if lower.endswith(_STORE_FILES) else FILE
    return kind, _left_by_name(lower, is_index=is_index)


def _finished(name: str) -> str:
    """`name` as it would be once the file is written."""
    return re.sub(r"[-_.](tmp(-\d+)?|part)$", "", name) if "tmp" in name or "part" in name else name


def _left_by_name(name: str, *, is_index: bool) -> str:
    if _UNFINISHED.fullmatch(name):
        return "a temporary name: writing is unfinished or was interrupted"
    if name.startswith("."):
        return "a hidden file"
    # "scaler.weight.npy" is an array of a model.
    if _SIDECARS.match(name) and not (name.endswith(".npy") and name.count(".") > 1):
        return SIDECAR
    for endings, reason in _UNREAD:
        if name.endswith(endings):
            return reason
    if not is_index and not known_suffix(name):
        return f"an unsupported format (*{Path(name).suffix})"
    return ""
