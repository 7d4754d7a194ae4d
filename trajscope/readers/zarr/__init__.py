"""Zarr stores, on their own metadata only where it is safe."""
