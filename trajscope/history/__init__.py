"""Weights that an analysis read, and what a watcher knows of a run, kept beside the report."""
