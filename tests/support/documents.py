"""What each command prints with ``--json``, as types: all but the version."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import (
    Any,
    NotRequired,
    TypedDict,
)

from wopr.core.scheduleinfo import ScheduleInfo
from wopr.demo.proof import Check
from wopr.domain.act import Act, Preview, Unchanged
from wopr.domain.alertrule import AlertCondition
from wopr.domain.controls import Pause, Revocation
from wopr.domain.eta import Eta
from wopr.domain.examination import Problem
from wopr.domain.level import NotificationLevel
from wopr.domain.limits import Limit
from wopr.domain.logline import LogLine
from wopr.domain.role import Role
from wopr.domain.task import TaskInfo
from wopr.moving.moved import Moved
from wopr.ports.answers import Explanation, HistoryEntry, WorkerInfo
from wopr.ports.asof import CategoryBacklog, PastStatus
from wopr.ports.backup import Backup, Export, Restored
from wopr.ports.series import TimeSeries
from wopr.ports.status import GroupExplanation, Status
from wopr.ports.whatif import WhatIf


class Failed(TypedDict):
    """Instead of the answer, of every command, if it has none."""

    error: Error


class Error(TypedDict):
    """What went wrong."""

    type: str
    message: str
    exit_code: int


class Demo(TypedDict):
    """What the demo came to."""

    proven: bool
    files: int
    killed: bool
    seconds: float
    checks: list[Check]
    categories: list[dict[str, Any]]
    failures: list[dict[str, Any]]
    report: Any
    tasks_per_second: float
    run_seconds: float
    queue_tasks_per_second: float
    retries: int
    interrupted: int


class MadeUp(TypedDict):
    """A week of history that was made up."""

    tasks: int
    transitions: int
    acts: int
    begin: datetime
    end: datetime


class Project(TypedDict):
    """A project that was written."""

    path: Path
    package: str
    files: list[str]


class Stopped(TypedDict):
    """How a worker ended."""

    seconds: float
    forced: bool
    running_at_signal: int
    finished: int
    put_back: int


class PastStats(TypedDict):
    """Counts of a moment that is over."""

    total: int
    by_status: dict[str, int]
    by_category: dict[str, int]
    running: int
    queued: int
    backlog: list[CategoryBacklog]
    pauses: list[Pause]
    moment: datetime


class Workers(TypedDict):
    """The workers."""

    workers: list[WorkerInfo]


class Settings(TypedDict):
    """Every setting by its name; with ``--origin`` an object of ``value`` and ``origin``."""

    settings: dict[str, Any]
    warnings: list[str]


class Tasks(TypedDict):
    """A page of tasks."""

    tasks: list[TaskInfo]
    next_cursor: str | None


class History(TypedDict):
    """Every move of a task."""

    task_id: str
    history: list[HistoryEntry]


class Logs(TypedDict):
    """What a task logged."""

    task_id: str
    logs: list[LogLine]


class Previewed(TypedDict):
    """What a verb would do, with ``--dry-run``."""

    selected: int
    changes: int
    preview: Preview


class Acted(TypedDict):
    """What a verb did to selected tasks."""

    act: Act
    left: int
    unchanged: list[Unchanged]


class Result(TypedDict):
    """What became of a task that was named by its id."""

    id: str
    changed: bool
    why: str | None


class Results(TypedDict):
    """What a verb did to tasks that were named by their ids."""

    results: list[Result]
    act: int


class Acts(TypedDict):
    """What operators did."""

    acts: list[Act]


class Schedules(TypedDict):
    """The schedules."""

    schedules: list[ScheduleInfo]


class Enqueued(TypedDict):
    """A task that was enqueued."""

    task_id: str


class Removed(TypedDict):
    """What was removed, by its name."""

    removed: str


class Times(TypedDict):
    """When a schedule fires next."""

    name: str
    times: list[datetime]


class Alert(TypedDict):
    """An alert."""

    name: str
    when: AlertCondition
    task: str | None
    category: str | None
    level: NotificationLevel
    threshold: float | None
    every: float
    emits: str


class Alerts(TypedDict):
    """The alerts."""

    alerts: list[Alert]


class Token(TypedDict):
    """What is known of an access token."""

    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None


class NewToken(Token):
    """A token, which is shown this once."""

    token: str


class Tokens(TypedDict):
    """The access tokens."""

    tokens: list[Token]


class Revoked(TypedDict):
    """The name of a token that lets nobody in any more."""

    revoked: str


class FlowRow(TypedDict):
    """A row of the view ``flows``."""

    flow_id: str
    tasks: int
    ended: int
    succeeded: int
    failed: int
    cancelled: int
    running: int
    waiting: int
    created_at: datetime
    first_started_at: datetime | None
    completed_at: datetime | None


class Flows(TypedDict):
    """The flows."""

    flows: list[FlowRow]


class Flow(TypedDict):
    """How far a flow is."""

    id: str
    total: int
    ended: int
    succeeded: int
    failed: int
    cancelled: int
    running: int
    waiting: int
    percent: float
    created_at: datetime
    first_started_at: datetime | None
    completed_at: datetime | None
    tasks: list[TaskInfo]


class FlowCancelled(TypedDict):
    """How many tasks of a flow were cancelled."""

    id: str
    cancelled: int


class Picture(TypedDict):
    """The Mermaid flow chart of a flow."""

    id: str
    mermaid: str


class Limits(TypedDict):
    """The limits."""

    limits: list[Limit]


class LimitRemoved(TypedDict):
    """Whether there was such a limit."""

    removed: bool


class Paused(TypedDict):
    """The category, or the name of tasks, that is paused now."""

    paused: str


class Pauses(TypedDict):
    """What is paused."""

    pauses: list[Pause]


class Resumed(TypedDict):
    """Whether it was paused."""

    resumed: bool


class Cancelled(TypedDict):
    """How many tasks were cancelled."""

    cancelled: int


class Lifted(TypedDict):
    """Whether there was such a standing revocation."""

    lifted: bool


class Revocations(TypedDict):
    """The standing revocations."""

    revocations: list[Revocation]


class BacklogRow(TypedDict):
    """What waits in a category, of one priority and status."""

    category: str
    priority: int
    status: str
    tasks: int
    due: int
    oldest_age_seconds: float | None


class Held(TypedDict):
    """Tasks that wait for a reason of their own."""

    reason: str
    tasks: list[str]
    text: str
    count: NotRequired[int]


class Stats(TypedDict):
    """Counts."""

    total: int
    by_status: dict[str, int]
    by_category: dict[str, int]
    running: int
    queued: int
    held: NotRequired[list[Held]]
    backlog: list[BacklogRow]
    pauses: list[Pause]
    limits: int


class Answer(TypedDict):
    """The rows of a query, each by the names of its columns."""

    columns: list[str]
    rows: list[dict[str, Any]]
    truncated: bool


class Archived(TypedDict):
    """How many tasks were archived, or would be."""

    archived: int
    found: int
    dry_run: bool


class Cleaned(TypedDict):
    """What a cleanup deleted, or would delete."""

    deleted: int
    found: int
    dry_run: bool


class Compacted(TypedDict):
    """The size of the file."""

    bytes_before: int
    bytes_after: int


class Report(TypedDict):
    """What the doctor found."""

    moment: datetime | None
    clean: bool
    tasks: int
    transitions: int
    problems: list[Problem]
    unlisted: int


class Upgraded(TypedDict):
    """The schema before and after."""

    before: str | None
    after: str | None


class Step(TypedDict):
    """A revision of the schema that is missing."""

    revision: str
    summary: str


class Plan(TypedDict):
    """What an upgrade would do."""

    current: str | None
    newest: str
    steps: list[Step]
    copy: str | None


class Current(TypedDict):
    """The schema of the file and the newest one."""

    current: str | None
    newest: str


class Revision(TypedDict):
    """One revision of the schema, and whether the database has it."""

    revision: str
    summary: str
    applied: bool


class Revisions(TypedDict):
    """The schema of the database, and all that this wopr knows, in order."""

    current: str | None
    revisions: list[Revision]


class Differences(TypedDict):
    """Where the tables and views differ from what they should be."""

    differences: list[str]


class Accepted(TypedDict):
    """What of the journal counts, and what was set aside."""

    position: int
    moved: list[str]


_VERB = Results | Acted | Previewed
DOCUMENTS: dict[str, Any] = {
    "acts": Acts,
    "alerts add": Alert,
    "alerts list": Alerts,
    "alerts remove": Removed,
    "archive": Archived,
    "backup": Backup,
    "cleanup": Cleaned,
    "compact": Compacted,
    "config show": Settings,
    "db accept": Accepted,
    "db check": Differences,
    "db current": Current,
    "db history": Revisions,
    "db upgrade": Upgraded | Plan,
    "demo": Demo | MadeUp,
    "doctor": Report,
    "export": Export,
    "eta": Eta,
    "explain": Explanation | GroupExplanation,
    "flows cancel": FlowCancelled,
    "flows list": Flows,
    "flows mermaid": Picture,
    "flows show": Flow,
    "init": Project,
    "limits list": Limits,
    "limits remove": LimitRemoved,
    "limits set": Limit,
    "move": Moved,
    "pause": Paused | Pauses,
    "restore": Restored,
    "resume": Resumed,
    "revoke": Cancelled | Lifted | Revocations,
    "schedules list": Schedules,
    "schedules pause": ScheduleInfo,
    "schedules preview": Times,
    "schedules remove": Removed,
    "schedules resume": ScheduleInfo,
    "schedules run": Enqueued,
    "schedules show": ScheduleInfo,
    "series": TimeSeries,
    "sql": Answer,
    "stats": Stats | PastStats,
    "status": Status | PastStatus,
    "tasks cancel": _VERB,
    "tasks delay": _VERB,
    "tasks explain": Explanation,
    "tasks history": History,
    "tasks list": Tasks,
    "tasks logs": Logs,
    "tasks move": _VERB,
    "tasks retry": _VERB,
    "tasks run-again": _VERB,
    "tasks set-priority": _VERB,
    "tasks show": TaskInfo,
    "token create": NewToken,
    "token list": Tokens,
    "token revoke": Revoked,
    "undo": Acted,
    "whatif": WhatIf,
    "worker": Stopped,
    "workers list": Workers,
}
"""Command -> what it prints."""
