"""Per-call options that are stored with the task as JSON."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

from wopr.calls.registry import RunOptions, TaskDefinition
from wopr.domain.retry import RetryPolicy
from wopr.domain.snapshot import decode_options
from wopr.domain.task import TaskRecord


def encode_options(
    *, retry: RetryPolicy | None = None, tags: tuple[str, ...] = (), **more: Any
) -> str | None:
    """Return what a call asked for beyond the task's own settings; ``None`` if nothing."""
    options = {key: value for key, value in more.items() if value is not None}
    if retry is not None:
        options["retry"] = json.loads(retry.to_json())
    if tags:
        options["tags"] = list(tags)
    return json.dumps(options) if options else None


@lru_cache(maxsize=256)
def _policy(text: str) -> RetryPolicy:
    return RetryPolicy.from_json(text)


def options_of(record: TaskRecord, definition: TaskDefinition) -> RunOptions:
    """Return how a task is to be run."""
    own = definition.run_options
    if record.options is None:
        return own
    options = decode_options(record.options)
    retry = options.get("retry")
    return RunOptions(
        own.retry if retry is None else _policy(json.dumps(retry)),
        options.get("timeout", own.timeout),
        options.get("soft_timeout", own.soft_timeout),
    )
