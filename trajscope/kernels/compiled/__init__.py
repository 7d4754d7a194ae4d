"""Transforms of many short series side by side, as machine code for the processor at hand."""
