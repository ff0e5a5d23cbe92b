"""Tasks as the API shows them: payloads as JSON, secrets in them masked, all of it bounded."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, with_config
from pydantic_core import from_json, to_json
from typing_extensions import TypedDict

from wopr.domain.masking import masked
from wopr.domain.snapshot import aware, decode_options, parents_of, reported
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.web.api.fields import Priority, Status, Time

LARGEST_SHOWN = 256 * 1024
"""Characters of a payload that a task is shown with; what is larger is told by its size."""
_DOCUMENT = ConfigDict(use_attribute_docstrings=True)


@with_config(_DOCUMENT)
class TaskRow(TypedDict):
    """A task of a list: without its arguments and its result. Times are in UTC."""

    id: str
    name: str
    category: str
    priority: Priority
    status: Status
    attempt: int
    retry_count: int
    max_retries: int
    crashes: int
    created_at: Time
    run_at: Time
    """Before this it does not start."""
    started_at: Time
    completed_at: Time
    elapsed_seconds: float
    """The run time of the last finished attempt."""
    worker: str | None
    error: str | None
    """What its newest failure says; of a long one, the beginning."""
    error_type: str | None
    progress: float
    progress_message: str
    unique_key: str | None
    tags: list[str]
    waiting: bool
    """Whether it waits for tasks that it depends on."""
    flow_id: str | None
    schedule: str | None
    scheduled_for: Time


class TaskDocument(TaskRow):
    """All that is known of a task. Secrets in its payloads are masked."""

    args: list[Any]
    kwargs: dict[str, Any]
    payload_bytes: int
    """How large the arguments are as JSON; larger ones than 256 KiB are left out here."""
    result: Any
    result_bytes: int
    """How large the result is as JSON; `/result` has all of it."""
    progress_data: dict[str, Any]
    depends_on: list[str]
    options: dict[str, Any]
    """What the call asked for beyond the task's own settings."""


LONGEST_LISTED = 500


def row_of(record: TaskRecord | TaskInfo) -> TaskRow:
    """Return a task as a row of a list."""
    row = _row(record)
    if row["error"] is not None:
        row["error"] = row["error"][:LONGEST_LISTED]
    return row


def document_of(record: TaskRecord) -> TaskDocument:
    """Return a task with all that is known of it."""
    payload = len(record.args) + len(record.kwargs)
    fits = payload <= LARGEST_SHOWN
    return {
        **_row(record),
        "args": _list(_shown(record.args)) if fits else [],
        "kwargs": _dict(_shown(record.kwargs)) if fits else {},
        "payload_bytes": payload,
        "result": _shown(record.result),
        "result_bytes": len(record.result or ""),
        "progress_data": _dict(masked(reported(record))),
        "depends_on": list(parents_of(record)),
        "options": _dict(masked(_options(record))),
    }


def document_of_past(info: TaskInfo) -> TaskDocument:
    """Return a task as it was, of which there is only a snapshot."""
    args, kwargs, result = plain(list(info.args)), plain(info.kwargs), plain(info.result)
    payload, outcome = _size(args) + _size(kwargs), _size(result)
    fits = payload <= LARGEST_SHOWN
    return {
        **_row(info),
        "args": _list(masked(args)) if fits else [],
        "kwargs": _dict(masked(kwargs)) if fits else {},
        "payload_bytes": payload,
        "result": masked(result) if outcome <= LARGEST_SHOWN else None,
        "result_bytes": 0 if result is None else outcome,
        "progress_data": _dict(masked(info.progress_data)),
        "depends_on": list(info.depends_on),
        "options": _dict(masked(info.options)),
    }


def plain(value: Any) -> Any:
    """Return a value with the fields of models of pydantic in it, where there are such."""
    if isinstance(value, BaseModel):
        return value.model_dump()
    if isinstance(value, list | tuple):
        return [plain(one) for one in value]
    return {key: plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _size(value: Any) -> int:
    return len(to_json(value, fallback=str, bytes_mode="base64", inf_nan_mode="null"))


def _row(record: TaskRecord | TaskInfo) -> TaskRow:
    tags = _options(record).get("tags", [])
    return {
        "id": record.id,
        "name": record.name,
        "category": record.category,
        "priority": int(record.priority),  # type: ignore[typeddict-item]
        "status": record.status.value,
        "attempt": record.attempt,
        "retry_count": record.retry_count,
        "max_retries": record.max_retries,
        "crashes": record.crashes,
        "created_at": aware(record.created_at),
        "run_at": aware(record.run_at),
        "started_at": aware(record.started_at),
        "completed_at": aware(record.completed_at),
        "elapsed_seconds": record.elapsed_seconds or 0.0,
        "worker": record.worker,
        "error": record.error,
        "error_type": record.error_type,
        "progress": record.progress,
        "progress_message": record.progress_message or "",
        "unique_key": record.unique_key,
        "tags": [str(one) for one in tags] if isinstance(tags, list) else [],
        "waiting": bool(record.waiting),
        "flow_id": record.flow_id,
        "schedule": record.schedule,
        "scheduled_for": aware(record.scheduled_for),
    }


def _options(record: TaskRecord | TaskInfo) -> dict[str, Any]:
    if not isinstance(record, TaskRecord):
        return record.options
    try:
        return decode_options(record.options) if record.options else {}
    except ValueError:  # of another program's making
        return {}


def _shown(text: str | None) -> Any:
    """Return a stored payload as people may see it; of one that can't be read, its beginning."""
    if text is None or len(text) > LARGEST_SHOWN:
        return None
    try:
        return masked(from_json(text))
    except ValueError:
        return text[:80]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
