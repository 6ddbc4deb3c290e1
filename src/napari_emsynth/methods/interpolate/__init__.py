"""Interpolation: missing and damaged sections, synthesised from their neighbours."""
