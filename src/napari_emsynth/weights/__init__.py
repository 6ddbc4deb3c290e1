"""Trained weights: bundled ones, the user's own, and the cards that describe them."""
