"""Times and durations as people read them; the same everywhere."""

from __future__ import annotations

from datetime import UTC, datetime


def local(moment: datetime | None) -> str:
    """Return a time as the clock on the wall shows it here, with its offset, to the second."""
    if moment is None:
        return ""
    aware = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return aware.astimezone().isoformat(sep=" ", timespec="seconds")


def age(seconds: float | None) -> str:
    """Return a duration in its largest two units: ``3 h 20 min``."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes = int(seconds // 60)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    if minutes < 48 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    return f"{minutes // 1440} d {minutes % 1440 // 60} h"


def counted(number: int, one: str, more: str | None = None) -> str:
    """Return a number with its word: ``1 task``, ``2,000 tasks``."""
    return f"{number:,} {one if number == 1 else more or one + 's'}"


def size(number: float) -> str:
    """Return a number of bytes in its largest unit: ``1.5 GB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "bytes" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
