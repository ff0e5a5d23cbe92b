"""From a record to what people see, and back."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from wopr.domain.codec import decode_plain, encode_plain
from wopr.domain.errors import PayloadError
from wopr.domain.status import TaskPriority
from wopr.domain.task import TaskInfo, TaskRecord

_LARGEST = 2**30
_DEEPEST = 64


@lru_cache(maxsize=256)
def decode_options(text: str) -> dict[str, Any]:
    """Return stored options. The result is shared: don't change it.

    Raises:
        ValueError: the text is no JSON object.
    """
    options = json.loads(text)
    if not isinstance(options, dict):
        raise ValueError(f"{text[:80]!r} is no JSON object")
    return options


def parents_of(record: TaskRecord) -> tuple[str, ...]:
    """Return the ids of the tasks that it depends on."""
    return tuple(json.loads(record.depends_on)) if record.depends_on else ()


def aware(moment: datetime | None) -> datetime | None:
    """Return a stored time as people see it: aware, in UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def naive(moment: datetime | None) -> datetime | None:
    """Return a time as records hold it; one without a zone is local, as in the seed."""
    return None if moment is None else moment.astimezone(UTC).replace(tzinfo=None)


def reported(record: TaskRecord) -> dict[str, Any]:
    """Return what a task reports beside its progress; nothing if it can't be read."""
    if record.progress_data is None:
        return {}
    try:
        data = json.loads(record.progress_data)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def snapshot(
    record: TaskRecord, args: tuple[Any, ...], kwargs: dict[str, Any], result: Any
) -> TaskInfo:
    """Return a snapshot of the record with payloads that the caller decoded."""
    options = decode_options(record.options) if record.options else {}
    return TaskInfo(
        id=record.id,
        name=record.name,
        category=record.category,
        priority=TaskPriority(record.priority),
        status=record.status,
        created_at=record.created_at.replace(tzinfo=UTC),
        started_at=aware(record.started_at),
        completed_at=aware(record.completed_at),
        elapsed_seconds=record.elapsed_seconds or 0.0,
        result=result,
        error=record.error,
        error_type=record.error_type,
        retry_count=record.retry_count,
        max_retries=record.max_retries,
        attempt=record.attempt,
        crashes=record.crashes,
        args=args,
        kwargs=kwargs,
        progress=record.progress,
        progress_message=record.progress_message,
        progress_data=reported(record),
        run_at=aware(record.run_at),
        unique_key=record.unique_key,
        worker=record.worker,
        timeout=options.get("timeout"),
        tags=tuple(options.get("tags", ())),
        depends_on=parents_of(record),
        waiting=record.waiting,
        flow_id=record.flow_id,
        schedule=record.schedule,
        scheduled_for=aware(record.scheduled_for),
        options=dict(options),
    )


def plain_snapshot(record: TaskRecord) -> TaskInfo:
    """Return a snapshot whose payloads are decoded without knowing the function.

    Raises:
        PayloadError: one can't be read.
    """
    args, kwargs = decode_plain(record.args), decode_plain(record.kwargs)
    if not isinstance(args, list | tuple | None) or not isinstance(kwargs, dict | None):
        raise PayloadError(
            f"The stored arguments of task {record.id} ({record.name}) are no JSON array and JSON "
            "object."
        )
    return snapshot(record, tuple(args or ()), kwargs or {}, decode_plain(record.result))


def record_of(info: TaskInfo) -> TaskRecord:
    """Return the record of a snapshot, payloads in the plain form.

    Raises:
        PayloadError: a payload can't be stored.
    """
    options = dict(info.options)
    if info.timeout is not None:
        options["timeout"] = info.timeout
    if info.tags:
        options["tags"] = list(info.tags)
    record = TaskRecord(
        info.id,
        info.name,
        info.category,
        int(info.priority),
        info.max_retries,
        encode_plain(list(info.args), "args", _LARGEST, _DEEPEST),
        encode_plain(dict(info.kwargs), "kwargs", _LARGEST, _DEEPEST),
        info.created_at.astimezone(UTC).replace(tzinfo=None),
        naive(info.run_at),
        info.unique_key,
        json.dumps(options) if options else None,
    )
    record.status = info.status
    record.waiting = info.waiting
    record.depends_on = json.dumps(info.depends_on) if info.depends_on else None
    record.flow_id = info.flow_id
    record.schedule = info.schedule
    record.scheduled_for = naive(info.scheduled_for)
    record.attempt = info.attempt
    record.retry_count = info.retry_count
    record.crashes = info.crashes
    record.worker = info.worker
    record.error = info.error
    record.error_type = info.error_type
    record.started_at = naive(info.started_at)
    record.elapsed_seconds = info.elapsed_seconds or None
    record.completed_at = naive(info.completed_at)
    if info.result is not None:
        record.result = encode_plain(info.result, "result", _LARGEST, _DEEPEST)
    record.progress = info.progress
    record.progress_message = info.progress_message
    record.progress_data = json.dumps(info.progress_data) if info.progress_data else None
    return record
