"""The routes from top to bottom: one run analysed, several compared."""
