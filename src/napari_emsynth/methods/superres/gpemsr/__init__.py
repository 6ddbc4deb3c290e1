"""GPEMSR.

VQGAN prior, latent indexer, optical flow and reconstruction, a stage a file, and the recipe of their training.
"""
