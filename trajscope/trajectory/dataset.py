"""The labelled array of the checkpoints and tensors that were chosen in a folder."""

import xarray as xr

from trajscope.checkpoints.fingerprint import checkpoint_fingerprints, fingerprint
from trajscope.checkpoints.lazy import lazy_weights
from trajscope.checkpoints.manifest import make_manifest
from trajscope.checkpoints.remote import remote_manifest
from trajscope.schema import FINGERPRINT, STEP, TENSOR
from trajscope.trajectory.listing import Listing, describe, texts

_ALONG_TENSORS = frozenset({TENSOR, "row_size", "group", "shape", "stored_dtype"})


def as_dataset(listing: Listing) -> xr.Dataset:
    """The Dataset that `open_trajectory` describes, of files that are here or behind a mirror."""
    series, weights, mirror = listing.series, listing.weights, listing.mirror
    manifest = make_manifest(series.root, weights, series.store)
    if mirror:
        manifest = remote_manifest(manifest, mirror)
    known = describe(listing)
    along_steps = {
        "path": texts(listing.told(checkpoint.path) for checkpoint in weights.checkpoints),
        FINGERPRINT: texts(checkpoint_fingerprints(weights, local=mirror is None)),
    }
    coords = {
        name: (TENSOR if name in _ALONG_TENSORS else STEP, values)
        for name, values in {**known.coords, **along_steps}.items()
    }
    return xr.Dataset(
        {"weights": lazy_weights(manifest)},
        coords=coords,
        attrs={**known.attrs, "fingerprint": fingerprint(series, weights)},
    )
