"""Progress that running tasks report: shown at once, passed on now and then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from wopr.domain.masking import masked
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.executors.context import CurrentTask
from wopr.running.attempt import Attempt

STORED_EVERY = 0.25
"""Seconds."""


class Progress:
    """The reports of the tasks of one pool.

    Args:
        loop: ``touch`` is called on it.
        running: the attempts under way, by id.
        touch: takes a record whose progress is to be stored.
        mask: takes the secrets out of messages; ``str`` leaves them, and those in data.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        running: Mapping[str, Attempt],
        touch: Callable[[TaskRecord], None],
        mask: Callable[[str], str],
    ) -> None:
        self._loop = loop
        self._running = running
        self._touch = touch
        self._mask = mask

    def report(
        self,
        context: CurrentTask,
        percent: float,
        message: str,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Show progress now; pass it on at most every :data:`STORED_EVERY` seconds.

        A thread that outlived its attempt has nothing to say any more.
        """
        attempt = self._running.get(context.id)
        if attempt is None or attempt.context is not context or not self._is_current(attempt):
            return
        attempt.record.progress = percent
        attempt.record.progress_message = self._mask(message) if message else ""
        if data is not None:
            attempt.record.progress_data = self._text(data)
        loop = self._loop
        if attempt.may_store_progress(STORED_EVERY):
            loop.call_soon_threadsafe(self._store, attempt)
        elif not attempt.progress_waits:  # the last report of a burst must not get lost
            attempt.progress_waits = True
            loop.call_soon_threadsafe(loop.call_later, STORED_EVERY, self._store, attempt)

    def _text(self, data: Mapping[str, Any]) -> str | None:
        """Return data as JSON text without secrets, which the names of its fields tell too."""
        if not data:
            return None
        return json.dumps(data if self._mask is str else masked(data))

    def _store(self, attempt: Attempt) -> None:
        attempt.progress_waits = False
        if self._is_current(attempt):
            self._touch(attempt.record)

    def _is_current(self, attempt: Attempt) -> bool:
        record = attempt.record
        return (
            self._running.get(record.id) is attempt
            and record.status is TaskStatus.STARTED
            and record.attempt == attempt.number
        )
