"""Files to candidates: each file for itself, the shards of one model together."""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from trajscope.checkpoints.base import Candidate, CheckpointPart, FoundFile
from trajscope.checkpoints.names import read_name
from trajscope.checkpoints.scan import INDEX_SUFFIX, Scan, known_suffix
from trajscope.errors import CheckpointError, printable
from trajscope.readers import read_file
from trajscope.readers.files import beginning

# The index of a model with 100,000 tensors has 10 MB.
_MAX_INDEX_BYTES = 64 << 20
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
    return candidates


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
    relative = index.relative[: -len(INDEX_SUFFIX)]
    folder = PurePosixPath(relative).parent
    name = read_name(relative, known_suffix(relative))
    members: list[str] = []
    try:
        weight_map = _read_weight_map(index)
        shards = sorted(set(weight_map.values()))
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
            _restricted(_shard(by_path[member]), [n for n, s in weight_map.items() if s == shard])
            for member, shard in zip(members, shards, strict=True)
        ]
    except CheckpointError as error:
        return Candidate(index.path, index.relative, name, damage=str(error)), members
    return Candidate(index.path.parent, index.relative, name, tuple(parts)), members


def _read_weight_map(index: FoundFile) -> dict[str, str]:
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
    if (
        not isinstance(weight_map, dict)
        or not weight_map
        or not all(isinstance(shard, str) and shard for shard in weight_map.values())
    ):
        raise CheckpointError(
            f"{printable(index.path)} is not an index of shards: expected a JSON object whose "
            "'weight_map' names a file for every tensor. Leave it out with --exclude."
        )
    return weight_map


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
