"""wopr: a persistent task queue in a DuckDB file.

Everything public is importable from here; ``wopr.domain.errors`` shows the tree
of all errors.
"""

from wopr.config import Settings
from wopr.domain.errors import (
    DuplicateTaskError,
    InvalidCallError,
    PayloadError,
    PayloadTooLargeError,
    QueryError,
    QueryTimeoutError,
    QueueClosedError,
    QueueDisabledError,
    SchemaError,
    StorageError,
    StorageFileError,
    StorageForkedError,
    StorageOwnedError,
    TaskCancelledError,
    TaskFailedError,
    TaskNotFoundError,
    TaskNotRegisteredError,
    UniqueKeyConflictError,
    WoprError,
)
from wopr.domain.newtask import OnConflict
from wopr.domain.retry import RetryPolicy
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.task import TaskInfo
from wopr.engine.context import CurrentTask, current_task
from wopr.queue import TaskQueue
from wopr.results import Explanation, HistoryEntry, QueryResult
from wopr.storage.noop import NoopStorage
from wopr.sync import SyncQueue
from wopr.task import Task, TaskHandle

__version__ = "0.1.0"

__all__ = [
    "CurrentTask",
    "DuplicateTaskError",
    "Explanation",
    "HistoryEntry",
    "InvalidCallError",
    "NoopStorage",
    "OnConflict",
    "PayloadError",
    "PayloadTooLargeError",
    "QueryError",
    "QueryResult",
    "QueryTimeoutError",
    "QueueClosedError",
    "QueueDisabledError",
    "RetryPolicy",
    "SchemaError",
    "Settings",
    "StorageError",
    "StorageFileError",
    "StorageForkedError",
    "StorageOwnedError",
    "SyncQueue",
    "Task",
    "TaskCancelledError",
    "TaskFailedError",
    "TaskHandle",
    "TaskInfo",
    "TaskNotFoundError",
    "TaskNotRegisteredError",
    "TaskPriority",
    "TaskQueue",
    "TaskStatus",
    "UniqueKeyConflictError",
    "WoprError",
    "current_task",
]
