"""Displacement fields: what they are, their algebra, what moves along with them."""
