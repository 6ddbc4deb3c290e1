"""The default.

Constrained displacements that a network proposes and a polish makes exact. Other methods of the task may not import it.
"""
