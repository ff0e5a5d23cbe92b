"""Snapshots whose payloads are decoded by the registered functions."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from wopr.calls.registry import Registry
from wopr.domain.codec import decode_plain
from wopr.domain.errors import InvalidCallError, PayloadError
from wopr.domain.snapshot import plain_snapshot, snapshot
from wopr.domain.task import TaskInfo, TaskRecord

log = logging.getLogger(__name__)


def info_of(record: TaskRecord, registry: Registry) -> TaskInfo:
    """Return a snapshot of the record, its payloads decoded.

    Payloads are decoded by the annotations of the registered function; where it
    is not registered in this process, or no longer fits, as plain JSON.
    """
    definition = registry.definitions.get(record.name)
    if definition is None:
        return plain_snapshot(record)
    codec = definition.codec
    try:
        args, kwargs = codec.decode_call(record.args, record.kwargs)
    except InvalidCallError:
        plain = plain_snapshot(record)
        args, kwargs = plain.args, plain.kwargs
    return snapshot(record, args, kwargs, result_of(record, registry))


def infos_of(records: Iterable[TaskRecord], registry: Registry) -> list[TaskInfo]:
    """Return snapshots of records; without those whose payloads can't be read, which are told."""
    found: list[TaskInfo] = []
    for record in records:
        try:
            found.append(info_of(record, registry))
        except PayloadError as error:
            left_out(record.id, str(error))
    return found


@lru_cache(maxsize=1_000)
def left_out(task_id: str, why: str) -> None:
    """Say that a task is not shown, once per process: lists are asked for again and again."""
    log.error(
        "Task %s is left out of the list, because it can't be shown: %s Was it written by another "
        "program? It does not run: it waits, and wopr doctor lists all such rows.",
        task_id,
        why,
    )


def result_of(record: TaskRecord, registry: Registry) -> Any:
    """Return the decoded result of a record, and nothing else of it; ``None`` without one."""
    if record.result is None:
        return None
    definition = registry.definitions.get(record.name)
    if definition is not None:
        try:
            return definition.codec.decode_result(record.result)
        except InvalidCallError:
            pass
    return decode_plain(record.result)
