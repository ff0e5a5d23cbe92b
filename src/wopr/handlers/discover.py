"""Find tasks in modules that nobody has imported yet."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint
from typing import Any, NamedTuple

from wopr.calls.modules import GROUP, imported, installed, modules_of
from wopr.core.task import Task
from wopr.domain.errors import InvalidCallError
from wopr.handlers.include import declared_in, tasks_of


class Found(NamedTuple):
    """A module, and the declared tasks to take from it."""

    module: str
    tasks: list[Task[..., Any]]


def of_modules(patterns: Iterable[str]) -> list[Found]:
    """Return what the modules have that match; one may have none.

    Raises:
        InvalidCallError: a pattern matches nothing, or an import failed.
    """
    modules = [
        imported(name, f"the pattern {pattern!r} of discover")
        for name, pattern in modules_of(patterns).items()
    ]
    return [Found(one.__name__, [task for task, _ in declared_in(one)]) for one in modules]


def of_packages() -> list[Found]:
    """Return what installed packages offer.

    Raises:
        InvalidCallError: an import failed, or what is offered is no task and no module with one.
    """
    return [Found(one.module, _offered(one)) for one in installed()]


def _offered(point: EntryPoint) -> list[Task[..., Any]]:
    package = "an installed package" if point.dist is None else f"package {point.dist.name}"
    why = (
        f"the entry point {point.name!r} = {point.value!r} of group {GROUP!r}, of {package}; to do "
        "without all of them: WOPR_TASKS_ENTRY_POINTS=0"
    )
    offered: object = imported(point.module, why)
    try:
        for name in point.attr.split(".") if point.attr else ():
            offered = getattr(offered, name)
        return [task for task, _ in tasks_of(offered)]
    except (AttributeError, InvalidCallError) as error:
        raise InvalidCallError(f"{error} It was looked at for {why}.") from error
