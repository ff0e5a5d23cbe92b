"""Which function runs under which name. The name is the contract with the stored rows."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wopr.calls.byname import ByName
from wopr.calls.carrier import Carrier
from wopr.calls.resources import Resource, Resources
from wopr.domain.callables import is_async_callable
from wopr.domain.codec import CallCodec, PayloadLimits
from wopr.domain.errors import DuplicateTaskError, InvalidCallError, TaskNotRegisteredError
from wopr.domain.jsontext import shown
from wopr.domain.limits import Limit
from wopr.domain.modulenames import path_of
from wopr.domain.origin import Kinship, Origin, executed_anew, kinship, origin_of
from wopr.domain.retaining import RETAIN
from wopr.domain.retry import RetryPolicy
from wopr.domain.snapshot import decode_options
from wopr.domain.status import TaskPriority
from wopr.domain.task import UNLIMITED_RETRIES
from wopr.executors.choice import ExecutorChoice
from wopr.executors.context import CurrentTask

log = logging.getLogger(__name__)

Middleware = Callable[[CurrentTask, Callable[[], Awaitable[Any]]], Awaitable[Any]]
"""Runs around a task's function: it is given the task, and what to await for the rest."""


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How attempts of a task are run, unless a call says otherwise. Times in seconds."""

    retry: RetryPolicy
    timeout: float | None = None
    soft_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class CategoryOptions:
    """What the code says about a category."""

    executor: ExecutorChoice = None
    background: bool = False
    lend_slots: bool = False


@dataclass(frozen=True, slots=True)
class TaskDefinition:
    """A registered function and how it is run by default."""

    name: str
    function: Callable[..., Any]
    category: str
    priority: int
    max_retries: int | None
    run_options: RunOptions
    codec: CallCodec
    is_async: bool
    retries: int
    """The retry budget of a call that says nothing else."""
    carriers: list[Carrier]
    """What goes along with its calls; the list of the registry, unless it has more."""
    origin: Origin
    """Where the function was defined."""
    executor: ExecutorChoice = None
    """What runs it; ``None`` leaves it to the category."""
    limit: Limit | None = None
    """What it declares for all its calls in its category, or for each value of a key."""
    options: str | None = None
    """What is stored with a call that says nothing else."""

    @property
    def retain(self) -> float | None:
        """How many seconds its tasks are kept after their end."""
        return None if self.options is None else decode_options(self.options).get(RETAIN)

    @property
    def retry(self) -> RetryPolicy:
        """The retry policy of a call that says nothing else."""
        return self.run_options.retry


_PLAIN = CategoryOptions()


class Registry:
    """Definitions by name."""

    def __init__(self, limits: PayloadLimits) -> None:
        self._limits = limits
        self.definitions: dict[str, TaskDefinition] = {}
        self.categories: dict[str, CategoryOptions] = {}
        self.carriers: list[Carrier] = []
        """What goes along with every call of every task."""
        self.middlewares: list[Middleware] = []
        """Around each run of each task, the outermost first."""
        self.resources = Resources()
        """What fills parameters of tasks that are no part of their calls."""
        self.by_name: ByName | None = None
        """Finds functions by their modules; ``None``: nobody does."""

    def add(
        self,
        function: Callable[..., Any],
        *,
        name: str,
        category: str,
        priority: int,
        max_retries: int | None,
        retry: RetryPolicy,
        timeout: float | None,
        soft_timeout: float | None = None,
        executor: ExecutorChoice = None,
        carriers: Sequence[Carrier] = (),
        limit: Limit | None = None,
        options: str | None = None,
    ) -> TaskDefinition:
        """Register a function.

        Raises:
            DuplicateTaskError: the name belongs to another function.
            InvalidCallError: the function can't be called.
        """
        if not callable(function):
            raise InvalidCallError(
                f"Task {name!r} can't be registered: {shown(function)} can't be called."
            )
        known, origin = self.definitions.get(name), origin_of(function)
        if known is not None:
            _check_name(name, known.origin, origin)
        self.definitions[name] = definition = TaskDefinition(
            name,
            function,
            category,
            priority,
            max_retries,
            RunOptions(retry, timeout, soft_timeout),
            CallCodec(function, name, self._limits, self.resources.provides),
            is_async_callable(function),
            retry_budget(max_retries, retry),
            [*self.carriers, *carriers] if carriers else self.carriers,
            origin,
            executor,
            limit,
            options,
        )
        return definition

    def elsewhere(self, name: str) -> TaskDefinition:
        """Return the definition of a name whose function only other processes have.

        Its calls are stored as they are: whether they fit is seen by the worker that runs them.
        """
        return TaskDefinition(
            name,
            _anything,
            "default",
            int(TaskPriority.NORMAL),
            None,
            RunOptions(RetryPolicy.of(None)),
            CallCodec(_anything, name, self._limits),
            True,
            0,
            self.carriers,
            origin_of(_anything),
        )

    def category(self, name: str) -> CategoryOptions:
        """Return what the code says about a category."""
        return self.categories.get(name, _PLAIN)

    def runner(self, name: str, category: str) -> object:
        """Return what runs a task: an executor, ``"process"``, ``"thread"``, or ``None``: the loop.

        ``None`` too for a name that nothing is registered under.
        """
        definition = self.definitions.get(name)
        if definition is None:
            return None
        chosen = definition.executor
        chosen = self.category(category).executor if chosen is None else chosen
        return chosen if chosen is not None or definition.is_async else "thread"

    def put_around(self, middleware: Middleware) -> None:
        """Put it around each run of each task; defined anew, it stands where it stood."""
        for at, known in enumerate(self.middlewares):
            if executed_anew(known, middleware):
                self.middlewares[at] = middleware
                return
        self.middlewares.append(middleware)

    def carry(self, carrier: Carrier) -> None:
        """Take something along with every call of every task from now on."""
        own = [item.carriers for item in self.definitions.values()]
        for carriers in (self.carriers, *own):
            if carrier not in carriers:  # most tasks share the registry's list
                carriers.append(carrier)

    def add_resource(self, resource: Resource) -> None:
        """Fill parameters of all tasks with it, also of those that are registered already.

        Raises:
            InvalidCallError: something else provides the same, or it depends on itself.
        """
        self.resources.add(resource)
        for definition in self.definitions.values():
            definition.codec.forget()

    def get(self, name: str) -> TaskDefinition:
        """Return a definition; that of ``module:function`` or ``module.function`` may be imported.

        Raises:
            TaskNotRegisteredError: nothing has this name.
        """
        definition = self.definitions.get(name)
        return self._named(name) if definition is None else definition

    def want(self, name: str) -> None:
        """Look for the function of a task or schedule, should it be one that may be imported."""
        if self.by_name is not None and name not in self.definitions:
            self.by_name.want(name)

    def missing(self, name: str) -> str:
        """Say what would register a name that has no function; empty if nobody knows."""
        return "" if self.by_name is None else self.by_name.told(name)

    def _named(self, name: str) -> TaskDefinition:
        path = path_of(name) if isinstance(name, str) else None
        if path is not None and (known := self.definitions.get(str(path))) is not None:
            return known
        if path is not None and self.by_name is not None and self.by_name.find(path):
            return self.definitions[str(path)]
        hint, more = self._hint(name), "" if path is None else self.missing(name)
        end = "" if not more else " " if hint else ". "
        raise TaskNotRegisteredError(f"Task '{name}' not registered{hint}{end}{more}")

    def _hint(self, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(str(name), self.definitions, 1)
        return f". Did you mean '{near[0]}'?" if near else ""


def _anything(*args: Any, **kwargs: Any) -> None:
    """Stand for a function that is not here."""


def retry_budget(max_retries: int | None, policy: RetryPolicy) -> int:
    """Return the number given, or without one as many as the policy's ``stop`` allows."""
    if max_retries is not None:
        return max_retries
    return UNLIMITED_RETRIES if policy.stop is not None else 0


def _check_name(name: str, known: Origin, origin: Origin) -> None:
    """Let a function take the name of another one only if it is that one, defined anew.

    Raises:
        DuplicateTaskError: it is not.
    """
    kin = kinship(known, origin)
    if kin is Kinship.ANEW:
        log.info(
            "Task %r is %s at %s from now on: the code was executed anew, and this function takes "
            "the place of the one at %s.",
            name,
            origin.name,
            origin.place,
            known.place,
        )
    if kin is not Kinship.OTHER:
        return
    raise DuplicateTaskError(
        f"Task name {name!r} is taken by {known.name}; "
        f'{origin.name} needs another one: register_task("other name"). The first is defined at '
        f"{known.place}, the second at {origin.place}.{_hint_at_closures(known, origin)}"
    )


def _hint_at_closures(known: Origin, origin: Origin) -> str:
    """Return what to do about two functions that one definition has made."""
    if known.code is None or known.code is not origin.code:
        return ""
    pairs = zip(known.parts, origin.parts, strict=False)
    inside = [
        f", {one.name} at {one.place} and {two.name} at {two.place},"
        for one, two in pairs
        if isinstance(one, Origin) and isinstance(two, Origin) and one.function != two.function
    ]
    return (
        f" Both have the same code around different things{''.join(inside[:1])} as a decorator "
        "without functools.wraps or a factory makes them: add that, or give each a name=."
    )
