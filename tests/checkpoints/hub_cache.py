"""Caches as the library of the Hugging Face Hub lays them out on disk."""

import hashlib
from pathlib import Path

from safetensors.numpy import save


class HubCache:
    """The cache of one model, written file by file with the library's own functions.

    `links` is whether the file system has links; where it has none, snapshots hold the files.
    """

    def __init__(self, folder, *, name="models--org--net", links=True):
        self.folder = Path(folder) / name
        self.links = links
        for each in ("refs", "snapshots", "blobs"):
            (self.folder / each).mkdir(parents=True)

    def commit(self, name):
        return hashlib.sha1(f"{self.folder.name} {name}".encode()).hexdigest()

    def ref(self, revision, commit=None):
        """Name a commit, that of the revision by default."""
        from huggingface_hub.file_download import _cache_commit_hash_for_specific_revision

        commit = commit or self.commit(revision)
        _cache_commit_hash_for_specific_revision(str(self.folder), revision, commit)
        return commit

    def add(self, commit, path, content):
        """A file of a snapshot; equal contents are one blob."""
        from huggingface_hub.file_download import _create_symlink

        blob = self.folder / "blobs" / hashlib.sha256(content).hexdigest()
        pointer = self.folder / "snapshots" / commit / path
        pointer.parent.mkdir(parents=True, exist_ok=True)
        if not self.links:
            pointer.write_bytes(content)
            return pointer
        if not blob.exists():
            blob.write_bytes(content)
        _create_symlink(str(blob), str(pointer))
        return pointer

    def revision(self, name, tensors, path="model.safetensors"):
        """A revision with one file of weights, and what lies beside it."""
        commit = self.ref(name)
        self.add(commit, "config.json", b'{"architectures": []}')
        self.add(commit, path, save(tensors))
        return commit
