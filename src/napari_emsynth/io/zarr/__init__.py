"""Zarr arrays and OME-Zarr: reading at full resolution (read), and writing block by block (write)."""
