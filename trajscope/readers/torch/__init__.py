"""What torch writes, read as data: nothing a file names is looked up or called."""
