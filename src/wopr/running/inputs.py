"""What an attempt gets besides its stored arguments: results of parents, and context."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from wopr.calls.registry import TaskDefinition
from wopr.domain.codec import Stored
from wopr.domain.errors import InvalidCallError, TaskNotFoundError
from wopr.domain.snapshot import decode_options, parents_of
from wopr.domain.spoken import counted
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.running.surroundings import Surroundings


async def unpack(record: TaskRecord, definition: TaskDefinition) -> None:
    """Set up the context of the attempt: what the carriers took along."""
    options = decode_options(record.options) if record.options else {}
    for carrier in definition.carriers:
        await carrier.unpack(record, options.get(carrier.key))


async def with_results(
    record: TaskRecord, definition: TaskDefinition, around: Surroundings
) -> tuple[str, str]:
    """Return the texts of the arguments, with the results of parents where they go.

    Raises:
        TaskNotFoundError: the result was deleted meanwhile.
        PayloadError: a result does not fit the parameter.
    """
    options = decode_options(record.options) if record.options else {}
    places: dict[str, dict[str, Any]] = options.get("results") or {}
    if not places:
        return record.args, record.kwargs
    values = await _values(record, places, around)

    def value_at(place: Any) -> Any:
        if not isinstance(place, list):
            return value_of(place)
        found = [value_of(item) for item in place]
        if any(isinstance(item, Stored) for item in found):  # then all of them as they stand there
            return Stored([stored_of(item) for item in place])
        return found

    def value_of(place: Any) -> Any:
        return values[place["at"]].at if isinstance(place, dict) else values[place].result

    def stored_of(place: Any) -> Any:
        if not isinstance(place, dict):
            return values[place].stored
        at = values[place["at"]].at
        return None if at is None else at.isoformat()

    ordered = {int(at): value_at(place) for at, place in places.get("args", {}).items()}
    named = {key: value_at(place) for key, place in places.get("kwargs", {}).items()}
    return definition.codec.fill(record.args, record.kwargs, ordered, named)


@dataclass(slots=True)
class _Value:
    """What a parent left."""

    result: Any = None
    """:class:`Stored` when the function that knows its type is not here."""
    stored: Any = None
    """The result as JSON."""
    at: datetime | None = None


async def _values(
    record: TaskRecord, places: Mapping[str, Mapping[str, Any]], around: Surroundings
) -> dict[int, _Value]:
    """Return result and time of success of the parents that the call asks for, by number."""
    numbers: set[int] = set()
    for kind in places.values():
        for place in kind.values():
            for one in place if isinstance(place, list) else [place]:
                numbers.add(one["at"] if isinstance(one, dict) else one)
    parents = parents_of(record)
    ids = [parents[number] for number in sorted(numbers)]
    if len(ids) == 1:
        one = await around.past.get(ids[0])
        found = {} if one is None else {ids[0]: one}
    else:
        found = await around.past.get_many(ids)
    if missing := [task_id for task_id in ids if task_id not in found]:
        raise TaskNotFoundError(
            f"Task {record.id} needs the results of {counted(len(missing), 'task')} not in "
            f"this queue any more: {', '.join(missing[:5])}. They were deleted after it had "
            "ended, so enqueue the call anew."
        )
    return {number: _value(found[parents[number]], around) for number in numbers}


def _value(parent: TaskRecord, around: Surroundings) -> _Value:
    """Return the parent's result and when it succeeded; nothing if it did not."""
    if parent.status is not TaskStatus.SUCCESS or parent.completed_at is None:
        return _Value()
    definition = around.registry.definitions.get(parent.name)
    stored = json.loads(parent.result) if parent.result is not None else None
    value = _Value(Stored(stored), stored, parent.completed_at.replace(tzinfo=UTC))
    if definition is not None:
        with contextlib.suppress(InvalidCallError):  # its annotation has changed since
            value.result = definition.codec.decode_result(parent.result)
    return value
