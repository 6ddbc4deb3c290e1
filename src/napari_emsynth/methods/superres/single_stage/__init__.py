"""Five sections in, finer pixels out, without a prior; and the recipe of its training."""
