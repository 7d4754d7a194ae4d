"""Formulas on arrays: NumPy in, NumPy out."""
