"""From the engine's records to what people see."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from wopr.domain.codec import decode_plain
from wopr.domain.errors import InvalidCallError
from wopr.domain.status import TaskPriority
from wopr.domain.task import TaskInfo, TaskRecord
from wopr.engine.options import decode_options
from wopr.engine.registry import Registry


def aware(moment: datetime | None) -> datetime | None:
    """Return a stored time as people see it: aware, in UTC."""
    return None if moment is None else moment.replace(tzinfo=UTC)


def info_of(record: TaskRecord, registry: Registry) -> TaskInfo:
    """Return a snapshot of the record, its payloads decoded.

    Payloads are decoded by the annotations of the registered function; where it
    is not registered in this process, or no longer fits, as plain JSON.
    """
    args, kwargs = _call_of(record, registry)
    options = decode_options(record.options) if record.options else {}
    elapsed = 0.0
    if record.started_at is not None and record.completed_at is not None:
        elapsed = (record.completed_at - record.started_at).total_seconds()
    return TaskInfo(
        id=record.id,
        name=record.name,
        category=record.category,
        priority=TaskPriority(record.priority),
        status=record.status,
        created_at=record.created_at.replace(tzinfo=UTC),
        started_at=aware(record.started_at),
        completed_at=aware(record.completed_at),
        elapsed_seconds=elapsed,
        result=result_of(record, registry),
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
        run_at=aware(record.run_at),
        unique_key=record.unique_key,
        worker=record.worker,
        timeout=options.get("timeout"),
        tags=tuple(options.get("tags", ())),
    )


def _call_of(record: TaskRecord, registry: Registry) -> tuple[tuple[Any, ...], dict[str, Any]]:
    definition = registry.definitions.get(record.name)
    if definition is not None:
        try:
            return definition.codec.decode_call(record.args, record.kwargs)
        except InvalidCallError:
            pass
    args: Any = decode_plain(record.args)
    kwargs: Any = decode_plain(record.kwargs)
    return tuple(args or ()), dict(kwargs or {})


def result_of(record: TaskRecord, registry: Registry) -> Any:
    """Return the decoded result."""
    if record.result is None:
        return None
    definition = registry.definitions.get(record.name)
    if definition is not None:
        try:
            return definition.codec.decode_result(record.result)
        except InvalidCallError:
            pass
    return decode_plain(record.result)
