"""Every error wopr raises.

WoprError
├── QueueDisabledError        (RuntimeError)
├── QueueClosedError          (RuntimeError)
├── InvalidCallError          (ValueError, TypeError)
│   ├── TaskNotRegisteredError
│   ├── DuplicateTaskError
│   ├── InvalidScheduleSpecificationError
│   ├── DuplicateScheduleError
│   ├── ConflictingAuthMetadataError
│   ├── InvalidAuthContextValueError
│   ├── AuthSnapshotUnavailableError
│   ├── TaskAsyncInvocationRequiredError
│   ├── InvalidSettingError       a setting has a value that it can't have
│   ├── SettingsFileError         a file with settings can't be read
│   └── PayloadError
│       └── PayloadTooLargeError
├── UniqueKeyConflictError    (ValueError)
├── BacklogFullError          a category has as many waiting tasks as it may have
├── TaskFailedError           what ``handle.result()`` raises for a FAILED task
├── TaskCancelledError        what ``handle.result()`` raises for a CANCELLED task
├── TaskRefusedError          a task may not run, and why
├── SoftTimeoutError          (TimeoutError) raised inside of a task that runs too long
├── ProcessDiedError          what ran a task died
│   └── RunnerRefusedError    and had not begun, so the task waits
├── TaskNotFoundError         (LookupError)
├── ScheduleNotFoundError     (LookupError)
├── ActError                  (LookupError) there is no such act, or it can't be taken back
├── TaskApplicationContextNotFoundError
├── AuthContextNotFoundError  (LookupError)
├── AuthRequirementDeniedError
├── DeliveryFailedError       a notification did not arrive
│   └── DeliveryRefusedError  and will not: its receiver refuses it
├── ServerRefusedError        a server that was asked over HTTP refuses it
├── QueryError                a refused or failed ``queue.sql``
│   └── QueryTimeoutError     (TimeoutError)
└── StorageError              (RuntimeError)
    ├── StorageOwnedError     another process has the file
    ├── OwnerGoneError        the process that had the file is gone
    │   └── OwnerLeavingError and the call was not carried out
    ├── OwnerBusyError        it has as many connections as it may have
    ├── OwnerSilentError      (TimeoutError) the process that has the file does not answer
    ├── StorageFileError      the file can't be used as it is
    ├── SchemaError           the file's schema is not the one of this version
    ├── QueueMovedError       the queue is at another home now
    └── StorageForkedError    used after os.fork()
"""

from __future__ import annotations

from wopr.domain.authorization import AuthorizationDecision


class WoprError(Exception):
    """Base of all errors of wopr."""


class BacklogFullError(WoprError):
    """The category has as many waiting tasks as it may have; nothing was written."""


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


class InvalidScheduleSpecificationError(InvalidCallError):
    """It can't be read when a schedule fires."""


class DuplicateScheduleError(InvalidCallError):
    """A schedule has this name already."""


class ConflictingAuthMetadataError(InvalidCallError):
    """A task is marked as public and as protected at once."""


class InvalidAuthContextValueError(InvalidCallError):
    """An identity, or a part of one, can't be what it has to be."""


class AuthSnapshotUnavailableError(InvalidCallError):
    """A protected task can't be enqueued: snapshots are off, or no key can sign them."""


class TaskAsyncInvocationRequiredError(InvalidCallError):
    """A method that has to be awaited was to be run directly by code that does not await."""


class InvalidSettingError(InvalidCallError):
    """A setting has a value that it can't have."""


class SettingsFileError(InvalidCallError):
    """A file with settings can't be read, or names a setting that there is not."""


class PayloadError(InvalidCallError):
    """Arguments or a result can't be stored as JSON, or can't be sent to another process."""


class PayloadTooLargeError(PayloadError):
    """A payload is over its limit."""


class UniqueKeyConflictError(WoprError, ValueError):
    """A live task has this unique key and the call asked to raise."""


class TaskFailedError(WoprError):
    """The task ended FAILED; the message holds its last error."""


class TaskRefusedError(WoprError):
    """A task may not run; ``reason`` is the one of the transition that says so."""

    def __init__(self, message: str, reason: str, *, retryable: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.retryable = retryable


class TaskCancelledError(WoprError):
    """The task ended CANCELLED, so it has no result."""


class SoftTimeoutError(WoprError, TimeoutError):
    """Raised inside of a task's function once its soft timeout is over, at most once per attempt.

    A function that catches it can clean up and return a result. One that lets it out fails,
    and is retried like after any failure.
    """


class ProcessDiedError(WoprError):
    """The worker process of a task, or the executor of somebody else that ran it, broke down."""


class RunnerRefusedError(ProcessDiedError):
    """What was to run a task did not take it, so its function has not begun: the task waits.

    ``runner`` is the executor, ``"process"`` or ``"thread"``; ``why`` it did not, in short.
    """

    def __init__(self, message: str, runner: object = None, why: str = "") -> None:
        super().__init__(message)
        self.runner = runner
        self.why = why or message


class TaskNotFoundError(WoprError, LookupError):
    """No task has this id; or a handler class is not registered, or has no such task."""


class TaskApplicationContextNotFoundError(WoprError):
    """Something was to be run directly and no queue was given that knows it."""


class ScheduleNotFoundError(WoprError, LookupError):
    """No schedule has this name."""


class ActError(WoprError, LookupError):
    """No act has this number, or it is none that can be taken back."""


class AuthContextNotFoundError(WoprError, LookupError):
    """Nobody is known where an identity is needed."""


class AuthRequirementDeniedError(WoprError):
    """A protected function may not be called; ``decision`` says why."""

    def __init__(self, decision: AuthorizationDecision) -> None:
        super().__init__(f"{decision}. {decision.reason}".rstrip())
        self.decision = decision


class DeliveryFailedError(WoprError):
    """A notification did not arrive; it is tried again."""


class DeliveryRefusedError(DeliveryFailedError):
    """The receiver of a notification refuses it, so it is not tried again."""


class ServerRefusedError(WoprError):
    """A server that was asked over HTTP refuses it; ``status`` is its answer's."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class QueryError(WoprError):
    """A query was refused or failed."""


class QueryTimeoutError(QueryError, TimeoutError):
    """A query ran longer than it may."""


class StorageError(WoprError, RuntimeError):
    """The storage could not do what was asked. Nothing acknowledged is lost."""

    in_doubt = False
    """Whether it may have been done all the same: a server did it perhaps, and did not say so."""
    unreached = False
    """Whether a server could not be reached, so that it did nothing."""


class StorageOwnedError(StorageError):
    """Another process owns the database file."""

    def __init__(self, message: str, *, pid: int | None = None) -> None:
        super().__init__(message)
        self.pid = pid


class OwnerGoneError(StorageError):
    """The process that had the file went away, or gave the file up, while it was asked."""


class OwnerLeavingError(OwnerGoneError):
    """The process that had the file gives it up: the call was not carried out."""


class OwnerBusyError(StorageError):
    """The process that owns the file has as many connections as it may have."""


class OwnerSilentError(StorageError, TimeoutError):
    """The process that has the file did not answer in time; the message says what is known."""


class StorageFileError(StorageError):
    """The database file can't be used as it is."""


class SchemaError(StorageError):
    """The file's schema is newer than this wopr, or not one of wopr's."""


class QueueMovedError(StorageError):
    """The queue is at another home now; ``moving`` says which one, as JSON."""

    def __init__(self, message: str, *, moving: str = "") -> None:
        super().__init__(message)
        self.moving = moving


class StorageForkedError(StorageError):
    """The queue was opened before os.fork() and used in the child."""
