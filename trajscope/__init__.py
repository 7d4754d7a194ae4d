"""Open checkpoints as a trajectory and learn what it does."""
