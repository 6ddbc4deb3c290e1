"""Displacement fields: what they are, how they combine, and what moves along with them.

Conventions: a field belongs to a volume [z, y, x]; displacements are (dy, dx) in px of that volume's sections, pull:
``aligned_z(p) = z(p + u_z(p))``. Fields move pixels within their section, never from one section to another.
"""

from napari_emsynth.fields.algebra import compose, inverse, jacobian
from napari_emsynth.fields.apply import moved, outside
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.fit import fitted
from napari_emsynth.fields.points import moved_outline, moved_points

__all__ = [
    "Displacement",
    "compose",
    "fitted",
    "inverse",
    "jacobian",
    "moved",
    "moved_outline",
    "moved_points",
    "outside",
]
