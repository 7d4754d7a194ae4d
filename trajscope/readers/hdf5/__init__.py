"""HDF5 files, without following a link out of them."""
