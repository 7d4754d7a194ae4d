"""Which files are a checkpoint, which checkpoints a run, which step, which tensors are weights."""
