"""How a worker process tells the queue's process what goes on: progress and log records."""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from wopr.domain.errors import SoftTimeoutError
from wopr.domain.jsontext import clip
from wopr.domain.masking import mask
from wopr.executors.context import CurrentTask
from wopr.executors.messages import LogEntry, Message, Progress, written

LONGEST_MESSAGE = 65_536
MOST_ATTRIBUTES = 262_144
"""Characters of all attributes of a log record together."""
PLAIN = (str, int, float, bool, type(None))


class Channel:
    """The way to the queue's process. A full pipe holds the sender up, nothing is dropped."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()
        self.current: CurrentTask | None = None
        """What this process works at."""
        self.busy = False
        """Whether the main thread is sending, and must not be interrupted."""

    def send(self, message: Message) -> None:
        """Send one message.

        Raises:
            OSError: nobody is there any more.
        """
        data = written(message)
        in_main = threading.current_thread() is threading.main_thread()
        if in_main:
            self.busy = True
        try:
            with self._lock:
                self._connection.send_bytes(data)
        finally:
            if in_main:
                self.busy = False

    def progress(
        self, task: CurrentTask, percent: float, message: str, data: Mapping[str, Any] | None
    ) -> None:
        """Pass on what the running task reports; what ended before has nothing to say."""
        if task is self.current:
            self.send(Progress(percent, message, None if data is None else dict(data)))

    def close(self) -> None:
        """Leave the channel to the process that this one was forked from."""
        self._connection.close()


class Forwarding(logging.Handler):
    """Sends the log records of a worker process to the queue's process."""

    def __init__(self, channel: Channel) -> None:
        super().__init__()
        self._channel = channel
        self._levels: dict[str, int] = {}

    def set_levels(self, levels: dict[str, int]) -> None:
        """Give the loggers the levels that they have in the queue's process."""
        if levels != self._levels:
            for name in self._levels.keys() | levels.keys():
                logging.getLogger(name).setLevel(levels.get(name, logging.NOTSET))
            self._levels = levels

    def emit(self, record: logging.LogRecord) -> None:
        """Send a record."""
        try:
            self._channel.send(LogEntry(_attributes(record)))
        except SoftTimeoutError:  # it is for the task, and an OSError too
            raise
        except OSError:  # nobody is there any more; this process is about to end
            return
        except Exception:  # noqa: BLE001 - as every handler: a bad record must not fail the task
            self.handleError(record)


def levels() -> dict[str, int]:
    """Return the levels of the loggers that have one of their own, ``""`` is the root."""
    known = {
        name: logger.level
        for name, logger in list(logging.root.manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level
    }
    return {"": logging.root.level, **known}


def tell(entry: LogEntry, task: CurrentTask) -> None:
    """Give a record of a worker process to the loggers of this process."""
    who = {"task_id": task.id, "task_name": task.name, "attempt": task.attempt}
    record = logging.makeLogRecord({**who, **entry.attributes})
    logger = logging.getLogger(record.name)
    if logger.isEnabledFor(record.levelno):
        logger.handle(record)


def _attributes(record: logging.LogRecord) -> dict[str, Any]:
    attributes = _plain(vars(record))
    attributes["msg"] = _short(record.getMessage())
    attributes["args"] = attributes["exc_info"] = None
    if record.exc_info and not record.exc_text:
        text = logging.Formatter().formatException(record.exc_info)
        attributes["exc_text"] = _short(text)
    return attributes


def _plain(given: dict[str, Any]) -> dict[str, Any]:
    """Return what has a form in JSON, as far as it is not too much together."""
    attributes: dict[str, Any] = {}
    left = MOST_ATTRIBUTES
    for key, value in given.items():
        if type(value) in PLAIN and type(key) is str:
            short = _short(value) if type(value) is str else value
            left -= len(key) + len(str(short))
            if left >= 0:
                attributes[key] = short
    return attributes


def _short(text: str) -> str:
    """Cut a text; its secrets first, as the cut may take away what they are known by."""
    fits = len(text) <= LONGEST_MESSAGE // 4  # that many bytes a letter may take
    return clip(text if fits else mask(text), LONGEST_MESSAGE)
