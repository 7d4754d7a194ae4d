"""The page: everything inline, nothing fetched."""
