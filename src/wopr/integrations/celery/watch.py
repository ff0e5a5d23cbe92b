"""One thread that looks what became of the calls on the way, and one that posts."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Protocol

from wopr.domain.clock import Clock
from wopr.domain.guarded import safe_text, type_name
from wopr.integrations.celery.mailbox import NOTHING, Mailbox, Word

log = logging.getLogger("wopr.celery")

IDLE_SECONDS = 10.0
"""A thread without anything to do ends after so long."""
FASTEST, SLOWEST, GROWTH = 0.005, 0.25, 1.5
"""Seconds between two looks: few after something has changed, more and more while nothing does."""


class Watched(Protocol):
    """A call that is looked for."""

    id: str

    def seen(self, word: Word, now: float) -> bool:
        """Take what is known of it; whether there is anything new."""
        ...

    def excuse(self, now: float) -> None:
        """Count no silence up to now: nobody could look."""
        ...

    def broken(self, error: Exception) -> None:
        """End: what is known of it can't be read."""
        ...

    @property
    def over(self) -> bool:
        """Whether nobody wants to know any more."""
        ...


class Watch:
    """Looks for word of calls as long as there are any."""

    def __init__(self, mailbox: Mailbox, clock: Clock) -> None:
        self._mailbox = mailbox
        self._clock = clock
        self._calls: dict[str, Watched] = {}
        self._changed = threading.Condition()
        self._never = threading.Event()
        self._running = False
        self._wait = FASTEST
        self._blind = False

    def add(self, call: Watched) -> None:
        """Look for a call from now on, until it is over."""
        with self._changed:
            self._calls[call.id] = call
            self._wait = FASTEST
            self._changed.notify()
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="wopr-celery-watch", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._calls and not self._changed.wait_for(
                    lambda: bool(self._calls), IDLE_SECONDS
                ):
                    self._running = False
                    return
                calls = list(self._calls.values())
            began = self._clock.monotonic()
            news = self._look(calls)
            spent = self._clock.monotonic() - began
            with self._changed:
                for call in calls:
                    if call.over:
                        self._calls.pop(call.id, None)
                self._wait = FASTEST if news else min(self._wait * GROWTH, SLOWEST)
                self._changed.wait(max(self._wait, spent))
            self._never.wait(FASTEST)  # however many are added

    def _look(self, calls: list[Watched]) -> bool:
        try:
            words = self._mailbox.look([call.id for call in calls])
        except Exception as error:  # noqa: BLE001 - whatever a backend raises while it is away
            if not self._blind:
                log.warning(
                    "The result backend of Celery can't be asked (%s: %s). Calls go on there; "
                    "what became of them is looked for again and again.",
                    type_name(error),
                    safe_text(error),
                )
            self._blind = True
            return False
        now = self._clock.monotonic()
        if self._blind:
            self._blind = False
            log.info("The result backend of Celery answers again.")
            for call in calls:
                call.excuse(now)
        news = [self._tell(call, words.get(call.id, NOTHING), now) for call in calls]
        return any(news)

    @staticmethod
    def _tell(call: Watched, word: Word, now: float) -> bool:
        try:
            return call.seen(word, now)
        except Exception as error:  # noqa: BLE001 - whatever a worker left; the others go on
            call.broken(error)
            return True


class Post:
    """Does what may block, in a thread of its own, one after the other."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._lock = threading.Lock()
        self._running = False

    def put(self, job: Callable[[], None]) -> None:
        """Have something done soon; it tells of its own errors."""
        with self._lock:
            self._jobs.put(job)
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="wopr-celery-post", daemon=True).start()

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=IDLE_SECONDS)
            except Empty:
                with self._lock:
                    if self._jobs.empty():
                        self._running = False
                        return
                continue
            try:
                job()
            except Exception:
                log.exception("Something could not be sent to the Celery workers")
