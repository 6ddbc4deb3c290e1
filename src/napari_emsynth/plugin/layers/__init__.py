"""napari's layers as the engine's volumes and back.

Conversion, history, overlays, pictures of results. Knows no dock.
"""
