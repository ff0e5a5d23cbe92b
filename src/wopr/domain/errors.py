"""Every error wopr raises.

WoprError
├── QueueDisabledError        (RuntimeError)
├── QueueClosedError          (RuntimeError)
├── InvalidCallError          (ValueError, TypeError)
│   ├── TaskNotRegisteredError
│   ├── DuplicateTaskError
│   └── PayloadError
│       └── PayloadTooLargeError
├── UniqueKeyConflictError    (ValueError)
├── TaskFailedError           what ``handle.result()`` raises for a FAILED task
├── TaskCancelledError        what ``handle.result()`` raises for a CANCELLED task
├── TaskNotFoundError         (LookupError)
├── QueryError                a refused or failed ``queue.sql``
│   └── QueryTimeoutError     (TimeoutError)
└── StorageError              (RuntimeError)
    ├── StorageOwnedError     another process has the file
    ├── StorageFileError      the file can't be used as it is
    ├── SchemaError           the file's schema is not the one of this version
    └── StorageForkedError    used after os.fork()
"""

from __future__ import annotations


class WoprError(Exception):
    """Base of all errors of wopr."""


class QueueDisabledError(WoprError, RuntimeError):
    """The queue is switched off."""

    def __init__(self) -> None:
        super().__init__("TaskQueue is disabled. Set WOPR_TASKS_ENABLED=1 to enable.")


class QueueClosedError(WoprError, RuntimeError):
    """The queue is shutting down or the call needs an open queue."""


class InvalidCallError(WoprError, ValueError, TypeError):
    """A call was refused before anything was written."""


class TaskNotRegisteredError(InvalidCallError):
    """No function is registered under this name."""


class DuplicateTaskError(InvalidCallError):
    """The name belongs to another function already."""


class PayloadError(InvalidCallError):
    """Arguments or a result can't be stored as JSON."""


class PayloadTooLargeError(PayloadError):
    """A payload is over its limit."""


class UniqueKeyConflictError(WoprError, ValueError):
    """A live task has this unique key and the call asked to raise."""


class TaskFailedError(WoprError):
    """The task ended FAILED; the message holds its last error."""


class TaskCancelledError(WoprError):
    """The task ended CANCELLED, so it has no result."""


class TaskNotFoundError(WoprError, LookupError):
    """No task has this id."""


class QueryError(WoprError):
    """A query was refused or failed."""


class QueryTimeoutError(QueryError, TimeoutError):
    """A query ran longer than it may."""


class StorageError(WoprError, RuntimeError):
    """The storage could not do what was asked. Nothing acknowledged is lost."""


class StorageOwnedError(StorageError):
    """Another process owns the database file."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class StorageFileError(StorageError):
    """The database file can't be used as it is."""


class SchemaError(StorageError):
    """The file's schema is newer than this wopr, or not one of wopr's."""


class StorageForkedError(StorageError):
    """The queue was opened before os.fork() and used in the child."""
