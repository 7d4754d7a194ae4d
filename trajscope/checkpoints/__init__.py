"""Which files are a checkpoint, which checkpoints a run, which step each has, which tensors are weights."""
