"""``wopr demo``."""

from __future__ import annotations


def demo() -> None:
    """Placeholder while the rest is tried."""
