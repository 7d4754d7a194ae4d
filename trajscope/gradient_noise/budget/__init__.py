"""Measured increments against those that the gradients' noise would make."""
