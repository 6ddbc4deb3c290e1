"""Building blocks shared by architectures: convolutions, residual units, warps, pyramids."""
