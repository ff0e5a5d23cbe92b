"""Keep what tasks log with the tasks, up to a limit per attempt.

``wopr worker`` does it by itself; ``queue.get_logs`` and ``wopr tasks logs`` read it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from weakref import WeakKeyDictionary

from wopr.domain.frames import ours
from wopr.domain.jsontext import clip
from wopr.domain.logline import LogLine
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition
from wopr.executors.context import CurrentTask, running_task
from wopr.queue.queue import TaskQueue
from wopr.service.logs import Fields, formatter, message
from wopr.service.reach import keeping_of

SAVE_SECONDS = 1.0
"""A line is handed to the storage this long after it was logged, at the latest."""
ATTEMPT_BYTES = 64 * 1024
LINE_BYTES = 16 * 1024
_OF_THE_TASK = frozenset({"task_id", "task_name", "category", "attempt"})


def keep_logs(queue: TaskQueue) -> Callable[[], None]:
    """Keep what the tasks of a queue log with them; return what ends that.

    Whatever reaches the root logger while a task runs in this process is kept: at most
    ``WOPR_TASKS_LOG_LINES`` lines and 64 KiB per attempt, without secrets. How much more
    there was is said in a last line. Lines are on disk about a second later, or when the
    attempt ends.

    Call it in the event loop that the queue runs on, in the process that has its file, or in each
    host of a queue on PostgreSQL.
    """
    most = queue.settings.log_lines
    if most == 0:
        return lambda: None
    keeper = _Keeper(queue, most)
    logging.getLogger().addHandler(keeper)
    return keeper.stop


class _Kept:
    """What one attempt has logged."""

    __slots__ = ("attempt", "count", "dropped", "lines", "size", "task_id")

    def __init__(self, task: CurrentTask) -> None:
        self.task_id = task.id
        self.attempt = task.attempt
        self.count = 0
        self.size = 0
        self.dropped: tuple[int, datetime] | None = None  # how many, and when the last one came
        self.lines: list[LogLine] = []

    def add(self, when: datetime, level: str, logger: str, text: str) -> None:
        self.count += 1
        self.size += len(text.encode())
        line = LogLine(self.task_id, self.attempt, self.count, when, level, logger, text)
        self.lines.append(line)

    def conclude(self) -> None:
        """Say how many lines are missing."""
        if self.dropped is not None:
            count, when = self.dropped
            missing = "1 more line was" if count == 1 else f"{count:,} more lines were"
            self.add(when, "WARNING", "wopr.logs", f"… {missing} not kept")


class _Keeper(logging.Handler):
    """Collects lines in whatever thread they are logged, and saves them from the event loop."""

    def __init__(self, queue: TaskQueue, most: int) -> None:
        super().__init__()
        self.setFormatter(formatter(_without_task))
        self._queue = queue
        self._most = most
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._kept: WeakKeyDictionary[CurrentTask, _Kept | None] = WeakKeyDictionary()
        self._unsaved: dict[tuple[str, int], _Kept] = {}
        self._cut: dict[tuple[str, int], tuple[_Kept, CurrentTask]] = {}  # over the limit
        self._armed = False
        self._timer: asyncio.TimerHandle | None = None
        self._unobserve: Callable[[], None] | None = None

    # -- in any thread, under the handler's lock -------------------------------

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the line, if it comes from inside a task of this queue."""
        task = running_task()
        if task is None or ours(record.name):  # what is said about it
            return
        try:
            if task not in self._kept:
                own = self._runs(task) or task.cancelled  # it may say what it leaves behind
                self._kept[task] = _Kept(task) if own else None
            kept = self._kept[task]
            if kept is not None:
                self._keep(kept, task, record)
        except Exception:  # noqa: BLE001 - what a task logs must never harm it
            self.handleError(record)

    def _runs(self, task: CurrentTask) -> bool:
        """Whether this queue runs it now: a process may have several queues."""
        keeping = keeping_of(self._queue)
        return keeping is not None and keeping.runs(task)

    def _keep(self, kept: _Kept, task: CurrentTask, record: logging.LogRecord) -> None:
        when = datetime.fromtimestamp(record.created, UTC).replace(tzinfo=None)
        key = kept.task_id, kept.attempt
        text = None
        if kept.dropped is None and kept.count < self._most:
            text = clip(self.format(record), LINE_BYTES)
        if text is not None and kept.size + len(text.encode()) <= ATTEMPT_BYTES:
            kept.add(when, clip(record.levelname, 40), clip(record.name, 500), text)
            self._unsaved[key] = kept
        elif kept.dropped is None:
            kept.dropped = 1, when
            self._cut[key] = kept, task
        else:
            kept.dropped = kept.dropped[0] + 1, when
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        """Save soon. In the loop at once: the attempt may end before its next turn."""
        self._armed = True
        if threading.get_ident() == self._thread:
            self._listen()
        else:
            self._loop.call_soon_threadsafe(self._listen, context=contextvars.Context())

    # -- in the event loop -----------------------------------------------------

    def _listen(self) -> None:
        keeping = keeping_of(self._queue)
        if keeping is not None:
            self._unobserve = keeping.observe(self._told)
        self._set_timer()

    def _set_timer(self) -> None:
        # In a context of its own, or what it logs would count as a task's.
        self._timer = self._loop.call_later(SAVE_SECONDS, self._tick, context=contextvars.Context())

    def _told(self, record: TaskRecord, transition: Transition) -> None:
        key = record.id, transition.attempt
        if key in self._unsaved or key in self._cut:
            self._save()

    def _tick(self) -> None:
        self._save()
        with self._locked():
            if self._cut or self._unsaved:
                self._set_timer()
            else:
                self._rest()

    def _save(self) -> None:
        """Hand over what there is; conclude the attempts that have ended."""
        with self._locked():
            for key, (kept, task) in list(self._cut.items()):
                if not self._runs(task):
                    kept.conclude()
                    self._unsaved[key] = kept
                    del self._cut[key]
            lines = [line for kept in self._unsaved.values() for line in kept.lines]
            for kept in self._unsaved.values():
                kept.lines = []
            self._unsaved.clear()
        keeping = keeping_of(self._queue)
        if lines and keeping is not None:
            keeping.save_logs(lines)

    def _rest(self) -> None:
        self._armed = False
        if self._unobserve is not None:
            self._unobserve()
            self._unobserve = None

    def stop(self) -> None:
        """End it; what is left is saved, if the storage is still open."""
        logging.getLogger().removeHandler(self)
        if self._timer is not None:
            self._timer.cancel()
        self._save()
        self._rest()

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        self.acquire()
        try:
            yield
        finally:
            self.release()


def _without_task(fields: Fields) -> str:
    return message({key: value for key, value in fields.items() if key not in _OF_THE_TASK})
