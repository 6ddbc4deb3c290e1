"""TIFF, ImageJ TIFF and OME-TIFF: what a file says of itself and its sections (read, pages), and writing (write)."""
