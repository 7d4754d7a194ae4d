"""Calibrated tests against Brownian motion and against time reversal, and the verdict."""
