"""Checkpoints that lie in a folder twice, in two formats."""

from collections import defaultdict
from collections.abc import Sequence

from trajscope.checkpoints.base import Candidate, Skipped
from trajscope.checkpoints.file_kinds import INDEX_SUFFIX, known_suffix
from trajscope.checkpoints.likeness import Models
from trajscope.errors import printable

_SAME_FILE = {"pytorch_model": "model", "diffusion_pytorch_model": "model"}
"""What transformers and diffusers call the same weights in another format."""
_OTHER_FRAMEWORK = {"tf_model.h5": "model", "flax_model.msgpack": "model"}
_FORMATS = (".safetensors", ".bin", ".pt", ".pth", ".ckpt")


def without_copies(
    candidates: Sequence[Candidate], models: Models
) -> tuple[list[Candidate], list[Skipped]]:
    """The candidates, of those that differ in their format alone only one.

    That is done where the names say so ("model.safetensors" beside "pytorch_model.bin", or
    "net_10.pt" beside "net_10.safetensors") and the weights have the same names and shapes. A
    safetensors file is kept before a torch file, and one that can be read before one that cannot.
    """
    if len({candidate.relative[candidate.relative.rfind(".") :] for candidate in candidates}) < 2:
        return list(candidates), []
    beside: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        beside[without_format(candidate.relative)].append(candidate)
    copies: dict[str, Skipped] = {}
    for group in beside.values():
        kept, *others = sorted(group, key=_preference)
        for other in others:
            if _is_copy(other, kept, models):
                copies[other.relative] = Skipped(
                    printable(other.relative),
                    "the same weights lie beside it in another format, according to its name",
                )
    return [each for each in candidates if each.relative not in copies], list(copies.values())


def without_format(path: str) -> str:
    """The path of a file, or its pattern, without what only says its format."""
    folder, slash, file = path.removesuffix(INDEX_SUFFIX).rpartition("/")
    if file in _OTHER_FRAMEWORK:
        return f"{folder}{slash}{_OTHER_FRAMEWORK[file]}"
    stem = file[: len(file) - len(known_suffix(file))]
    return f"{folder}{slash}{_SAME_FILE.get(stem, stem)}"


def _preference(candidate: Candidate) -> tuple[bool, int, str]:
    relative = candidate.relative.removesuffix(INDEX_SUFFIX)
    format_ = next((i for i, end in enumerate(_FORMATS) if relative.endswith(end)), len(_FORMATS))
    return not candidate.parts, format_, candidate.relative


def _is_copy(candidate: Candidate, kept: Candidate, models: Models) -> bool:
    if candidate.relative.rpartition("/")[2] in _OTHER_FRAMEWORK:
        return True
    if not candidate.parts:
        return bool(kept.parts)
    formats = {part.reader.name for part in (*candidate.parts, *kept.parts)}
    return len(formats) > 1 and models.weights(candidate) == models.weights(kept)
