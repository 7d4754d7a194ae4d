"""A result on disk: the store, the summary and the page, each written whole."""
