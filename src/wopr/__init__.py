"""wopr: a persistent task queue in a DuckDB file.

Everything public is importable from here; ``wopr.domain.errors`` shows the tree
of all errors.
"""

from wopr.config import Settings
from wopr.domain.crontab import Crontab, Month, Weekday
from wopr.domain.errors import (
    AuthContextNotFoundError,
    AuthRequirementDeniedError,
    AuthSnapshotUnavailableError,
    ConflictingAuthMetadataError,
    DuplicateScheduleError,
    DuplicateTaskError,
    InvalidAuthContextValueError,
    InvalidCallError,
    InvalidScheduleSpecificationError,
    PayloadError,
    PayloadTooLargeError,
    QueryError,
    QueryTimeoutError,
    QueueClosedError,
    QueueDisabledError,
    ScheduleNotFoundError,
    SchemaError,
    StorageError,
    StorageFileError,
    StorageForkedError,
    StorageOwnedError,
    TaskApplicationContextNotFoundError,
    TaskAsyncInvocationRequiredError,
    TaskCancelledError,
    TaskFailedError,
    TaskNotFoundError,
    TaskNotRegisteredError,
    TaskRefusedError,
    UniqueKeyConflictError,
    WoprError,
)
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.newtask import OnConflict, OnParentFailure
from wopr.domain.resultof import ResultOf
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.task import TaskInfo
from wopr.engine.context import CurrentTask, current_task
from wopr.flows import Flow, FlowHandle, FlowProgress, Signature, chain, chord, group
from wopr.queue import TaskQueue
from wopr.results import Explanation, HistoryEntry, QueryResult
from wopr.schedules import ScheduleInfo
from wopr.storage.noop import NoopStorage
from wopr.sync import SyncQueue
from wopr.task import Task, TaskHandle

__version__ = "0.1.0"

__all__ = [
    "AuthContextNotFoundError",
    "AuthRequirementDeniedError",
    "AuthSnapshotUnavailableError",
    "ConflictingAuthMetadataError",
    "Crontab",
    "CurrentTask",
    "DuplicateScheduleError",
    "DuplicateTaskError",
    "Explanation",
    "Flow",
    "FlowHandle",
    "FlowProgress",
    "HistoryEntry",
    "InvalidAuthContextValueError",
    "InvalidCallError",
    "InvalidScheduleSpecificationError",
    "Misfire",
    "Month",
    "NoopStorage",
    "OnConflict",
    "OnParentFailure",
    "Overlap",
    "PayloadError",
    "PayloadTooLargeError",
    "QueryError",
    "QueryResult",
    "QueryTimeoutError",
    "QueueClosedError",
    "QueueDisabledError",
    "ResultOf",
    "RetryPolicy",
    "ScheduleInfo",
    "ScheduleNotFoundError",
    "SchemaError",
    "Settings",
    "Signature",
    "StorageError",
    "StorageFileError",
    "StorageForkedError",
    "StorageOwnedError",
    "SyncQueue",
    "Task",
    "TaskApplicationContextNotFoundError",
    "TaskAsyncInvocationRequiredError",
    "TaskCancelledError",
    "TaskFailedError",
    "TaskHandle",
    "TaskInfo",
    "TaskNotFoundError",
    "TaskNotRegisteredError",
    "TaskPriority",
    "TaskQueue",
    "TaskRefusedError",
    "TaskStatus",
    "UniqueKeyConflictError",
    "Weekday",
    "WoprError",
    "chain",
    "chord",
    "current_task",
    "group",
]
