"""How bad it is what people are told."""

from __future__ import annotations

from enum import Enum


class NotificationLevel(str, Enum):
    """How bad it is. The values are what is stored."""

    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"

    __str__ = str.__str__

    @property
    def rank(self) -> int:
        """0 for info to 3 for critical."""
        return _ORDER.index(self)


_ORDER = list(NotificationLevel)
