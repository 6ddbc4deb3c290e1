"""Li & Fan 2017.

A multi-resolution registration network, trained without a truth. What another method shares sits a folder up.
"""
