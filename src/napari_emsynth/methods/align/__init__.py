"""Alignment: sections of a roughly aligned stack, made to continue each other."""
