"""Files to checkpoints: those of one numbered folder together, where they make up one model."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import PurePosixPath

from trajscope.checkpoints.base import Candidate, CheckpointPart
from trajscope.checkpoints.names import (
    BATCH,
    CHECKPOINT,
    EPOCH,
    METRIC,
    STEP,
    counts_steps,
    read_name,
)
from trajscope.errors import printable
from trajscope.readers.base import SLICES, widened_dtype
from trajscope.readers.zarr.group import ANCHORS

ONE_ARRAY = ".npy"
"""Ending of files that hold one array without a name, so that a folder of them is a checkpoint."""
BARE = "tensor"
"""What the tensor of a torch file is called that holds nothing else."""

_OF_A_FILE = frozenset((STEP, BATCH, EPOCH, CHECKPOINT, METRIC))
_RANK = re.compile(r"(?:^|[-_./])(?P<group>[a-z]*_?)rank[-_]?(?P<number>\d{1,5})", re.ASCII)
# A stage of DeepSpeed's pipeline writes a file for each layer and rank, with the same names in all.
_LAYER = re.compile(r"(?P<layer>layer_\d+)-model_(?P<rank>\d+)-model_states\.pt", re.ASCII)
_ZERO_3 = re.compile(r"(?:^|/)zero_pp_rank_\d+_mp_rank_\d+_model_states\.pt$")
_MERGE = {
    "mp_": "For DeepSpeed run its zero_to_fp32.py, for Megatron its checkpoint converter to one "
    "rank, on each checkpoint.",
    "": (
        "Save a full state dict from one rank. If every rank wrote the whole model, keep one file "
        "with --exclude."
    ),
}


@dataclass(frozen=True)
class _Member:
    """A candidate below a numbered folder."""

    folder: str
    rest: PurePosixPath
    candidate: Candidate


def join_folders(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, those that are files of one checkpoint made one.

    The files below a folder that is numbered like a step ("step_10", "checkpoint-10") are one
    checkpoint if they are single arrays (.npy), lie in different folders below it, or share no
    tensor name; their names then begin with the folder below, or the array's file. Files beside
    one another with the same tensors are different models and stay apart. A folder that lacks a
    file which most have is damaged, since it may still be being written. Slices of a model that
    several ranks wrote are refused.
    """
    families: dict[tuple[str, str], list[_Member]] = defaultdict(list)
    alone: list[Candidate] = []
    for candidate in candidates:
        member = _member(candidate)
        if member is None:
            alone.append(candidate)
        else:
            name = read_name(member.folder, "")
            families[name.place, name.pattern].append(member)
    joined = [each for family in families.values() for each in _joined(family)]
    return sorted([*alone, *joined], key=lambda candidate: candidate.relative)


def _member(candidate: Candidate) -> _Member | None:
    """The candidate by its place below the innermost numbered folder; `None` if there is none."""
    *folders, file = parts = candidate.relative.split("/")
    is_array = _is_array(candidate)
    numbered = [
        depth
        for depth, folder in enumerate(folders, 1)
        if counts_steps(folder)
        or (is_array and depth == len(folders) and read_name(folder, "").texts)
    ]
    if not numbered:
        return None
    if is_array or file in ANCHORS:
        # "step_10/layers/0/weight.npy": bare numbers below are those of layers.
        spoken = [depth for depth in numbered if not folders[depth - 1].isdigit()]
        numbered = spoken or numbered[:1]
    rest = PurePosixPath(*parts[numbered[-1] :])
    # "epoch_1/step_10.pt": the file is numbered itself.
    if any(slot.kind in _OF_A_FILE for slot in read_name(rest.stem, "").slots):
        return None
    return _Member("/".join(parts[: numbered[-1]]), rest, candidate)


def _is_array(candidate: Candidate) -> bool:
    """Whether a file holds one array, whose name is that of the file."""
    parts = candidate.parts
    bare = len(parts) == 1 and parts[0].header.tensors.keys() == {BARE}
    return bare or candidate.relative.endswith(ONE_ARRAY)


def _joined(family: Sequence[_Member]) -> list[Candidate]:
    """The candidates of one pattern of folders."""
    by_folder: dict[str, list[_Member]] = defaultdict(list)
    for member in family:
        by_folder[member.folder].append(member)
    refused = _slices(by_folder)
    if refused:
        return refused
    counts = Counter(member.rest for member in family)
    usual = sorted(
        (rest for rest, count in counts.items() if 2 * count > len(by_folder)),
        key=lambda rest: (len(rest.parts), str(rest)),
    )
    arrays = {member.rest for member in family if _is_array(member.candidate)}.intersection(usual)
    if len(usual) < 2 and not arrays:
        return [member.candidate for member in family]
    complete = next((each for each in by_folder.values() if _is_whole(each, usual)), None)
    if complete is None or not _belong_together(complete, usual):
        return [member.candidate for member in family]
    # A run may change its format: folders of other files altogether are a family of their own.
    others = [
        member
        for members in by_folder.values()
        if not any(member.rest in usual for member in members)
        for member in members
    ]
    result = _joined(others) if others else []
    apart = {member.folder for member in others}
    for folder, members in by_folder.items():
        if folder in apart:
            continue
        result.append(_one(folder, members, usual))
        result.extend(member.candidate for member in members if member.rest not in usual)
    return result


def _is_whole(members: Iterable[_Member], usual: Sequence[PurePosixPath]) -> bool:
    readable = {member.rest for member in members if member.candidate.parts}
    return readable.issuperset(usual)


def _belong_together(members: Iterable[_Member], usual: Sequence[PurePosixPath]) -> bool:
    """Whether files that share a folder are parts of one model and not several models."""
    beside: dict[PurePosixPath, list[set[str]]] = defaultdict(list)
    for member in members:
        is_layer = _LAYER.fullmatch(member.rest.name) is not None
        if member.rest in usual and not (is_layer or _is_array(member.candidate)):
            names = {name for part in member.candidate.parts for name in part.header.tensors}
            beside[member.rest.parent].append(names)
    return all(
        first.isdisjoint(second)
        for group in beside.values()
        for first, second in combinations(group, 2)
    )


def _one(folder: str, members: Sequence[_Member], usual: Sequence[PurePosixPath]) -> Candidate:
    """The checkpoint in one folder."""
    found = {member.rest: member.candidate for member in members}
    own = PurePosixPath(folder)
    path = members[0].candidate.path
    for _ in range(len(members[0].rest.parts)):
        path = path.parent
    whole = Candidate(path, folder, read_name(folder, ""))
    missing = [rest for rest in usual if rest not in found]
    damaged = [each.damage for rest, each in found.items() if rest in usual and not each.parts]
    if missing:
        damaged.append(
            f"{printable(folder)} lacks {printable(missing[0])}, which the other checkpoints "
            "have. It may be unfinished; wait, or leave it out with --exclude."
        )
    if damaged:
        return replace(whole, damage=damaged[0])
    listed = [(rest, part) for rest in usual for part in found[rest].parts]
    above = _common_folder([rest for rest, part in listed if part.header.tensors] or usual)
    # A file without tensors may know the step.
    parts = tuple(
        _prefixed(part, _prefix(part, own, above)) if part.header.tensors else part
        for _, part in listed
    )
    return replace(whole, parts=parts)


def _common_folder(rests: Sequence[PurePosixPath]) -> PurePosixPath:
    """The folder below the numbered one that holds all files."""
    common = rests[0].parent
    while not all(rest.is_relative_to(common) for rest in rests):
        common = common.parent
    return common


def _prefix(part: CheckpointPart, folder: PurePosixPath, above: PurePosixPath) -> str:
    below = PurePosixPath(part.file.relative).relative_to(folder / above)
    bare = below.suffix == ONE_ARRAY or part.header.tensors.keys() == {BARE}
    named = below.with_suffix("") if bare else below.parent
    if layer := _LAYER.fullmatch(below.name):
        named = below.parent / layer["layer"]
    return "" if str(named) == "." else str(named)


def _prefixed(part: CheckpointPart, prefix: str) -> CheckpointPart:
    """The part with its tensors and its metadata called by the file as well."""
    if not prefix:
        return part
    named = replace(part, prefix=prefix)
    metadata = {named.shown(name): value for name, value in part.header.metadata.items()}
    return replace(named, header=replace(part.header, metadata=metadata))


def _may_be_slice(member: _Member) -> bool:
    """Whether a file may hold a part of a model: numbers, or what cannot be read."""
    parts = member.candidate.parts
    return not parts or any(
        widened_dtype(spec.dtype) is not None or spec.original in SLICES
        for part in parts
        for spec in part.header.tensors.values()
    )


def _slices(by_folder: Mapping[str, Sequence[_Member]]) -> list[Candidate]:
    """Damaged candidates, one for each folder, if the files are slices of a model over ranks."""
    first = next(iter(by_folder.values()))
    ranks: dict[str, set[str]] = defaultdict(set)
    for member in filter(_may_be_slice, first):
        for match in _RANK.finditer(str(member.rest)):
            ranks[match["group"]].add(match["number"])
        if layer := _LAYER.fullmatch(member.rest.name):
            ranks["mp_"].add(layer["rank"])
    group = next((group for group, numbers in ranks.items() if len(numbers) > 1), None)
    zero_3 = any(_ZERO_3.search(str(member.rest)) for member in first)
    if group is None and not zero_3:
        return []
    what = f"slices of a model from {len(ranks[group])} ranks" if group is not None else ""
    what = what or "the parameters in slices (ZeRO stage 3)"
    remedy = _MERGE["mp_"] if zero_3 or (group or "").endswith("p_") else _MERGE[""]
    return [
        Candidate(
            members[0].candidate.path.parent,
            folder,
            read_name(folder, ""),
            damage=f"{printable(folder)} holds {what}, which trajscope does not merge. {remedy}",
        )
        for folder, members in by_folder.items()
    ]
