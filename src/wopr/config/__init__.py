"""Settings, the files they come from, and the points at which tests crash the process."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    """Give ``Settings`` where it used to be; who wants a part of this room loads no more of it."""
    if name == "Settings":
        from wopr.config.settings import Settings

        return Settings
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
