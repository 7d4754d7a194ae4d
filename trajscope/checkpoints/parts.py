"""Files to candidates: each file for itself, the shards of one model together."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from trajscope.checkpoints.base import Candidate, CheckpointPart, FoundFile
from trajscope.checkpoints.file_kinds import INDEX_SUFFIX, KERAS_INDEX, known_suffix
from trajscope.checkpoints.names import read_name
from trajscope.checkpoints.scan import Scan
from trajscope.errors import CheckpointError, printable
from trajscope.readers import read_file
from trajscope.readers.base import TensorSpec
from trajscope.readers.files import beginning

# The index of a model with 100,000 tensors has 10 MB.
_MAX_INDEX_BYTES = 64 << 20
# Under this name each file says at which offsets its slices of tensors begin.
_SLICED = "DCP_SHARDING_INFO"
_SHARD = re.compile(r"(?P<stem>.*)-\d{1,6}-of-(?P<total>\d{1,6})", re.ASCII)


def find_candidates(found: Scan) -> list[Candidate]:
    """Every set of files that may be one checkpoint, with its header or with what is wrong.

    Only headers are read.
    """
    by_path = {file.relative: file for file in found.files}
    candidates = []
    used: set[str] = set()
    for index in found.indexes:
        candidate, members = _by_index(index, by_path)
        candidates.append(candidate)
        used.update(members)
    rest = [file for file in found.files if file.relative not in used]
    shards: dict[tuple[str, str, str], list[FoundFile]] = {}
    for file in rest:
        suffix = known_suffix(file.relative)
        stem = file.relative[: len(file.relative) - len(suffix)]
        match = _SHARD.fullmatch(stem) if "-of-" in stem else None
        if match is None:
            single = _single(file, suffix)
            if single is None:
                found.skip(file.relative, "not a checkpoint (contents do not match its extension)")
            else:
                candidates.append(single)
        else:
            shards.setdefault((match["stem"], match["total"], suffix), []).append(file)
    indexed = {index.relative[: -len(INDEX_SUFFIX)] for index in found.indexes}
    candidates.extend(
        _without_index(stem, int(total), suffix, files)
        for (stem, total, suffix), files in shards.items()
        if stem + suffix not in indexed
    )
    return _without_slices(candidates)


def _without_slices(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates, those of a folder made a damaged one if they are slices of tensors.

    torch.distributed.checkpoint leaves a file for each rank where it writes safetensors without
    consolidating them; the tensors have their full names in each.
    """
    folders: dict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        if any(_SLICED in part.header.metadata for part in candidate.parts):
            folders[candidate.relative.rpartition("/")[0]].append(candidate)
    sliced = {
        folder: members for folder, members in folders.items() if any(map(_is_slice, members))
    }
    left = [each for members in sliced.values() for each in members]
    refused = [_refused(folder, members[0]) for folder, members in sliced.items()]
    return [each for each in candidates if each not in left] + refused if left else candidates


def _is_slice(candidate: Candidate) -> bool:
    """Whether a part begins inside a tensor."""
    for part in candidate.parts:
        try:
            places = json.loads(str(part.header.metadata.get(_SLICED, "{}")))
        except (ValueError, RecursionError):
            return True
        if not isinstance(places, dict):
            return True
        offsets = [each.get("saved_offsets") for each in places.values() if isinstance(each, dict)]
        if any(not isinstance(each, list) or any(each) for each in offsets):
            return True
    return False


def _refused(folder: str, member: Candidate) -> Candidate:
    own = member.parts[0].file.path.parent
    levels = folder.split("/") if folder else []
    root = own.parents[len(levels) - 1] if levels else own
    source = printable(own, limit=1000)
    target = printable("/".join([f"{root}-whole", *levels]), limit=1000)
    command = (
        'python -c "import glob, os; from safetensors import safe_open; from torch.distributed.'
        "checkpoint._consolidate_hf_safetensors import consolidate_safetensors_files as join; "
        f"os.makedirs('{target}'); join('{source}', '{target}', {{name: 1 for file in "
        f"glob.glob('{source}/*.safetensors') for name in safe_open(file, 'pt').keys()}})\""
    )
    damage = (
        f"{printable(own)} holds slices of tensors, as each rank saved its own, which trajscope "
        "does not join. Save with enable_consolidation=True, or join them in another folder: "
        f"{command}"
    )
    return Candidate(own, folder, read_name(folder, ""), damage=damage)


def _single(file: FoundFile, suffix: str) -> Candidate | None:
    """The candidate of one file; `None` where its ending says little and its content is another."""
    name = read_name(file.relative, suffix)
    try:
        read = read_file(file.path)
        if read is None:
            return None
        part = CheckpointPart(file, *read)
    except CheckpointError as error:
        return Candidate(file.path, file.relative, name, damage=str(error))
    return Candidate(file.path, file.relative, name, (part,))


def _shard(file: FoundFile) -> CheckpointPart:
    read = read_file(file.path)
    if read is None:
        raise CheckpointError(
            f"{printable(file.path)} is expected to be a shard of a checkpoint, but its contents "
            "are not a checkpoint. Leave it out with --exclude."
        )
    return CheckpointPart(file, *read)


def _by_index(index: FoundFile, by_path: Mapping[str, FoundFile]) -> tuple[Candidate, list[str]]:
    """The checkpoint that an index of shards describes, and the files that belong to it."""
    of_keras = index.relative.endswith(KERAS_INDEX)
    relative = index.relative.removesuffix(INDEX_SUFFIX)
    if of_keras:
        relative = index.relative.removesuffix(".json") + ".h5"
    folder = PurePosixPath(relative).parent
    name = read_name(relative, known_suffix(relative))
    members: list[str] = []
    try:
        weight_map = _read_weight_map(index)
        shards = sorted({shard for own in weight_map.values() for shard in own})
        for shard in shards:
            if PurePosixPath(shard).is_absolute() or ".." in PurePosixPath(shard).parts:
                raise CheckpointError(
                    f"{printable(index.path)} names the shard {printable(shard)!r}; a file in its "
                    "own folder is expected. The index is not followed; leave it out with "
                    "--exclude."
                )
        members = [str(folder / shard) for shard in shards]
        missing = [member for member in members if member not in by_path]
        if missing:
            raise CheckpointError(
                f"{printable(index.path)} needs {len(shards)} shards, but {len(missing)} are "
                f"missing or unreadable, first {printable(missing[0])}. Copy them, or leave it "
                "out with --exclude."
            )
        parts = [
            (_below if of_keras else _restricted)(
                _shard(by_path[member]), [name for name, own in weight_map.items() if shard in own]
            )
            for member, shard in zip(members, shards, strict=True)
        ]
    except CheckpointError as error:
        if of_keras:
            # They are slices of a model whatever is wrong with the index.
            own = re.compile(re.escape(relative[: -len(".weights.h5")]) + r"_\d{5}\.weights\.h5")
            members.extend(filter(own.fullmatch, by_path))
        return Candidate(index.path, index.relative, name, damage=str(error)), members
    return Candidate(index.path.parent, index.relative, name, tuple(parts)), members


def _read_weight_map(index: FoundFile) -> dict[str, list[str]]:
    """The shards that hold each tensor or, in an index of Keras's, each group of them."""
    if index.size > _MAX_INDEX_BYTES:
        raise CheckpointError(
            f"{printable(index.path)} has {index.size:,} bytes; an index of shards has at most "
            f"{_MAX_INDEX_BYTES:,}. Leave it out with --exclude."
        )
    try:
        content = json.loads(beginning(index.path, _MAX_INDEX_BYTES))
    except (ValueError, RecursionError):
        content = None
    weight_map = content.get("weight_map") if isinstance(content, dict) else None
    shards = dict(weight_map) if isinstance(weight_map, dict) else {}
    if index.relative.endswith(KERAS_INDEX):
        of_groups = {name: own for name, own in shards.items() if isinstance(own, list) and own}
        valid = len(of_groups) == len(shards)
    else:
        of_groups, valid = {name: [own] for name, own in shards.items()}, True
    names = [shard for own in of_groups.values() for shard in own]
    if not shards or not valid or not all(isinstance(shard, str) and shard for shard in names):
        raise CheckpointError(
            f"{printable(index.path)} is not an index of shards: expected a JSON object whose "
            "'weight_map' names a file for every tensor. Leave it out with --exclude."
        )
    return of_groups


def _restricted(part: CheckpointPart, names: Iterable[str]) -> CheckpointPart:
    """The part with only these tensors of it."""
    tensors = part.header.tensors
    wanted = set(names)
    missing = sorted(wanted - set(tensors))
    if missing:
        raise CheckpointError(
            f"{printable(part.file.path)} is expected to contain the tensor "
            f"{printable(missing[0])!r} according to its index, but lacks it. Were shards of two "
            "checkpoints mixed? Leave it out with --exclude."
        )
    kept = {name: spec for name, spec in tensors.items() if name in wanted}
    return replace(part, header=replace(part.header, tensors=kept))


def _below(part: CheckpointPart, groups: Iterable[str]) -> CheckpointPart:
    """The part with only the tensors below these groups, each of which has some."""
    tensors = part.header.tensors
    kept: dict[str, TensorSpec] = {}
    for group in groups:
        own = {name: spec for name, spec in tensors.items() if f"/{name}".startswith(f"{group}/")}
        if not own:
            return _restricted(part, [group])  # which says what is missing
        kept |= own
    return replace(part, header=replace(part.header, tensors=kept))


def _without_index(stem: str, total: int, suffix: str, files: list[FoundFile]) -> Candidate:
    """The checkpoint made of all shards ``stem-i-of-total``, where no index lists them."""
    relative = stem + suffix
    name = read_name(relative, suffix)
    first = files[0]
    if len(files) != total:
        damage = (
            f"{printable(first.path)} is one of {total} shards, but only {len(files)} exist. Copy "
            "the others, or leave it out with --exclude."
        )
        return Candidate(first.path, first.relative, name, damage=damage)
    try:
        parts = tuple(_shard(file) for file in files)
    except CheckpointError as error:
        return Candidate(first.path, first.relative, name, damage=str(error))
    return Candidate(Path(first.path).parent, relative, name, parts)
