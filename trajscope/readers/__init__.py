"""Formats: bytes of one file, or of one store, to named tensors."""
