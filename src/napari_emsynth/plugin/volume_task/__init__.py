"""What all docks over a whole volume share.

Settings, forecast, preview, run, destination, damage. Knows none of those docks.
"""
