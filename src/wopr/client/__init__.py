"""A queue over its REST API, for programs that have no queue: calls, typed, sync and async.

``Client`` and ``AsyncClient`` have the same calls, which are those of the API, by the same names.
They need httpx: ``pip install 'wopr[client]'``.
"""

from __future__ import annotations

from wopr.client.answers import (
    ActDocument,
    ActPage,
    AlertDocument,
    Category,
    Counted,
    Done,
    EnqueuedFlow,
    FlowCounts,
    FlowDocument,
    FlowRow,
    FlowTask,
    Function,
    LoggedLine,
    Outcome,
    Rows,
    ScheduleDocument,
    Stats,
    TaskDocument,
    TaskPage,
    TaskRow,
    WouldDo,
)
from wopr.client.clients import AsyncClient, Client
from wopr.client.events import Notice, Transition
from wopr.client.inputs import (
    AlertOptions,
    CallOptions,
    EventFilter,
    LimitChange,
    Plan,
    Selection,
    Step,
)

__all__ = [
    "ActDocument",
    "ActPage",
    "AlertDocument",
    "AlertOptions",
    "AsyncClient",
    "CallOptions",
    "Category",
    "Client",
    "Counted",
    "Done",
    "EnqueuedFlow",
    "EventFilter",
    "FlowCounts",
    "FlowDocument",
    "FlowRow",
    "FlowTask",
    "Function",
    "LimitChange",
    "LoggedLine",
    "Notice",
    "Outcome",
    "Plan",
    "Rows",
    "ScheduleDocument",
    "Selection",
    "Stats",
    "Step",
    "TaskDocument",
    "TaskPage",
    "TaskRow",
    "Transition",
    "WouldDo",
]
