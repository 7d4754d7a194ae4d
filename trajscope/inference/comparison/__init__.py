"""Whether runs differ: what is estimated of each from blocks, and what tells them apart."""
