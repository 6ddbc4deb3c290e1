"""Upsampling along z: thinner sections, synthesised between the acquired ones."""
