"""What the decorators note on classes and methods, for the registration to read."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from wopr.calls.options import (
    HANDLER_OPTIONS,
    SCHEDULE_OPTIONS,
    HandlerOptions,
    ScheduleOptions,
    check_options,
)
from wopr.calls.schedules import trigger_of
from wopr.domain.checks import check_count, check_label, check_priority, check_retain, check_seconds
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.limits import check_expression, parse_rate
from wopr.domain.retry import RetryPolicy

HANDLER = "__wopr_handler__"
TASK = "__wopr_task__"
SCHEDULE = "__wopr_schedule__"
_CHECKS: dict[str, Callable[[Any], object]] = {
    "category": lambda value: check_label(value, "category"),
    "priority": check_priority,
    "max_retries": lambda value: check_count(value, "max_retries"),
    "retry": RetryPolicy.of,
    "timeout": lambda value: check_seconds(value, "timeout", zero="refuse"),
    "soft_timeout": lambda value: check_seconds(value, "soft_timeout", zero="refuse"),
    "retain": check_retain,
    "limit": lambda value: check_count(value, "limit", least=1),
    "rate": parse_rate,
    "key": lambda value: check_expression(value, "key"),
}


@dataclass(frozen=True, slots=True)
class TaskMark:
    """What was said about one task, or about all tasks of a class.

    Raises:
        InvalidCallError: a value can't be what it has to be, or there is no such option.
    """

    name: str | None = None
    options: HandlerOptions = field(default_factory=HandlerOptions)

    def __post_init__(self) -> None:
        if self.name is not None:
            check_label(self.name, "name")
        check_options(self.options, HANDLER_OPTIONS | {"name"})
        check_values(self.options)

    def given(self) -> dict[str, Any]:
        """Return what was said besides the name."""
        return {key: value for key, value in self.options.items() if value is not None}


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
        check_options(self.options, SCHEDULE_OPTIONS, "@schedule has no option")
        trigger_of(self.options)


def check_values(options: Mapping[str, Any]) -> None:
    """Refuse values that a task can't have where it is declared, long before it is registered.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """
    for key in _CHECKS.keys() & options.keys():
        if options[key] is not None:
            _CHECKS[key](options[key])


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
