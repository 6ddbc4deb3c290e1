"""The default: the fitted filter as base, a residual U-Net on top, and the recipe of its training."""
