"""The covariance of per-sample gradients at chosen checkpoints: its spectrum, and its budget."""
