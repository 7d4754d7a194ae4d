"""A finished result as a screen, a page and a store; nothing is computed here."""
