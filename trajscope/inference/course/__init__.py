"""Paths that move slowly while they rest about it: the noise's own time, the course, the rest."""
