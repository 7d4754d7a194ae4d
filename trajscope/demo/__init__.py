"""Real digits and a small trainer, so that the whole route runs out of the box."""
