"""One pass over the weights, and the curves that follow from it."""
