"""What a backup, an export, and putting a backup back, came to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Backup:
    """One complete file, of one moment."""

    path: Path
    moment: datetime
    """Every change acknowledged until then is in it, and none that came later; aware, UTC."""
    bytes: int
    tasks: int
    transitions: int
    schema: str
    """Its revision."""
    verified: bool
    """Whether it was opened, and a doctor found nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A database that was put back."""

    path: Path
    source: Path
    tasks: int
    transitions: int
    moved: tuple[Path, ...]
    """Where the files are now that were in its place."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Export:
    """Parquet files of one moment, in one directory."""

    path: Path
    moment: datetime
    """Every change acknowledged until then is in it, and none that came later; aware, UTC."""
    bytes: int
    tasks: int
    transitions: int
    logs: int
