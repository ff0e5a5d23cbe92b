"""Starts, suspends and stops all background services of a program together."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import Any, ParamSpec

from wopr.background.schedulable import SchedulableTask, TaskState
from wopr.domain.guarded import safe_text

P = ParamSpec("P")

TIDYING_SECONDS = 1.0
"""How long a call that was cancelled for its time limit may take to tidy up."""


@dataclass(slots=True, eq=False)
class _Service:
    """A registered service and what the scheduler has done to it."""

    task: SchedulableTask
    priority: int
    started: bool = False
    suspended: bool = False
    """Whether ``suspend_all`` suspended it, so that ``resume_all`` resumes it."""


class BackgroundScheduler:
    """Holds the services of a program by name.

    Args:
        logger: ``None`` means ``wopr.background``.
        call_timeout: seconds that one call of one service may take. Then it is cancelled and
            logged, and the others go on.

    What a service raises is logged; no call here raises it. One operation follows the other,
    and each is carried out to its end even if its caller is cancelled.

    Services start in the order of their priorities, the lowest number first, those of the
    same priority together. They stop in the reverse order, so that what others rely on goes
    first and comes last.
    """

    def __init__(self, logger: logging.Logger | None = None, *, call_timeout: float = 10.0) -> None:
        self._logger = logger or logging.getLogger("wopr.background")
        self._call_timeout = call_timeout
        self._services: dict[str, _Service] = {}
        self._lock = asyncio.Lock()
        self._under_way: set[asyncio.Future[Any]] = set()
        self._suspended = False
        self._started = self._starting = self._stopping = False

    def register(self, task: SchedulableTask) -> None:
        """Add a service; one of the same name is replaced with a warning, and not stopped.

        It is not started. If it runs already while all are suspended, it is suspended too.
        """
        name = task.task_name
        known = self._services.get(name)
        if known is not None:
            self._logger.warning("The service %r is registered already: replaced.", name)
            if known.task is task:
                return
            self.unregister(name)
        service = self._services[name] = _Service(task, int(task.priority))
        if self._suspended:
            self._begin(self._together, [service], "suspend", self._follow)

    def unregister(self, task_name: str) -> None:
        """Forget a service; unknown names are ignored. It is not stopped.

        If :meth:`suspend_all` suspended it, it is resumed: nobody else would.
        """
        service = self._services.pop(task_name, None)
        if service is not None and service.suspended:
            self._begin(self._together, [service], "resume", self._release)

    async def start_all(self) -> None:
        """Start the services, resume those that are SUSPENDED.

        Called again, it starts those that were registered since or could not be started; if
        there are none, or while it is under way, it does nothing but warn. While all are
        suspended, services start suspended.
        """
        done = self._started and not self._stopping and not self._new()
        if self._starting or done:
            state = "done" if done else "under way"
            self._logger.warning("start_all() is %s already: ignored.", state)
            return
        self._starting = True
        try:
            await self._whole(self._start_all)
        finally:
            self._starting = False

    async def shutdown(self) -> None:
        """Stop all services that run or are suspended.

        Called again, with nothing to stop, or while it is under way, it does nothing but warn.
        """
        done = not (self._under_way or self._started or self._alive())
        if self._stopping or done:
            state = "done" if done else "under way"
            self._logger.warning("shutdown() is %s already: ignored.", state)
            return
        self._stopping = True
        try:
            await self._whole(self._stop_all)
        finally:
            self._stopping = False

    async def suspend_all(self) -> None:
        """Suspend all services that are RUNNING; what starts later starts suspended."""
        self._suspended = True
        await self._whole(self._together, self._services.values(), "suspend", self._follow)

    async def resume_all(self) -> None:
        """Resume what :meth:`suspend_all` suspended, and nothing that was suspended by hand."""
        self._suspended = False
        await self._whole(self._together, self._services.values(), "resume", self._follow)

    async def suspend(self, task_name: str) -> None:
        """Suspend one service by hand: :meth:`resume_all` does not resume it.

        Raises:
            KeyError: there is no such service.
        """
        await self._whole(self._together, [self._services[task_name]], "suspend", self._hold)

    async def resume(self, task_name: str) -> None:
        """Resume one service by hand, at once, even while all are suspended.

        Raises:
            KeyError: there is no such service.
        """
        await self._whole(self._together, [self._services[task_name]], "resume", self._let_go)

    def get_task(self, name: str) -> SchedulableTask | None:
        """Return a service by name."""
        service = self._services.get(name)
        return None if service is None else service.task

    def get_all_status(self) -> list[dict[str, Any]]:
        """Return ``{"name": str, "state": str, "priority": int}`` of each service."""
        return [
            {"name": task.task_name, "state": task.state.value, "priority": int(task.priority)}
            for task in (service.task for service in self._services.values())
        ]

    # -- what is done to one service ------------------------------------------

    async def _start(self, service: _Service) -> None:
        task = service.task
        if task.state is not TaskState.SUSPENDED:
            if task.state is not TaskState.RUNNING:
                await task.start()
            await self._follow(service)
        elif self._suspended:
            service.suspended = True
        else:
            await task.resume()
        service.started = True

    async def _stop(self, service: _Service) -> None:
        service.started = service.suspended = False
        if _is_alive(service):
            await service.task.stop()

    async def _follow(self, service: _Service) -> None:
        """Suspend or resume it, as all are now."""
        if not self._suspended:
            await self._release(service)
        elif service.task.state is TaskState.RUNNING:
            service.suspended = True
            try:
                await service.task.suspend()
            except Exception:
                service.suspended = False
                raise

    async def _release(self, service: _Service) -> None:
        """Resume it, if it was suspended together with all and not by anybody else since."""
        ours, service.suspended = service.suspended, False
        if ours and not getattr(service.task, "held", False):
            await self._let_go(service)

    async def _hold(self, service: _Service) -> None:
        service.suspended = False
        if service.task.state is TaskState.RUNNING:
            await service.task.suspend()

    async def _let_go(self, service: _Service) -> None:
        service.suspended = False
        if service.task.state is TaskState.SUSPENDED:
            await service.task.resume()

    # -- how ------------------------------------------------------------------

    def _new(self) -> list[_Service]:
        return [service for service in self._services.values() if not service.started]

    def _alive(self) -> list[_Service]:
        return [service for service in self._services.values() if _is_alive(service)]

    async def _start_all(self) -> None:
        await self._in_order(self._new(), "start", self._start)
        self._started = True

    async def _stop_all(self) -> None:
        await self._in_order(self._services.values(), "stop", self._stop, reverse=True)
        self._started = False

    def _begin(
        self, work: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> asyncio.Task[None]:
        """Do the work after what is under way."""

        async def in_turn() -> None:
            async with self._lock:
                await work(*args, **kwargs)

        task = asyncio.create_task(in_turn())
        self._keep(task)
        return task

    async def _whole(
        self, work: Callable[P, Awaitable[None]], *args: P.args, **kwargs: P.kwargs
    ) -> None:
        """Do the work to its end, even if the caller is cancelled."""
        await asyncio.shield(self._begin(work, *args, **kwargs))

    async def _in_order(
        self,
        services: Iterable[_Service],
        verb: str,
        call: Callable[[_Service], Awaitable[None]],
        *,
        reverse: bool = False,
    ) -> None:
        ordered = sorted(services, key=_priority, reverse=reverse)
        for _, equals in groupby(ordered, key=_priority):
            await self._together(equals, verb, call)

    async def _together(
        self, services: Iterable[_Service], verb: str, call: Callable[[_Service], Awaitable[None]]
    ) -> None:
        await asyncio.gather(*(self._limited(one, verb, call(one)) for one in services))

    async def _limited(self, service: _Service, verb: str, call: Awaitable[None]) -> None:
        """Wait for the call as long as it may take; log what went wrong."""
        work = asyncio.ensure_future(call)
        self._keep(work)
        name = service.task.task_name
        done, _ = await asyncio.wait([work], timeout=self._call_timeout)
        if not done:
            work.cancel()
            self._logger.error(
                "The service %r did not %s within %g s. The others go on.",
                name,
                verb,
                self._call_timeout,
            )
            await asyncio.wait([work], timeout=TIDYING_SECONDS)
        elif work.cancelled():
            self._logger.error("The service %r cancelled its own %s.", name, verb)
        elif (error := work.exception()) is not None:
            self._logger.error(
                "The service %r did not %s: %s", name, verb, safe_text(error), exc_info=error
            )

    def _keep(self, work: asyncio.Future[Any]) -> None:
        self._under_way.add(work)
        work.add_done_callback(self._forget)

    def _forget(self, work: asyncio.Future[Any]) -> None:
        self._under_way.discard(work)
        if not work.cancelled():
            work.exception()  # seen, should nobody wait any more


def _priority(service: _Service) -> int:
    return service.priority


def _is_alive(service: _Service) -> bool:
    return service.task.state in {TaskState.RUNNING, TaskState.SUSPENDED}
