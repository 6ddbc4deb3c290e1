"""The dock that writes layers to files."""
