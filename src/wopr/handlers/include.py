"""Put tasks into a queue that were declared without one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from types import ModuleType

from wopr.core.core import Core
from wopr.core.declared import Declared
from wopr.core.task import Task
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.handlers.declares import Declares


def include(queue: Declares, core: Core, sources: Iterable[object]) -> None:
    """Register declared tasks, and those of modules, with a queue.

    Raises:
        DuplicateTaskError: a name belongs to another function.
        InvalidCallError: a source is no declared task and no module with one; nothing was
            registered.
    """
    for task, declared in [pair for source in sources for pair in tasks_of(source)]:
        bind(queue, core, task, declared)


def bind(queue: Declares, core: Core, task: Task[..., object], declared: Declared) -> None:
    """Register one declared task with a queue, and declare its schedules there; once.

    Raises:
        DuplicateTaskError: its name belongs to another function.
        DuplicateScheduleError: the name of a schedule belongs to another one.
        InvalidCallError: a schedule's arguments do not fit the function.
    """
    if not declared.is_in(core):
        bound = queue.task(name=declared.name, **declared.options)(task.function)
        for name, options in declared.schedules:
            queue.schedule(name=name, **options)(bound)
        declared.bind(core)


def declared_in(module: ModuleType) -> Iterator[tuple[Task[..., object], Declared]]:
    """Yield the declared tasks that a module has names for; each once."""
    seen: list[object] = []
    for value in list(vars(module).values()):
        if isinstance(value, Task) and value not in seen:
            seen.append(value)
            if (declared := declared_of(value)) is not None:
                yield value, declared


def declared_of(task: Task[..., object]) -> Declared | None:
    """Return what a task was declared with; ``None`` for one of ``@queue.task``."""
    home = task.home
    return home if isinstance(home, Declared) else None


def tasks_of(source: object) -> list[tuple[Task[..., object], Declared]]:
    """Return the declared tasks that a source stands for.

    Raises:
        InvalidCallError: it is no declared task and no module with one.
    """
    if isinstance(source, ModuleType):
        if found := list(declared_in(source)):
            return found
        raise InvalidCallError(
            f"Module {source.__name__} has no task that was declared with @wopr.task, so there is "
            "nothing to put into the queue. Those of a module below it: "
            f'queue.discover("{source.__name__}.**").'
        )
    if isinstance(source, Task):
        if (declared := declared_of(source)) is not None:
            return [(source, declared)]
        raise InvalidCallError(
            f"Task {source.name!r} was declared with @queue.task and is in that queue. To put it "
            "into another one, or into one that is made later, declare it with @wopr.task."
        )
    raise InvalidCallError(
        "A queue takes tasks that were declared with @wopr.task, and modules with such tasks, not "
        f"{shown(source)}. A function that is no task: queue.register_task(name)(function). A "
        'module by its name: queue.discover("shop.tasks").'
    )
