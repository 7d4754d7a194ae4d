"""What checkpoints alone cannot say, made usable: model, data, loss, and gradients by sample."""
