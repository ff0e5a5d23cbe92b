"""How the worker process logs: lines for people or JSON, without secrets.

What runs inside a task is logged with the task's id, name, category and attempt,
whoever logs it: the application, a library, a thread of the task.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import structlog
from structlog.stdlib import ProcessorFormatter
from structlog.typing import EventDict

from wopr.config.settings import Settings
from wopr.domain.jsontext import safe_text, shown, type_name
from wopr.domain.masking import mask, masked
from wopr.domain.spoken import local, named
from wopr.domain.terminal import clean
from wopr.executors.context import running_task

Fields = dict[str, Any]
"""One line: timestamp, level, logger, event, then the task's, what was given, exception."""

_STANDARD = frozenset(logging.makeLogRecord({}).__dict__) | {"message", "asctime", "taskName"}
_OWN = frozenset({"timestamp", "level", "logger", "event"})
_INDENT = "\n    "


def start(settings: Settings) -> None:
    """Log to standard error, unless the application has its own handlers at the root.

    Calling it again changes the level and the format. Python's warnings are logged too, and
    errors that end a thread, unless the application has a ``threading.excepthook`` of its own.
    """
    logging.getLogger("wopr").setLevel(settings.log_level)
    root = logging.getLogger()
    if not all(isinstance(handler, _Handler) for handler in root.handlers):
        return
    for handler in list(root.handlers):
        root.removeHandler(handler)
    handler = _Handler(sys.stderr)
    as_json = settings.log_format == "json" or (
        settings.log_format == "auto" and not sys.stderr.isatty()
    )
    handler.setFormatter(formatter(json_line if as_json else console_line))
    root.addHandler(handler)
    root.setLevel(settings.log_level)
    logging.captureWarnings(True)
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _thread_ended
    if not structlog.is_configured():
        _through_logging()


class _Handler(logging.StreamHandler[Any]):
    """The one of :func:`start`, to tell it from the application's.

    It leaves out what a handler of the application has shown already, as Django's own does for
    its loggers while ``DEBUG`` is on.
    """

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line, unless it stands there."""
        if not _shown_already(record):
            super().emit(record)


def _shown_already(record: logging.LogRecord) -> bool:
    """Whether a handler of a logger below the root has written it to the same place."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None and logger.parent is not None:
        if any(_shows(handler, record) for handler in logger.handlers):
            return True
        logger = logger.parent
    return False


def _shows(handler: logging.Handler, record: logging.LogRecord) -> bool:
    stream = getattr(handler, "stream", None)
    if stream is None or stream not in (sys.stderr, sys.stdout) or record.levelno < handler.level:
        return False
    return bool(handler.filter(record))


def _thread_ended(args: threading.ExceptHookArgs) -> None:
    """Log the error that ended a thread."""
    if args.exc_type is SystemExit:  # as Python does it
        return
    name = args.thread.name if args.thread is not None else "that is gone"
    error = args.exc_value or args.exc_type()
    logging.getLogger("wopr.worker").error(
        "Thread %s ended with an error.",
        name,
        exc_info=(args.exc_type, error, args.exc_traceback),
    )


def _through_logging() -> None:
    """Let ``structlog.get_logger()`` of the application log where everything else does."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.filter_by_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.processors.format_exc_info,
            ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
    )


def formatter(render: Callable[[Fields], str]) -> logging.Formatter:
    """Return a formatter that finds out what a line is made of, and renders that."""
    return _Formatter(
        processors=[_fields, lambda logger, name, event: render(dict(event))],
    )


class _Formatter(ProcessorFormatter):
    """A line whose parts do not fit each other is logged with its reason."""

    def format(self, record: logging.LogRecord) -> str:
        if record.exc_text and not record.exc_info:  # of a worker process, which has the error
            record = logging.makeLogRecord({**record.__dict__, "exception": record.exc_text})
        try:
            return super().format(record)
        except BaseException as error:  # noqa: BLE001 - arguments of the application's
            broken = logging.makeLogRecord(
                {key: value for key, value in record.__dict__.items() if key in _STANDARD}
            )
            why = f"can't be formatted: {type_name(error)}: {safe_text(error)}"
            broken.msg = f"{shown(record.msg, 10_000)} ({why})"
            broken.args = None
            return super().format(broken)


def _fields(logger: object, name: str, event: EventDict) -> EventDict:
    """Put the parts of a line in order, without secrets."""
    record: logging.LogRecord = event.pop("_record")
    if event.pop("_from_structlog"):
        given = {key: value for key, value in event.items() if key != "event"}
    else:
        given = {key: value for key, value in record.__dict__.items() if key not in _STANDARD}
    fields: Fields = {
        "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
        "level": record.levelname,
        "logger": record.name,
        "event": mask(str(event.get("event", ""))),
    }
    task = running_task()
    if task is not None:
        fields["task_id"] = task.id
        fields["task_name"] = task.name
        fields["category"] = task.category
        fields["attempt"] = task.attempt
    for key, value in given.items():
        if key in fields and fields[key] == value:
            continue
        fields[f"extra_{key}" if key in fields else key] = masked(value, key)
    raised = event.get("exc_info")
    if isinstance(raised, tuple) and raised[0] is not None:
        fields["exception"] = mask("".join(traceback.format_exception(*raised)).rstrip())
    if event.get("stack_info"):
        fields["stack"] = mask(str(event["stack_info"]))
    return fields


def json_line(fields: Fields) -> str:
    """Return a line as one JSON object, in ASCII."""
    return json.dumps(fields)


def console_line(fields: Fields) -> str:
    """Return a line for people: no control characters, and what follows is indented."""
    when = local(datetime.fromisoformat(fields["timestamp"]), timespec="milliseconds")
    head = f"{when} {fields['level']:<7} {fields['logger']}: "
    return clean((head + message(fields)).replace("\n", _INDENT), lines=True)


def message(fields: Fields) -> str:
    """Return what was said: the event, what was given along, and what was raised."""
    words = [fields["event"]]
    apart = {"exception", "stack"}
    words += named({key: fields[key] for key in fields if key not in _OWN | apart})
    blocks = [fields[key] for key in ("exception", "stack") if key in fields]
    return "\n".join([" ".join(words), *blocks])
