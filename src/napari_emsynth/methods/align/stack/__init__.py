"""From pairs of sections to displacements of a whole stack.

Estimate, solve, straighten, report. Knows methods by their protocol only.
"""
