"""All settings, read from the environment when a queue is built."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _is_on(value: object) -> object:
    """Read a switch: ``1 true yes on`` in any case mean on, every other text means off."""
    if isinstance(value, str):
        return value.strip().lower() in {"1", "true", "yes", "on"}
    return value


class Settings(BaseSettings):
    """Settings of a queue; each can be given as ``WOPR_TASKS_<NAME>``."""

    model_config = SettingsConfigDict(env_prefix="WOPR_TASKS_", extra="forbid", frozen=True)

    enabled: Annotated[bool, BeforeValidator(_is_on)] = False
    """Whether the queue does anything."""
    database: Path = Path("wopr_tasks.duckdb")
    """The DuckDB file; made when the queue is opened. Looking up tasks does not make one."""
    scheduler: Annotated[bool, BeforeValidator(_is_on)] = True
    """Whether the first workers of a process that owns the file start the scheduler too."""
    memory_limit: str = Field(default="200MB", pattern=r"^[0-9.]+ ?[KMGT]i?B$")
    """DuckDB's memory limit."""
    max_crashes: int = Field(default=3, ge=1)
    """A task that was running in so many deaths of the process ends FAILED."""
    window: int = Field(default=10_000, ge=10)
    """Waiting tasks kept in memory per category and priority; the rest stays on disk."""
    max_args_bytes: int = Field(default=262_144, ge=1)
    """Largest arguments of a task, as JSON."""
    max_result_bytes: int = Field(default=1_048_576, ge=1)
    """Largest result of a task, as JSON."""
    shutdown_seconds: float = Field(default=10.0, ge=0)
    """Grace time of :meth:`TaskQueue.shutdown`."""
    query_seconds: float = Field(default=30.0, gt=0)
    """Longest run of one ``queue.sql``."""
    query_rows: int = Field(default=100_000, ge=1)
    """Most rows that one ``queue.sql`` answers."""
