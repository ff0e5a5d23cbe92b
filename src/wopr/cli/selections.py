"""The options that say which tasks a command is about; the same for each of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, Concatenate, ParamSpec

from wopr.cli.declared import Argument, Option
from wopr.cli.errors import UsageError
from wopr.core.tasks import SelectedTasks
from wopr.domain.status import TaskStatus
from wopr.domain.typed import WHEN, typed_time
from wopr.queue.queue import TaskQueue

P = ParamSpec("P")

IdArguments = Annotated[
    list[str] | None, Argument(metavar="[ID]...", help="Ids, or their beginnings.")
]
Ids = Annotated[
    list[str] | None,
    Option("--ids", metavar="ID,ID", help="Ids, or their beginnings, with commas between."),
]
Names = Annotated[list[str] | None, Option("--name", "-n", help="Of this task; may be repeated.")]
Categories = Annotated[
    list[str] | None, Option("--category", "-c", help="Of this category; may be repeated.")
]
Statuses = Annotated[
    list[TaskStatus] | None,
    Option("--status", "-s", help="In this status; may be repeated."),
]
Since = Annotated[
    str | None, Option("--since", metavar="WHEN", help=f"Enqueued then or later: {WHEN}.")
]
Until = Annotated[str | None, Option("--until", metavar="WHEN", help="Enqueued before that.")]
Flow = Annotated[str | None, Option("--flow", metavar="ID", help="Of this flow.")]
ScheduleName = Annotated[
    str | None, Option("--schedule", metavar="NAME", help="Enqueued by this schedule.")
]
Tag = Annotated[str | None, Option("--tag", help="With this tag.")]
Error = Annotated[
    str | None,
    Option(
        "--error",
        metavar="FINGERPRINT",
        help="Whose newest failure says this, but for numbers; a fingerprint of the view failures, "
        "or the text of an error.",
    ),
]
Where = Annotated[
    str | None,
    Option("--where", "-w", metavar="SQL", help="For which this condition over tasks is true."),
]

_OPTIONS: dict[str, Any] = {
    "task_ids": IdArguments,
    "ids": Ids,
    "name": Names,
    "category": Categories,
    "status": Statuses,
    "since": Since,
    "until": Until,
    "flow": Flow,
    "schedule": ScheduleName,
    "tag": Tag,
    "error": Error,
    "where": Where,
}


_SIMPLE = frozenset({"name", "category", "status"})


class Chosen:
    """What the options of a command say about which tasks it is about."""

    def __init__(self, **given: Any) -> None:
        ids = [*(given.pop("task_ids") or ()), *_split(given.pop("ids"))]
        self.ids = list(dict.fromkeys(ids))
        """As they were given, in order."""
        self._where = given.pop("where")
        self._given = {name: value for name, value in given.items() if value is not None}
        for name in ("since", "until"):
            if name in self._given:
                self._given[name] = when(self._given[name], f"--{name}")
        self.by_id = bool(self.ids) and not self._given and self._where is None
        """Whether it is about some tasks by their ids, and nothing else."""

    def check(self) -> None:
        """Refuse to choose from all tasks by saying nothing.

        Raises:
            UsageError: no option says which.
        """
        if not self.ids and not self._given and self._where is None:
            raise UsageError(
                "Say which tasks: by their ids, or with --name, --category, --status, --since, "
                "--until, --flow, --schedule, --tag, --error or --where. Add --dry-run to see "
                "first. For all there are: --where true"
            )

    @property
    def any(self) -> bool:
        """Whether anything at all is said about which tasks."""
        return bool(self.ids or self._given or self._where is not None)

    @property
    def simple(self) -> dict[str, Any] | None:
        """What it says, if that is one name, one category and one status at most."""
        values = {name: value for name, value in self._given.items() if name in _SIMPLE}
        if self.ids or self._where is not None or len(values) < len(self._given):
            return None
        if any(len(value) > 1 for value in values.values()):
            return None
        return {name: value[0] for name, value in values.items()}

    @property
    def conditions(self) -> dict[str, Any]:
        """All but the ids, by the names that ``queue.eta`` has for them."""
        return {"condition": self._where, **self._given}

    def of(self, queue: TaskQueue) -> SelectedTasks:
        """Return these tasks of a queue."""
        return queue.tasks.where(self._where, ids=self.ids or None, **self._given)


def when(text: str, option: str) -> datetime | timedelta:
    """Return a moment, or how long ago one was, or will be.

    Raises:
        UsageError: it is neither.
    """
    try:
        return typed_time(text)
    except (ValueError, OverflowError):
        naive = "" if _has_a_zone(text) else " It has no time zone."
        raise UsageError(f"{option} takes {WHEN}, not {text!r}.{naive}") from None


def _has_a_zone(text: str) -> bool:
    """Whether a text that is a moment says where; ``True`` for one that is none."""
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except ValueError:
        return True


def filtered(command: Callable[Concatenate[Chosen, P], None]) -> Callable[..., None]:
    """Give a command the options that say which tasks it is about; it gets them as one value."""
    own = list(inspect.signature(command, eval_str=True).parameters.values())[1:]
    shared = [
        inspect.Parameter(
            name, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None, annotation=annotation
        )
        for name, annotation in _OPTIONS.items()
    ]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = Chosen(**{name: given.pop(name) for name in _OPTIONS})
        command(chosen, **given)  # type: ignore[call-arg]

    before = [one for one in own if one.default is inspect.Parameter.empty]
    after = [one for one in own if one.default is not inspect.Parameter.empty]
    parameters = [*before, *shared, *after]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {one.name: one.annotation for one in parameters}
    return run


def _split(ids: list[str] | None) -> list[str]:
    return [one.strip() for text in ids or () for one in text.split(",") if one.strip()]
