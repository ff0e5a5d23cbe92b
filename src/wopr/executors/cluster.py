"""Machines of somebody else, with workers of their own: a call goes there as a message."""

from __future__ import annotations

import asyncio
import contextlib
from abc import ABC, abstractmethod
from concurrent.futures import Future
from typing import Any

from wopr.domain.errors import InvalidCallError, ProcessDiedError
from wopr.domain.jsontext import shown
from wopr.executors.beginnings import Beginnings
from wopr.executors.call import Call, raisable

TOLD_SECONDS = 0.4
"""So long a stopped attempt waits for the cluster to be told: less than a shutdown gives it."""


class Sent(ABC):
    """One call that is on its way to a cluster, or runs there."""

    future: Future[str]
    """The result as JSON text, or what the function raised. It is pending until the function
    has begun; who cancels it before takes the message back."""

    @abstractmethod
    def stop(self) -> Future[None]:
        """Take the message back, or stop the function; returns at once.

        What it returns is done once the cluster was told, or could not be.
        """


class Cluster(ABC):
    """What sends calls to other machines, which find the functions by the names of the tasks.

    An instance is a value of ``executor=``. It belongs to the application: wopr never closes it.
    """

    @abstractmethod
    def send(self, call: Call) -> Sent:
        """Send a call; returns at once, and what goes wrong is told by the future."""

    @abstractmethod
    def refusal(self) -> str | None:
        """Return why it takes no work now, ``None`` if it does; may take two seconds."""

    def check(self, name: str, soft_timeout: float | None) -> None:
        """Refuse what would have no effect there.

        Raises:
            InvalidCallError: there is a soft timeout.
        """
        if soft_timeout is not None:
            raise InvalidCallError(
                f"{name} has soft_timeout={soft_timeout:g}, which works on the event loop, in "
                f"threads and in processes of wopr's own. wopr can't interrupt a function in "
                f"{shown(self)}. Leave one of the two out; timeout= works there."
            )


class OnCluster:
    """Runs functions on a cluster."""

    def __init__(self, cluster: Cluster, beginnings: Beginnings) -> None:
        self._cluster = cluster
        self._beginnings = beginnings

    async def run(self, call: Call) -> Any:
        """Return what the function returns, or raise what it raises.

        Raises:
            InvalidCallError: the call has a soft timeout.
            ProcessDiedError: whoever ran the function is gone.
            RunnerRefusedError: the call was not taken, and its function has not begun.
            NotBegunError: a shutdown came before it began.
        """
        self._cluster.check(call.context.name, call.soft_timeout)
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        sent = self._cluster.send(call)

        def resolve() -> None:
            if not done.done():
                done.set_result(None)

        def tell(_: Future[str]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(resolve)

        sent.future.add_done_callback(tell)
        self._beginnings.wait(sent.future)
        try:
            await done
        except asyncio.CancelledError:
            told = asyncio.wrap_future(sent.stop())  # this process may be about to end
            await asyncio.wait([told], timeout=TOLD_SECONDS)
            raise
        if sent.future.cancelled():
            sent.stop()
            self._beginnings.check()
            raise ProcessDiedError(
                f"Attempt {call.context.attempt} of task '{call.context.name}' was taken back from "
                f"{shown(self._cluster)} by somebody else: its future was cancelled."
            )
        error = sent.future.exception()
        if error is not None:
            raise raisable(error)
        return call.codec.decode_result(sent.future.result())

    async def close(self) -> None:
        """Do nothing: the cluster belongs to somebody else."""
