"""What the decorators note on classes and methods, for the registration to read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from wopr.calls.schedules import OPTIONS, WHEN
from wopr.core.scheduleinfo import ScheduleOptions
from wopr.domain.checks import check_count, check_label, check_priority, check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.retry import RetryPolicy
from wopr.domain.scheduleoptions import parse_schedule_options
from wopr.domain.status import TaskPriority

HANDLER = "__wopr_handler__"
TASK = "__wopr_task__"
SCHEDULE = "__wopr_schedule__"


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskMark:
    """The options of one task, or of all tasks of a class; ``None`` where nothing was said.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """

    name: str | None = None
    category: str | None = None
    priority: TaskPriority | None = None
    max_retries: int | None = None
    retry: Any = None
    timeout: float | timedelta | None = None
    soft_timeout: float | timedelta | None = None

    def __post_init__(self) -> None:
        if self.name is not None:
            check_label(self.name, "name")
        if self.category is not None:
            check_label(self.category, "category")
        if self.priority is not None:
            check_priority(self.priority)
        if self.max_retries is not None:
            check_count(self.max_retries, "max_retries")
        if self.retry is not None:
            RetryPolicy.of(self.retry)
        if self.timeout is not None:
            check_seconds(self.timeout, "timeout", zero="refuse")
        if self.soft_timeout is not None:
            check_seconds(self.soft_timeout, "soft_timeout", zero="refuse")

    def given(self) -> dict[str, Any]:
        """Return what was said besides the name."""
        names = ("category", "priority", "max_retries", "retry", "timeout", "soft_timeout")
        values = ((name, getattr(self, name)) for name in names)
        return {name: value for name, value in values if value is not None}


@dataclass(frozen=True, slots=True)
class ScheduleMark:
    """The options of a method's schedule, as they were given.

    Raises:
        InvalidScheduleSpecificationError: when it fires can't be read.
        InvalidCallError: there is no such option.
    """

    name: str | None
    options: ScheduleOptions

    def __post_init__(self) -> None:
        unknown = sorted(self.options.keys() - OPTIONS)
        if unknown:
            raise InvalidCallError(
                f"@schedule has no option {', '.join(map(repr, unknown))}; there are "
                f"{', '.join(sorted(OPTIONS))}."
            )
        parse_schedule_options(**{key: self.options.get(key) for key in WHEN})  # type: ignore[arg-type]


def put(method: Any, attribute: str, mark: TaskMark | ScheduleMark) -> None:
    """Note something on a method.

    Raises:
        InvalidCallError: it can't hold a note, or has this one already.
    """
    decorator = "@task" if attribute == TASK else "@schedule"
    if isinstance(method, staticmethod | classmethod):
        raise _not_of_an_instance(decorator, method.__func__)
    if not callable(method) or isinstance(method, type):
        raise InvalidCallError(
            f"{decorator} goes on a method of a @TaskHandler() class, not on {shown(method)}."
        )
    if _mark(method, attribute) is not None:
        raise InvalidCallError(
            f"{_name_of(method)} has {decorator} already. Write one, with all its options."
        )
    try:
        setattr(method, attribute, mark)
    except (AttributeError, TypeError) as error:
        raise InvalidCallError(
            f"{decorator} can't be put on {_name_of(method)}: it takes no attributes. Call it from "
            "a method of your own and decorate that."
        ) from error


def marked_methods(
    handler_type: type,
) -> Iterator[tuple[str, Callable[..., Any], TaskMark | None, ScheduleMark | None]]:
    """Yield the decorated methods of a class and of those it inherits from, in their order.

    One that a subclass overrides counts as it is there.

    Raises:
        InvalidCallError: a static method or a class method is decorated.
    """
    members: dict[str, Any] = {}
    for cls in reversed(handler_type.__mro__):
        members.update(vars(cls))
    for name, member in members.items():
        method = getattr(member, "__func__", member)
        task, schedule = _mark(method, TASK), _mark(method, SCHEDULE)
        if task is None and schedule is None:
            continue
        if isinstance(member, staticmethod | classmethod):
            raise _not_of_an_instance("@task" if task is not None else "@schedule", method)
        yield name, method, task, schedule


def _mark(method: Any, attribute: str) -> Any:
    return inspect.getattr_static(method, attribute, None)  # runs no code of the class's members


def _not_of_an_instance(decorator: str, method: Any) -> InvalidCallError:
    return InvalidCallError(
        f"{_name_of(method)} is a static method or a class method; {decorator} is for methods of "
        "an instance. Give it a self, or make it a function with @queue.task."
    )


def _name_of(method: Any) -> str:
    return str(getattr(method, "__qualname__", method))
