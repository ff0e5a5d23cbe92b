"""What somebody may do over HTTP."""

from __future__ import annotations

from enum import StrEnum

_RANK = {"read": 0, "operate": 1, "admin": 2}


class Role(StrEnum):
    """Each role may what those before it may."""

    READ = "read"
    """Look at everything but the arguments' secrets, which nobody sees."""
    OPERATE = "operate"
    """Enqueue, and act on tasks, categories, schedules and alerts."""
    ADMIN = "admin"
    """Ask in SQL, and what concerns the queue as a whole."""

    def allows(self, needed: Role) -> bool:
        """Say whether who has this role may do what needs another one."""
        return _RANK[self] >= _RANK[needed]
