"""Resources: what tasks share, opened when the first of them needs it, closed at the shutdown."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent import futures
from dataclasses import dataclass
from functools import partial
from typing import Any

from wopr.domain.callables import annotation_text, signature_of
from wopr.domain.errors import InvalidCallError, WoprError
from wopr.domain.guarded import guarded
from wopr.domain.jsontext import type_name
from wopr.domain.supplied import Supplied, arranged, split
from wopr.executors.cluster import Cluster
from wopr.executors.foreign import runs_here
from wopr.executors.threads import Threads

log = logging.getLogger("wopr.resources")

LAST_WORD = 1.0
"""Seconds that a resource gets to end after its closing was cancelled."""


@dataclass(frozen=True, slots=True, eq=False)
class Resource:
    """How something that tasks share is opened and closed."""

    name: str
    function: Callable[..., Any]
    """What was declared."""
    manager: Callable[..., Any]
    """Returns its context manager, sync or async."""
    provides: tuple[Any, ...]
    """The annotations of the parameters that it fills."""
    timeout: float
    """Seconds that opening and closing may take, each."""


class Keeper:
    """Holds one resource open, in an asyncio task of its own.

    Context managers may insist that the task which entered them also leaves them, and an
    attempt that is cancelled must not take along what others wait for.
    """

    def __init__(self, resource: Resource, resources: Resources) -> None:
        self.resource = resource
        loop = asyncio.get_running_loop()
        self.value: asyncio.Future[Any] = loop.create_future()
        self._resources = resources
        self._enough = asyncio.Event()
        self._task = loop.create_task(self._keep(), context=contextvars.Context())

    async def _keep(self) -> None:
        try:
            async with contextlib.AsyncExitStack() as stack:
                self.value.set_result(await self._opened(stack))
                self._resources.opened(self)
                await self._enough.wait()
        except BaseException as error:  # noqa: BLE001 - also SystemExit ends only this
            if self.value.done():
                self._failed_late(error)
                return
            self._resources.forget(self)
            if isinstance(error, asyncio.CancelledError):
                error = WoprError(
                    f"Opening resource {self.resource.name!r} was cancelled, by its own code or "
                    "because the queue shuts down."
                )
            note = f"This was raised while resource {self.resource.name!r} was opened."
            guarded(partial(BaseException.add_note, error, note), None)
            self.value.set_exception(error)
            self.value.exception()  # seen, should nobody wait for it any more
        finally:
            if not self._enough.is_set():  # it died by itself: nobody shall get it any more
                self._resources.forget(self)

    def _failed_late(self, error: BaseException) -> None:
        if isinstance(error, asyncio.CancelledError):  # it had its time, or the loop is going down
            raise error
        name = self.resource.name
        if self._enough.is_set():
            log.error("Resource %r failed while it was closed.", name, exc_info=error)
        else:
            text = "Resource %r failed while it was open; it opens again when it is used."
            log.error(text, name, exc_info=error)

    async def _opened(self, stack: contextlib.AsyncExitStack) -> Any:
        needs = await self._resources.needs_of(self.resource)
        limit = asyncio.timeout(self.resource.timeout)
        try:
            async with limit:
                manager = self.resource.manager(**needs)
                if hasattr(manager, "__aenter__"):
                    return await stack.enter_async_context(manager)
                if hasattr(manager, "__enter__"):
                    return await stack.enter_async_context(_in_threads(manager))
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise TimeoutError(
                f"Resource {self.resource.name!r} did not open within {self.resource.timeout:g} s. "
                "Give it longer with @queue.resource(timeout=…)."
            ) from error
        raise InvalidCallError(
            f"Resource {self.resource.name!r} must be a generator function with one yield, or "
            f"return a context manager, not {type_name(manager)}."
        )

    async def close(self) -> None:
        """Close it; give up on it after its time. Raises nothing."""
        self._enough.set()
        if not self.value.done():
            self._task.cancel()
        await asyncio.wait({self._task}, timeout=self.resource.timeout)
        if self._task.done():
            return
        log.error(
            "Resource %r did not close within %g s, so it is left as it is. Give it longer with "
            "@queue.resource(timeout=…).",
            self.resource.name,
            self.resource.timeout,
        )
        self._task.cancel()
        await asyncio.wait({self._task}, timeout=LAST_WORD)


class Resources:
    """The resources of one queue, by what they provide; opened on its event loop."""

    def __init__(self) -> None:
        self._by_hint: dict[Any, Resource] = {}
        self._stand_ins: dict[Resource, list[Any]] = {}
        self._keepers: dict[Resource, Keeper] = {}
        self._open: list[Keeper] = []  # in the order of opening

    def add(self, resource: Resource) -> None:
        """Take a resource.

        Raises:
            InvalidCallError: something else provides the same, or it depends on itself.
        """
        before = dict(self._by_hint)
        for hint in resource.provides:
            known = self._by_hint.get(hint)
            if known is not None and known.name != resource.name:
                raise InvalidCallError(
                    f"Resources {known.name!r} and {resource.name!r} both provide "
                    f"{_shown(hint)}. Give one of them its own type, say with "
                    "@queue.resource(provides=NewType(…))."
                )
        self._by_hint |= dict.fromkeys(resource.provides, resource)
        try:
            self._check_circle(resource, ())
        except InvalidCallError:
            self._by_hint = before
            raise

    def provides(self, hint: Any) -> bool:
        """Whether a parameter with this annotation is filled by a resource."""
        try:
            return hint in self._by_hint
        except TypeError:  # e.g. Annotated or Literal with something that can't be hashed
            return False

    async def fill(
        self, supplied: tuple[Supplied, ...], args: tuple[object, ...], kwargs: dict[str, object]
    ) -> tuple[tuple[object, ...], dict[str, object]]:
        """Return the arguments of a run with what resources fill; open those if need be.

        Raises:
            InvalidCallError: nothing provides one of them.
            Exception: whatever it raises when it is opened.
        """
        values = [await self.get(parameter.hint, parameter.name) for parameter in supplied]
        return arranged(supplied, tuple(values), args, kwargs)

    async def get(self, hint: Any, parameter: str) -> Any:
        """Return what a resource provides; whoever comes first opens it."""
        if not self.provides(hint):
            raise InvalidCallError(
                f"Parameter {parameter!r} is to be filled by a resource, and none provides "
                f"{_shown(hint)}. Declare one with @queue.resource in the process that runs the "
                "tasks, and import its type at run time, not only under TYPE_CHECKING."
            )
        resource = self._by_hint[hint]
        if stand_ins := self._stand_ins.get(resource):
            return stand_ins[-1]
        keeper = self._keepers.get(resource)
        if keeper is None:
            self._check_circle(resource, ())
            keeper = self._keepers[resource] = Keeper(resource, self)
        return await asyncio.shield(keeper.value)

    @contextlib.contextmanager
    def override(self, target: Any, value: Any) -> Iterator[None]:
        """Give ``value`` instead of a resource, named by its function or by what it provides."""
        found = [one for one in self._by_hint.values() if one.function is target]
        if not found and self.provides(target):
            found = [self._by_hint[target]]
        if not found:
            raise InvalidCallError(
                f"{_shown(target)} is no resource of this queue, nor provided by one. There are "
                f"{', '.join(sorted(one.name for one in self._by_hint.values())) or 'none'}."
            )
        stand_ins = self._stand_ins.setdefault(found[0], [])
        stand_ins.append(value)
        try:
            yield
        finally:
            stand_ins.pop()

    async def close(self) -> None:
        """Close what is open, the last opened first. They open again when they are used."""
        for keeper in [one for one in self._keepers.values() if not one.value.done()]:
            await keeper.close()
        while self._open:
            keeper = self._open.pop()
            self.forget(keeper)
            await keeper.close()

    def begin_anew(self) -> None:
        """Have opened none, as a process that begins; what is open is not closed."""
        self._keepers.clear()
        self._open.clear()

    # -- for keepers ---------------------------------------------------------

    def opened(self, keeper: Keeper) -> None:
        """Note that a resource is open now."""
        self._open.append(keeper)

    def forget(self, keeper: Keeper) -> None:
        """Open the resource anew when it is used next."""
        if self._keepers.get(keeper.resource) is keeper:
            del self._keepers[keeper.resource]
        if keeper in self._open:
            self._open.remove(keeper)

    async def needs_of(self, resource: Resource) -> Mapping[str, Any]:
        """Return the resources that a resource is made of, by parameter."""
        own, supplied = self._parameters(resource)
        missing = [
            parameter
            for parameter in own
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        ]
        if missing:
            raise InvalidCallError(
                f"Resource {resource.name!r} takes '{missing[0].name}: "
                f"{annotation_text(missing[0].annotation)}', which no resource provides. Declare "
                "one, or give the parameter a default."
            )
        return {one.name: await self.get(one.hint, one.name) for one in supplied}

    def _parameters(self, resource: Resource) -> tuple[list[Any], tuple[Supplied, ...]]:
        signature, supplied = split(
            resource.function, signature_of(resource.function), self.provides
        )
        return list(signature.parameters.values()), supplied

    def _check_circle(self, resource: Resource, path: tuple[Resource, ...]) -> None:
        if resource in path:
            names = " needs ".join(one.name for one in (*path, resource))
            raise InvalidCallError(
                f"Resources depend on each other in a circle: {names}. None of them could be "
                "opened first."
            )
        for one in self._parameters(resource)[1]:
            if self.provides(one.hint):
                self._check_circle(self._by_hint[one.hint], (*path, resource))


def check_in_process(executor: object, task: str) -> None:
    """Refuse to hand resources to another process.

    Raises:
        InvalidCallError: the executor is, or may be, in another one.
    """
    foreign = isinstance(executor, futures.Executor) and not runs_here(executor)
    if executor == "process" or foreign or isinstance(executor, Cluster):
        raise InvalidCallError(
            f"Task {task!r} runs in another process and needs a resource, which can't be sent "
            'there. Leave executor= out, or use executor="thread"; or open what it needs inside '
            "of the function."
        )


@contextlib.asynccontextmanager
async def _in_threads(manager: Any) -> AsyncIterator[Any]:
    """Enter and leave a sync context manager in threads: it may block."""
    threads = Threads()
    value = await threads.run(manager.__enter__, (), {})
    try:
        yield value
    finally:
        await threads.run(manager.__exit__, (None, None, None), {})


def _shown(hint: Any) -> str:
    return getattr(hint, "__qualname__", None) or str(hint)
