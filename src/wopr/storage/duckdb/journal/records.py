r"""Transitions as records of the journal: a line of text for each.

A line is made of fields, with ``\x1f`` between them. An empty field is NULL where its column
can be. Within a field, ``\x1e`` escapes: ``\x1e0`` is itself, ``\x1e1`` a line's end, ``\x1e2``
a field's end, and ``\x1e3`` stands for a text that is empty where there could be none. Times
are microseconds since 1970, numbers are as Python writes them, yes and no are ``1`` and ``0``.

Every line begins with these fields:

    1 seq   2 kind   3 task_id   4 occurred_at   5 attempt   6 from_status   7 to_status
    8 worker   9 reason

and goes on by its kind:

- ``a``, a new task: 10 name, 11 category, 12 priority, 13 max_retries, 14 args, 15 kwargs.
- ``A``, one of which more is to be said: the same, then 16 run_at, 17 options, 18 unique_key,
  19 waiting, 20 depends_on, 21 flow_id, 22 schedule, 23 scheduled_for.
- ``c``, a claim: nothing more; what a claim does not set is as in a task that is new.
- ``s``, a success: 10 how many microseconds after its start, less than a day, and 11 result.
  No retries and no crashes were counted, there is no run_at, and the worker is the task's.
- ``f``, anything else: 10 error and 11 data of the transition, then how it left its task:
  12 retry_count, 13 crashes, 14 run_at, 15 started_at, 16 completed_at, 17 elapsed_seconds,
  18 worker, 19 result, 20 error, 21 error_type, 22 progress, 23 progress_message, 24 waiting,
  and if there is any, 25 progress_data.
- ``m``, a change of where a task waits: the same as ``f`` up to 24, then 25 category, 26 priority,
  and if there is any, 27 progress_data.

So each line says by itself how its task stands after it, and of several lines only the last
one counts, but for category and priority: of those, the last ``m``. What a transition does is
said by :func:`wopr.domain.fold.apply` alone, which was asked before the line was written.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from wopr.domain.errors import StorageError
from wopr.domain.status import TaskStatus
from wopr.domain.task import MUTABLE_COLUMNS, TaskRecord
from wopr.domain.transition import Transition, encode_added, encode_data

Row = tuple[Any, ...]

END = "\n"
SEPARATOR = "\x1f"
ESCAPE = "\x1e"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC).replace(tzinfo=None)
_STARTED, _SUCCESS = TaskStatus.STARTED, TaskStatus.SUCCESS
_YES_NO: dict[bool | None, str] = {None: "", False: "0", True: "1"}
_CHANGING = len(MUTABLE_COLUMNS)
_NO_ERROR = (None, None)
PLACE = frozenset({"category", "priority"})
"""The columns of a task that change only when somebody says so."""
_STATE = 13
"""So many fields say how a task stands after ``f`` or ``m``, besides what is seldom there."""
_MOST_ENTRIES = 4096
_LONGEST = 200


class _Texts(dict[str | None, str]):
    """Escaped texts that come again and again: names, workers, reasons."""

    def __missing__(self, text: str | None) -> str:
        escaped = _text(text)
        if len(escaped) <= _LONGEST:
            if len(self) >= _MOST_ENTRIES:
                self.clear()
            self[text] = escaped
        return escaped


class _Numbers(dict[int, str]):
    """Whole numbers that a column of 32 bits holds, as text."""

    def __missing__(self, number: int) -> str:
        try:
            text = f"{number:d}"
        except (TypeError, ValueError):
            text = ""
        if not text or not -(2**31) <= number < 2**31:
            raise StorageError(
                f"A task can't be stored with {number!r:.80} as its priority, its attempt or a "
                f"number of retries or crashes: these are whole numbers from {-(2**31)} to "
                f"{2**31 - 1}. Nothing was written; give a number within these bounds."
            )
        if len(self) < _MOST_ENTRIES:
            self[number] = text
        return text


_TEXTS = _Texts()
_NUMBERS = _Numbers()


def transition_record(record: TaskRecord, transition: Transition) -> str:
    """Return the line of a transition, without the line's end.

    ``record`` is the task right after :func:`wopr.domain.fold.apply`; a new one has its
    number, and nothing happened to it since :func:`wopr.domain.transition.added`.

    Raises:
        StorageError: A number is out of the bounds of its column.
    """
    before = transition.from_status
    since = transition.occurred_at - _EPOCH
    time = (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds
    if before is None:
        return _added(record, transition, time)
    status = transition.to_status
    if status is _SUCCESS and before is _STARTED:
        return _success(record, transition, time)
    if status is _STARTED and _as_new(record, transition):
        return (
            f"{transition.seq}\x1fc\x1f{transition.task_id}\x1f{time}"
            f"\x1f{_NUMBERS[transition.attempt]}\x1f{before._value_}\x1fstarted"
            f"\x1f{_TEXTS[transition.worker]}\x1fclaim"
        )
    return _full(record, transition, before, time)


def _as_new(record: TaskRecord, transition: Transition) -> bool:
    """Whether a claim leaves its task as it leaves a new one."""
    return (
        transition.data is None
        and transition.reason == "claim"
        and transition.error is None
        and record.error is None
        and record.error_type is None
        and record.result is None
        and record.progress_data is None
        and record.run_at is None
        and record.elapsed_seconds is None
        and not record.retry_count
        and not record.crashes
    )


def _added(record: TaskRecord, transition: Transition, time: int) -> str:
    payloads = record.args + record.kwargs
    if "\n" in payloads or "\x1f" in payloads or "\x1e" in payloads:
        args, kwargs = _text(record.args), _text(record.kwargs)
    else:
        args, kwargs = record.args, record.kwargs
    if (
        record.run_at is None
        and record.options is None
        and record.unique_key is None
        and record.depends_on is None
        and record.flow_id is None
        and record.schedule is None
        and record.scheduled_for is None
        and record.waiting is False
    ):
        kind = "a"
        more = ""
    else:
        kind = "A"
        more = (
            f"\x1f{_time(record.run_at)}\x1f{_text(record.options)}\x1f{_text(record.unique_key)}"
            f"\x1f{_YES_NO[record.waiting]}\x1f{_text(record.depends_on)}"
            f"\x1f{_text(record.flow_id)}\x1f{_TEXTS[record.schedule]}"
            f"\x1f{_time(record.scheduled_for)}"
        )
    return (
        f"{transition.seq}\x1f{kind}\x1f{transition.task_id}\x1f{time}\x1f0\x1f"
        f"\x1f{transition.to_status._value_}\x1f\x1f{_TEXTS[transition.reason]}"
        f"\x1f{_TEXTS[record.name]}\x1f{_TEXTS[record.category]}\x1f{_NUMBERS[record.priority]}"
        f"\x1f{_NUMBERS[record.max_retries]}\x1f{args}\x1f{kwargs}{more}"
    )


def _success(record: TaskRecord, transition: Transition, time: int) -> str:
    data = transition.data
    started = record.started_at
    worker = transition.worker
    if (
        not data
        or len(data) > 1
        or (result := data.get("result")) is None
        or started is None
        or (took := transition.occurred_at - started).days
        or transition.reason != "succeed"
        or transition.error is not None
        or record.run_at is not None
        or record.progress_data is not None
        or record.retry_count
        or record.crashes
        or record.waiting is not False
        or record.worker != worker
    ):
        return _full(record, transition, _STARTED, time)
    if "\n" in result or "\x1f" in result or "\x1e" in result or not result:
        result = _text(result)
    return (
        f"{transition.seq}\x1fs\x1f{transition.task_id}\x1f{time}"
        f"\x1f{_NUMBERS[transition.attempt]}\x1fstarted\x1fsuccess\x1f{_TEXTS[worker]}\x1fsucceed"
        f"\x1f{took.seconds * 1_000_000 + took.microseconds}\x1f{result}"
    )


def _full(record: TaskRecord, transition: Transition, before: TaskStatus, time: int) -> str:
    message = record.progress_message and _text(record.progress_message)
    kind, place = "f", ""
    if transition.data is not None and not PLACE.isdisjoint(transition.data):
        kind, place = "m", f"\x1f{_TEXTS[record.category]}\x1f{_NUMBERS[record.priority]}"
    reported = "" if record.progress_data is None else f"\x1f{_text(record.progress_data)}"
    return (
        f"{transition.seq}\x1f{kind}\x1f{transition.task_id}\x1f{time}"
        f"\x1f{_NUMBERS[transition.attempt]}\x1f{before._value_}"
        f"\x1f{transition.to_status._value_}"
        f"\x1f{_TEXTS[transition.worker]}\x1f{_TEXTS[transition.reason]}"
        f"\x1f{_text(transition.error)}\x1f{_text(encode_data(transition.data))}"
        f"\x1f{_NUMBERS[record.retry_count]}\x1f{_NUMBERS[record.crashes]}"
        f"\x1f{_time(record.run_at)}\x1f{_time(record.started_at)}\x1f{_time(record.completed_at)}"
        f"\x1f{_real(record.elapsed_seconds)}\x1f{_TEXTS[record.worker]}\x1f{_text(record.result)}"
        f"\x1f{_text(record.error)}\x1f{_TEXTS[record.error_type]}\x1f{_real(record.progress)}"
        f"\x1f{message}\x1f{_YES_NO[record.waiting]}{place}{reported}"
    )


def _text(text: str | None) -> str:
    """Return a text as a field."""
    if text is None:
        return ""
    if ESCAPE in text or END in text or SEPARATOR in text:
        text = text.replace(ESCAPE, "\x1e0").replace(END, "\x1e1").replace(SEPARATOR, "\x1e2")
    return text or "\x1e3"


def _time(moment: datetime | None) -> str:
    if moment is None:
        return ""
    since = moment - _EPOCH
    return str((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


def _real(number: float | None) -> str:
    if number is None:
        return ""
    try:
        return repr(float(number))
    except (TypeError, ValueError, OverflowError):
        raise StorageError(
            f"A task can't be stored with {number!r:.80} as its progress or as the seconds that "
            "it ran. Nothing was written; give a number that float() takes."
        ) from None


# -- reading ------------------------------------------------------------------


class Read(NamedTuple):
    """What a line says."""

    transition: Row
    """A row of ``transitions``."""
    state: Row
    """How its task stands after it: the columns that change."""
    rest: Row | None
    """Of a new task, its other columns."""
    place: Row | None = None
    """Of one that was moved, its id, category and priority."""


def read_record(line: str) -> Read:
    """Return what a line says that :func:`transition_record` wrote."""
    fields: list[Any] = [field or None for field in line.split(SEPARATOR)]
    if ESCAPE in line:
        fields = [field and _unescaped(field) for field in fields]
    [seq, kind, task_id, since, attempt, before, after, worker, reason, *more] = fields
    seq, time, attempt = int(seq), _moment(since), int(attempt)
    state: Row
    error = data = rest = place = None
    if kind == "c":
        state = (0, 0, None, time, None, None, worker, None, *_NO_ERROR, 0.0, "", seq, False, None)
    elif kind == "s":
        [took, result] = more
        times = (time - timedelta(microseconds=int(took)), time, int(took) / 1_000_000)
        state = (0, 0, None, *times, worker, result, *_NO_ERROR, 100.0, "", seq, False, None)
        data = '{"result":' + result + "}"
    elif kind == "m":
        error, data, *left = more
        category, priority = left[_STATE : _STATE + 2]
        place = (task_id, category or "", int(priority))
        state = _state(left[:_STATE] + left[_STATE + 2 :], seq)
    elif kind == "f":
        error, data, *left = more
        state = _state(left, seq)
    else:
        record = _new_task(task_id, after, time, seq, more)
        row = record.row()
        data, state, rest = encode_added(record), row[3:_CHANGING], row[_CHANGING:]
    return Read(
        (seq, task_id, attempt, before, after, time, worker, reason, error, data),
        (task_id, after, attempt, *state),
        rest,
        place,
    )


def _state(fields: list[Any], seq: int) -> Row:
    [retries, crashes, run_at, started, completed, elapsed, *texts] = fields[: _STATE - 3]
    [progress, message, waits, *reported] = fields[_STATE - 3 :]
    return (
        int(retries),
        int(crashes),
        _moment(run_at),
        _moment(started),
        _moment(completed),
        None if elapsed is None else float(elapsed),
        *texts,
        float(progress),
        message or "",
        seq,
        None if waits is None else waits == "1",
        reported[0] if reported else None,
    )


def _new_task(task_id: str, status: str, time: datetime, seq: int, fields: list[Any]) -> TaskRecord:
    [name, category, priority, max_retries, args, kwargs, *more] = fields
    record = TaskRecord(
        task_id,
        name or "",
        category or "",
        int(priority),
        int(max_retries),
        args or "",
        kwargs or "",
        time,
    )
    record.status = TaskStatus(status)
    record.seq = record.version = seq
    if more:
        [run_at, options, unique_key, waits, depends_on, flow_id, schedule, planned] = more
        record.run_at, record.scheduled_for = _moment(run_at), _moment(planned)
        record.options, record.unique_key = options, unique_key
        record.waiting = waits == "1"
        record.depends_on, record.flow_id, record.schedule = depends_on, flow_id, schedule
    return record


def _moment(microseconds: str | None) -> Any:
    """Return a time; ``Any`` because the columns that must have one always do."""
    if microseconds is None:
        return None
    return _EPOCH + timedelta(microseconds=int(microseconds))


def _unescaped(text: str) -> str:
    text = text.replace("\x1e3", "").replace("\x1e2", SEPARATOR).replace("\x1e1", END)
    return text.replace("\x1e0", ESCAPE)
