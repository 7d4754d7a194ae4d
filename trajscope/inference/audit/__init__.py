"""What is wrong with the checkpoints of a run: facts and outliers, from the sums of its pass."""
