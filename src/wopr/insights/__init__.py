"""Reads for people: why a task stands where it stands, counts, history, SQL."""
