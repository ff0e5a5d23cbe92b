"""What a call looks like as a Celery message, and how it is read again."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from wopr.domain.guarded import guarded
from wopr.domain.snapshot import decode_options
from wopr.domain.task import TaskRecord
from wopr.executors.call import Call

ID, ATTEMPT, CATEGORY, LEASE = "wopr-id", "wopr-attempt", "wopr-category", "wopr-lease"
IDENTITY, CONTEXT, HOLES = "wopr-identity", "wopr-context", "wopr-holes"
TRACE = ("traceparent", "tracestate", "baggage")
_CARRIED = {"auth": IDENTITY, "context": CONTEXT}
LONGEST_LEASE = 86_400.0

Body = tuple[list[Any], dict[str, Any]]


def body_of(call: Call) -> Body:
    """Return the arguments as JSON values: those that were stored, and results of parents."""
    args, kwargs = call.codec.encode_call(call.args, call.kwargs)
    values, keywords = json.loads(args), json.loads(kwargs)
    record = call.record
    if record is None:
        return values, keywords
    ordered, named = _holes(_places(record))
    # Stored arguments go as they are stored: that is what an identity was signed for.
    stored, stored_keywords = json.loads(record.args), json.loads(record.kwargs)
    values = [values[at] if at in ordered else one for at, one in enumerate(stored)]
    keywords = {key: keywords[key] if key in named else one for key, one in stored_keywords.items()}
    return values, keywords


def headers_of(call: Call, lease: float) -> dict[str, str]:
    """Return what goes beside the arguments: texts only, as brokers take them."""
    task = call.context
    headers = {
        ID: task.id,
        ATTEMPT: str(task.attempt),
        CATEGORY: task.category,
        LEASE: f"{lease:g}",
    }
    record = call.record
    options = decode_options(record.options) if record is not None and record.options else {}
    for key, name in _CARRIED.items():
        if options.get(key) is not None:
            value = options[key]
            headers[name] = value if isinstance(value, str) else json.dumps(value)
    if options.get("results"):
        headers[HOLES] = json.dumps(options["results"])
    stored = options.get("trace")
    trace = _current_trace() or (stored if isinstance(stored, dict) else {})
    headers.update({key: trace[key] for key in TRACE if isinstance(trace.get(key), str)})
    return headers


def _current_trace() -> dict[str, str]:
    """Return the context of the span that is current here; empty without OpenTelemetry."""
    try:
        from opentelemetry import propagate
    except ImportError:
        return {}
    found: dict[str, str] = {}
    guarded(lambda: propagate.inject(found), None)
    return found


@dataclass(frozen=True, slots=True)
class Letter:
    """A call as a Celery worker gets it."""

    id: str
    attempt: int
    category: str
    lease: float
    """Seconds; 0 for a message that was not sent by a :class:`CeleryExecutor`."""
    packed: Mapping[str, Any] = field(default_factory=dict)
    """What was taken along, by the keys of the carriers."""

    @property
    def counted(self) -> bool:
        """Whether a queue waits for word of it."""
        return self.lease > 0


def letter_of(request: Any) -> Letter:
    """Read a message's headers. What is no text, or can't be read, is left out."""
    found = request.headers if isinstance(request.headers, Mapping) else {}
    texts = {key: value for key, value in found.items() if isinstance(value, str)}
    packed: dict[str, Any] = {}
    if IDENTITY in texts:
        packed["auth"] = texts[IDENTITY]
    for key, name in (("context", CONTEXT), ("results", HOLES)):
        value = _parsed(texts.get(name))
        if isinstance(value, dict):
            packed[key] = value
    if trace := {key: texts[key] for key in TRACE if key in texts}:
        packed["trace"] = trace
    lease = guarded(lambda: float(texts.get(LEASE, "0")), 0.0)
    if ID not in texts or not 0 < lease <= LONGEST_LEASE:
        retries = request.retries if isinstance(request.retries, int) else 0
        return Letter(str(request.id), retries + 1, "celery", 0.0, packed)
    attempt = guarded(lambda: int(texts.get(ATTEMPT, "1")), 1)
    return Letter(texts[ID], attempt, texts.get(CATEGORY, "default"), lease, packed)


def record_of(name: str, letter: Letter, args: list[Any], kwargs: dict[str, Any]) -> TaskRecord:
    """Return the task as it was stored when its identity was signed: holes are empty again."""
    ordered, named = _holes(letter.packed.get("results") or {})
    values = [None if at in ordered else one for at, one in enumerate(args)]
    keywords = {key: None if key in named else one for key, one in kwargs.items()}
    options = json.dumps(dict(letter.packed)) if letter.packed else None
    texts = json.dumps(values), json.dumps(keywords)
    epoch = datetime.fromtimestamp(0, UTC).replace(tzinfo=None)
    return TaskRecord(letter.id, name, letter.category, 0, 0, *texts, epoch, options=options)


def _places(record: TaskRecord) -> Mapping[str, Any]:
    options = decode_options(record.options) if record.options else {}
    return options.get("results") or {}


def _holes(places: Mapping[str, Any]) -> tuple[set[int], set[str]]:
    """Return which arguments are results of other tasks, by position and by name."""
    ordered = places.get("args") if isinstance(places.get("args"), dict) else {}
    named = places.get("kwargs") if isinstance(places.get("kwargs"), dict) else {}
    return {int(at) for at in ordered or {} if str(at).isdigit()}, set(named or {})


def _parsed(text: str | None) -> object:
    read: Callable[[], object] = lambda: None if text is None else json.loads(text)  # noqa: E731
    return guarded(read, None)
