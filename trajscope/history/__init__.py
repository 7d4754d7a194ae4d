"""Weights that an analysis read, kept beside its report: the next one reads only new ones."""
