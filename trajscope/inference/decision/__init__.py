"""The order of the tests, and how their p-values lead to a verdict."""
