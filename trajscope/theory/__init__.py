"""The theory of the steady state of SGD near a minimum, held against what a run does."""
