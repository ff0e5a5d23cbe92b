"""Progress that running tasks report: shown at once, stored now and then."""

from __future__ import annotations

from wopr.domain.status import TaskStatus
from wopr.engine.shared import Shared
from wopr.executors.context import CurrentTask
from wopr.running.attempt import Attempt

STORED_EVERY = 0.25
"""Seconds."""


class Progress:
    """The reports of the tasks of one pool."""

    def __init__(self, shared: Shared, running: dict[str, Attempt]) -> None:
        self._shared = shared
        self._running = running

    def report(self, context: CurrentTask, percent: float, message: str) -> None:
        """Show progress now; store it at most every :data:`STORED_EVERY` seconds.

        A thread that outlived its attempt has nothing to say any more.
        """
        attempt = self._running.get(context.id)
        if attempt is None or attempt.context is not context or not self._is_current(attempt):
            return
        attempt.record.progress = percent
        attempt.record.progress_message = message
        loop = self._shared.loop
        if attempt.may_store_progress(STORED_EVERY):
            loop.call_soon_threadsafe(self._store, attempt)
        elif not attempt.progress_waits:  # the last report of a burst must not get lost
            attempt.progress_waits = True
            loop.call_soon_threadsafe(loop.call_later, STORED_EVERY, self._store, attempt)

    def _store(self, attempt: Attempt) -> None:
        attempt.progress_waits = False
        if self._is_current(attempt):
            self._shared.storage.touch(attempt.record)

    def _is_current(self, attempt: Attempt) -> bool:
        record = attempt.record
        return (
            self._running.get(record.id) is attempt
            and record.status is TaskStatus.STARTED
            and record.attempt == attempt.number
        )
