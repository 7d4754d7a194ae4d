"""A result on one screen, in lines of text."""
