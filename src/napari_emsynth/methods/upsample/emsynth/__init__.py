"""The default: an expert along z and two along reslices, fused; and the recipe of their training."""
