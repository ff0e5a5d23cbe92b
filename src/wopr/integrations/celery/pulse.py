"""Signs of life of a function that runs in a Celery worker, and what it is told meanwhile."""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from wopr.domain.guarded import safe_text
from wopr.executors.context import CurrentTask
from wopr.integrations.celery.mailbox import Mailbox

log = logging.getLogger("wopr.celery")

BEATS = 3
"""Signs of life in one lease."""
LOOK_SECONDS = 1.0
"""How often a function is looked after that may have to stop."""
REPORT_SECONDS = 0.5
"""Progress is passed on at most so often."""


class Pulse:
    """Gives signs of life for a ``with`` block: the first before it, the others in a thread.

    Args:
        mailbox: where the queue's process looks for them.
        id: of the message.
        attempt: of the attempt, whichever message it is.
        lease: seconds after which a silent worker counts as dead.
    """

    def __init__(self, mailbox: Mailbox, id: str, attempt: str, lease: float) -> None:
        self._mailbox = mailbox
        self._id = id
        self._attempt = attempt
        self._every = lease / BEATS
        self._beat = 0
        self._report: list[Any] | None = None
        self._changed = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, name="wopr-pulse", daemon=True)
        self._task: CurrentTask | None = None
        self._where = f"{socket.gethostname()}:{os.getpid()}"

    def watch(self, task: CurrentTask) -> None:
        """Tell a task once it is to stop."""
        self._task = task

    def progress(
        self, task: CurrentTask, percent: float, message: str, data: Mapping[str, Any] | None
    ) -> None:
        """Pass on soon what the function reports."""
        self._report, self._changed = [percent, message, data], True

    def __enter__(self) -> Self:
        self._tell()
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        if self._changed:
            self._quietly()

    def _go_on(self) -> None:
        step = min(LOOK_SECONDS, REPORT_SECONDS, self._every)
        steps, looks = 0, max(1, round(LOOK_SECONDS / step))
        beats = max(1, int(self._every / step))
        while not self._over.wait(step):
            steps += 1
            if self._changed or steps % beats == 0:
                self._quietly()
            if steps % looks == 0:
                self._look()

    def _quietly(self) -> None:
        try:
            self._tell()
        except Exception as error:  # noqa: BLE001 - the backend is away; the next sign may arrive
            log.warning("A sign of life of %s could not be left: %s", self._id, safe_text(error))

    def _tell(self) -> None:
        self._changed = False
        self._beat += 1
        word = {"beat": self._beat, "where": self._where, "report": self._report}
        self._mailbox.begun(self._id, json.dumps(word))

    def _look(self) -> None:
        task = self._task
        if task is None or task.cancelled:
            return
        try:
            if self._mailbox.stopped(self._id) or self._mailbox.stopped(self._attempt):
                task.cancel()
        except Exception as error:  # noqa: BLE001 - the backend is away; it is asked again
            log.warning("Whether %s is to stop can't be asked: %s", self._id, safe_text(error))
