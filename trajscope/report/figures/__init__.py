"""The figures: one file a figure, each a record; `catalogue` lists them."""
