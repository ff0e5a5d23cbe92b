"""Talking to the process that owns the file."""
