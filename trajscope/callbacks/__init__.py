"""Callbacks that log a dense trajectory from a trainer, one module for each trainer."""
