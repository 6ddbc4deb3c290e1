"""Lateral super-resolution: finer pixels, of which the coarse ones are the means."""
