"""wopr: a persistent task queue in a DuckDB file.

Everything public is importable from here; ``wopr.domain.errors`` shows the tree
of all errors. Each name is loaded when it is first asked for: who needs one of them,
a command's help or an enum, does not wait for the rest.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wopr.config.primary import should_run_background_workers
    from wopr.config.settings import Settings
    from wopr.core.handle import TaskHandle
    from wopr.core.past import Past
    from wopr.core.scheduleinfo import ScheduleInfo
    from wopr.core.task import Task
    from wopr.core.tasks import SelectedTasks
    from wopr.domain.act import Act, ActAnswer, ActProgress, Preview, Tally, Unchanged
    from wopr.domain.again import RetryAfter, Snooze
    from wopr.domain.controls import Pause, Revocation
    from wopr.domain.crontab import Crontab, Month, Weekday
    from wopr.domain.errors import (
        ActError,
        AuthContextNotFoundError,
        AuthRequirementDeniedError,
        AuthSnapshotUnavailableError,
        BacklogFullError,
        ConflictingAuthMetadataError,
        DeliveryFailedError,
        DeliveryRefusedError,
        DuplicateScheduleError,
        DuplicateTaskError,
        InvalidAuthContextValueError,
        InvalidCallError,
        InvalidScheduleSpecificationError,
        InvalidSettingError,
        OwnerBusyError,
        OwnerGoneError,
        OwnerLeavingError,
        OwnerSilentError,
        PayloadError,
        PayloadTooLargeError,
        ProcessDiedError,
        QueryError,
        QueryTimeoutError,
        QueueClosedError,
        QueueDisabledError,
        QueueMovedError,
        RunnerRefusedError,
        ScheduleNotFoundError,
        SchemaError,
        ServerRefusedError,
        SettingsFileError,
        SoftTimeoutError,
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
    from wopr.domain.eta import Estimate, Eta, EtaReason
    from wopr.domain.events import TaskEvent
    from wopr.domain.limits import Limit, OnFull
    from wopr.domain.logline import LogLine
    from wopr.domain.misfire import Misfire, Overlap
    from wopr.domain.monthly import Monthly
    from wopr.domain.newtask import OnConflict, OnParentFailure
    from wopr.domain.reason import Reason, Severity
    from wopr.domain.resultof import ResultOf
    from wopr.domain.retry import RetryPolicy
    from wopr.domain.status import TaskPriority, TaskStatus
    from wopr.domain.supplied import provided
    from wopr.domain.task import TaskInfo
    from wopr.executors.context import CurrentTask, current_task
    from wopr.flows import Flow, FlowHandle, FlowProgress, Signature, chain, chord, group
    from wopr.handlers.functions import schedule, task
    from wopr.ports.answers import Explanation, HistoryEntry, QueryResult, WorkerInfo
    from wopr.ports.asof import CategoryBacklog, PastStatus
    from wopr.ports.backup import Backup, Export
    from wopr.ports.series import Point, Resolution, Series, TimeSeries
    from wopr.ports.status import GroupExplanation, State, Status
    from wopr.ports.stream import QueryStream
    from wopr.ports.whatif import WhatIf
    from wopr.queue.queue import TaskQueue
    from wopr.queue.sync import SyncQueue
    from wopr.storage.seed.noop import NoopStorage
    from wopr.storage.seed.taskstorage import TaskStorage

__version__ = "0.1.0"

_MODULES = {
    "wopr.domain.monthly": "Monthly",
    "wopr.ports.stream": "QueryStream",
    "wopr.config.primary": "should_run_background_workers",
    "wopr.config.settings": "Settings",
    "wopr.core.handle": "TaskHandle",
    "wopr.core.past": "Past",
    "wopr.core.scheduleinfo": "ScheduleInfo",
    "wopr.core.task": "Task",
    "wopr.core.tasks": "SelectedTasks",
    "wopr.domain.act": "Act ActAnswer ActProgress Preview Tally Unchanged",
    "wopr.domain.again": "RetryAfter Snooze",
    "wopr.domain.controls": "Pause Revocation",
    "wopr.domain.crontab": "Crontab Month Weekday",
    "wopr.domain.errors": (
        "ActError AuthContextNotFoundError AuthRequirementDeniedError "
        "AuthSnapshotUnavailableError BacklogFullError ConflictingAuthMetadataError "
        "DeliveryFailedError DeliveryRefusedError DuplicateScheduleError "
        "DuplicateTaskError InvalidAuthContextValueError InvalidCallError "
        "InvalidScheduleSpecificationError InvalidSettingError OwnerBusyError OwnerGoneError "
        "OwnerLeavingError OwnerSilentError PayloadError PayloadTooLargeError "
        "ProcessDiedError QueryError QueryTimeoutError QueueClosedError "
        "QueueDisabledError QueueMovedError RunnerRefusedError ScheduleNotFoundError SchemaError "
        "ServerRefusedError SettingsFileError SoftTimeoutError StorageError StorageFileError "
        "StorageForkedError StorageOwnedError TaskApplicationContextNotFoundError "
        "TaskAsyncInvocationRequiredError TaskCancelledError TaskFailedError "
        "TaskNotFoundError TaskNotRegisteredError TaskRefusedError "
        "UniqueKeyConflictError WoprError"
    ),
    "wopr.domain.eta": "Estimate Eta EtaReason",
    "wopr.domain.events": "TaskEvent",
    "wopr.domain.limits": "Limit OnFull",
    "wopr.domain.logline": "LogLine",
    "wopr.domain.misfire": "Misfire Overlap",
    "wopr.domain.newtask": "OnConflict OnParentFailure",
    "wopr.domain.reason": "Reason Severity",
    "wopr.domain.resultof": "ResultOf",
    "wopr.domain.retry": "RetryPolicy",
    "wopr.domain.status": "TaskPriority TaskStatus",
    "wopr.domain.supplied": "provided",
    "wopr.domain.task": "TaskInfo",
    "wopr.executors.context": "CurrentTask current_task",
    "wopr.flows": "Flow FlowHandle FlowProgress Signature chain chord group",
    "wopr.handlers.functions": "schedule task",
    "wopr.ports.answers": "Explanation HistoryEntry QueryResult WorkerInfo",
    "wopr.ports.asof": "CategoryBacklog PastStatus",
    "wopr.ports.backup": "Backup Export",
    "wopr.ports.series": "Point Resolution Series TimeSeries",
    "wopr.ports.status": "GroupExplanation State Status",
    "wopr.ports.whatif": "WhatIf",
    "wopr.queue.queue": "TaskQueue",
    "wopr.queue.sync": "SyncQueue",
    "wopr.storage.seed.noop": "NoopStorage",
    "wopr.storage.seed.taskstorage": "TaskStorage",
}
"""The same names as above, for who runs: the module of each. A test compares the two."""

_HOMES = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first asked for, and keep it."""
    try:
        home = _HOMES[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    value = globals()[name] = getattr(import_module(home), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


__all__ = [
    "Act",
    "ActAnswer",
    "ActError",
    "ActProgress",
    "AuthContextNotFoundError",
    "AuthRequirementDeniedError",
    "AuthSnapshotUnavailableError",
    "BacklogFullError",
    "Backup",
    "CategoryBacklog",
    "ConflictingAuthMetadataError",
    "Crontab",
    "CurrentTask",
    "DeliveryFailedError",
    "DeliveryRefusedError",
    "DuplicateScheduleError",
    "DuplicateTaskError",
    "Estimate",
    "Eta",
    "EtaReason",
    "Explanation",
    "Export",
    "Flow",
    "FlowHandle",
    "FlowProgress",
    "GroupExplanation",
    "HistoryEntry",
    "InvalidAuthContextValueError",
    "InvalidCallError",
    "InvalidScheduleSpecificationError",
    "InvalidSettingError",
    "Limit",
    "LogLine",
    "Misfire",
    "Month",
    "Monthly",
    "NoopStorage",
    "OnConflict",
    "OnFull",
    "OnParentFailure",
    "Overlap",
    "OwnerBusyError",
    "OwnerGoneError",
    "OwnerLeavingError",
    "OwnerSilentError",
    "Past",
    "PastStatus",
    "Pause",
    "PayloadError",
    "PayloadTooLargeError",
    "Point",
    "Preview",
    "ProcessDiedError",
    "QueryError",
    "QueryResult",
    "QueryStream",
    "QueryTimeoutError",
    "QueueClosedError",
    "QueueDisabledError",
    "QueueMovedError",
    "Reason",
    "Resolution",
    "ResultOf",
    "RetryAfter",
    "RetryPolicy",
    "Revocation",
    "RunnerRefusedError",
    "ScheduleInfo",
    "ScheduleNotFoundError",
    "SchemaError",
    "SelectedTasks",
    "Series",
    "ServerRefusedError",
    "Settings",
    "SettingsFileError",
    "Severity",
    "Signature",
    "Snooze",
    "SoftTimeoutError",
    "State",
    "Status",
    "StorageError",
    "StorageFileError",
    "StorageForkedError",
    "StorageOwnedError",
    "SyncQueue",
    "Tally",
    "Task",
    "TaskApplicationContextNotFoundError",
    "TaskAsyncInvocationRequiredError",
    "TaskCancelledError",
    "TaskEvent",
    "TaskFailedError",
    "TaskHandle",
    "TaskInfo",
    "TaskNotFoundError",
    "TaskNotRegisteredError",
    "TaskPriority",
    "TaskQueue",
    "TaskRefusedError",
    "TaskStatus",
    "TaskStorage",
    "TimeSeries",
    "Unchanged",
    "UniqueKeyConflictError",
    "Weekday",
    "WhatIf",
    "WoprError",
    "WorkerInfo",
    "chain",
    "chord",
    "current_task",
    "group",
    "provided",
    "schedule",
    "should_run_background_workers",
    "task",
]
