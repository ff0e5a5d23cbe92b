"""At most one live task per unique key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from wopr.domain.adding import key_is_taken
from wopr.domain.errors import UniqueKeyConflictError
from wopr.domain.newtask import NewTask, OnConflict
from wopr.domain.task import TaskRecord


class UniqueKeys:
    """Which live task has which key. Used on the event loop only, so nothing races."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def load(self, owners: dict[str, str]) -> None:
        """Take over the keys of the live tasks in the storage."""
        self._owners = owners

    def __contains__(self, key: str | None) -> bool:
        return key in self._owners

    def take(self, record: TaskRecord) -> None:
        """Give a new task its key; :meth:`conflict` has found it free."""
        if record.unique_key is not None:
            self._owners[record.unique_key] = record.id

    def free(self, record: TaskRecord) -> None:
        """Give the key of a task that is not live free."""
        key = record.unique_key
        if key is not None and self._owners.get(key) == record.id:
            del self._owners[key]

    def retake(self, record: TaskRecord) -> None:
        """Give a task that is put back in its queue its key again.

        Raises:
            UniqueKeyConflictError: another task has it now.
        """
        key = record.unique_key
        if key is None:
            return
        owner = self._owners.setdefault(key, record.id)
        if owner != record.id:
            raise UniqueKeyConflictError(
                f"Task {record.id} can't be retried: task {owner} is live and has the same unique "
                f"key {key!r}."
            )

    async def conflict(
        self,
        new: NewTask,
        flush: Callable[[], Awaitable[None]],
        replace: Callable[[str], Awaitable[bool]],
    ) -> str | None:
        """Return the id of the live task that keeps the key; ``None`` once the key is free.

        Raises:
            UniqueKeyConflictError: it is taken and the call asked to raise.
        """
        key = new.unique_key
        if key is None:
            return None
        while (known := self._owners.get(key)) is not None:
            if new.on_conflict is OnConflict.SKIP:
                await flush()  # an id is told only when it is on disk
                if self._owners.get(key) == known:
                    return known
            elif new.on_conflict is OnConflict.RAISE:
                raise key_is_taken(known, key)
            elif not await replace(known):
                await flush()
        return None
