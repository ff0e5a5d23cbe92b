"""How many bytes may be where: as many as were found to be right, or fewer with less memory."""

from __future__ import annotations

ENOUGH = 200_000_000
"""Bytes that DuckDB may have by default: with so many, all others are as large as is of use."""


def in_proportion(most: int, memory: int) -> int:
    """Return how many of at most so many bytes to use where DuckDB may have ``memory``."""
    return max(1, most * min(memory, ENOUGH) // ENOUGH)
