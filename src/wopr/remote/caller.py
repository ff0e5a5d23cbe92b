"""Calls the process that owns the file, and the next one about what that did not do."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import astuple
from pathlib import Path
from typing import Any

from wopr.config.hangup import hang_up
from wopr.config.whoami import this_process
from wopr.domain.act import By, acting
from wopr.domain.address import Address
from wopr.domain.clock import IdFactory
from wopr.domain.errors import (
    OwnerBusyError,
    OwnerGoneError,
    OwnerLeavingError,
    OwnerSilentError,
    StorageError,
    WoprError,
)
from wopr.ports import glance
from wopr.remote import protocol
from wopr.remote.deadlines import Deadlines
from wopr.remote.lines import Lines
from wopr.remote.peer import is_process, may_talk, peer_of
from wopr.remote.place import keep_from_children, secure
from wopr.remote.verbs import LOOKS, ONCE

CONNECT_SECONDS = 5.0
CALL_SECONDS = 30.0
PORTION = 8 * 1024
"""Calls of one turn of the loop are sent together, up to so many bytes: the owner works on them
while the next ones are made."""
_CHANGE_NOTHING = LOOKS | {"hello", "check_room", "snapshot", "backup"}
_FOR_THIS_OWNER = frozenset({"hello", "hand_over", "wait"})
"""What no other owner is asked instead. Whoever waits for a task asks anew, with less time."""

Elsewhere = Callable[[float | None, str, tuple[Any, ...]], Awaitable[Any]]
"""Asks the next owner, who may be this process; given the seconds, the verb and its params."""


class Caller:
    """A connection to the process that owns the file.

    Args:
        database: the file.
        call_seconds: longest wait for an answer of the owner; its waits for tasks are no such
            wait, for as long as it answers at all.
        elsewhere: asks the next owner what this one did not do, or may not have done; ``None``:
            that is an error.
    """

    def __init__(
        self,
        database: Path,
        call_seconds: float = CALL_SECONDS,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._database = database
        self._elsewhere = elsewhere
        self._call_seconds = call_seconds
        self._path = "" if isinstance(database, Address) else protocol.socket_path(database)
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._written = 0
        self._deadlines = Deadlines()
        self._unsent: list[bytes] = []
        """Messages of this turn of the loop."""
        self._unsent_bytes = 0
        self._heard = 0.0
        """When something came from the owner, by the loop's clock."""
        self._receiving: asyncio.Task[None] | None = None
        self._ids = IdFactory()
        """Makes ids of the owner's stem for this connection."""
        self.owner_pid: int | None = None
        self.open = False
        self.leaving = False
        """Whether the owner gives the file up, and still answers what it was sent."""
        self.receiver = False
        """Whether the owner gives the file up, to this process before any other."""
        self.ended = asyncio.Event()
        """Set when the owner is gone, or gives the file up."""
        self.refused = ""
        """Why :meth:`connect` did not, in words."""

    @property
    def in_this_process(self) -> bool:
        """Whether the owner is another queue of this very process."""
        return self.owner_pid == os.getpid()

    async def connect(self, owner: int | None = None, seconds: float = CONNECT_SECONDS) -> bool:
        """Connect to the owner; return whether there is one that listens and may be trusted.

        Nothing is sent to anybody else; ``refused`` says what was in the way.

        Args:
            owner: what its pid must be; ``None`` if that is not known.
            seconds: how long it may take to answer.
        """
        listens = False
        try:
            async with asyncio.timeout(seconds):
                secure(self._path)
                keep_from_children(self._path)
                lines = await self._connected()
                self._check_peer(owner)
                listens = True
                lines.first = self._take_at_once
                self._receiving = asyncio.create_task(self._receive(lines))
                self.open = True
                version, self.owner_pid, *more = await self._call("hello", *astuple(this_process()))
                self._ids = IdFactory(*more)
        except OwnerBusyError:
            await self.close()
            raise
        except (OSError, StorageError) as error:
            self.refused = _why_not(self._path, seconds, error, listens=listens)
            await self.close()
            return False
        if version != protocol.PROTOCOL:
            await self.close()
            raise StorageError(
                f"{self._database} is owned by process {self.owner_pid}, which runs another "
                f"version of wopr (protocol {version}, this one has {protocol.PROTOCOL}). "
                "Install the same version in both, or stop that process."
            )
        return True

    async def _connected(self) -> Lines:
        loop, lines = asyncio.get_running_loop(), Lines()
        transport, _ = await loop.create_unix_connection(lambda: lines, self._path)
        self._writer = asyncio.StreamWriter(transport, lines, lines.reader, loop)
        return lines

    def _check_peer(self, owner: int | None) -> None:
        """Raise unless the owner listens, and not somebody who took its place."""
        assert self._writer is not None, "there is a connection"
        peer = peer_of(self._writer.get_extra_info("socket"))
        if not may_talk(peer):
            raise StorageError(
                f"process {peer.pid} of user id {peer.uid} listens at {self._path}, and this "
                "process runs as another user, so nothing was sent to it. Run as the user of the "
                "owner, or find out who took its place, and move the database file into a "
                "directory that only its user can write"
            )
        if owner is not None and not is_process(peer, owner):
            raise StorageError(
                f"process {peer.pid} listens at {self._path}, but process {owner} has the file, "
                "so nothing was sent to it"
            )

    def carry_no_more(self) -> None:
        """Tell callers that the owner is gone, instead of asking the next one."""
        self._elsewhere = None

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self.open = False
        self._deadlines.stop()
        writer, self._writer = self._writer, None
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is not asyncio.current_task():
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
        if writer is not None:
            hang_up(writer.transport)  # what an owner that is stopped does not take would last
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _receive(self, lines: Lines) -> None:
        loop = asyncio.get_running_loop()
        try:
            while line := await lines.reader.readline():
                self._heard = loop.time()
                self._hear(await protocol.decoded(line))
                lines.done(len(line))
        except (OSError, ValueError):
            pass  # treated like the end of the connection
        finally:
            self.open = False
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(self._gone())
                    future.exception()  # seen, should its caller know it already
            self._pending.clear()
            self.ended.set()

    def _take_at_once(self, line: bytes, _alone: bool) -> bool:  # noqa: FBT001
        """Hear a line in the turn in which it comes, if it is a message."""
        try:
            reply = protocol.decode(line)
        except (WoprError, ValueError):
            return False
        if "leaving" not in reply and type(reply.get("id")) is not int:
            return False
        self._heard = asyncio.get_running_loop().time()
        self._hear(reply)
        return True

    def _hear(self, reply: dict[str, Any]) -> None:
        """Give an answer to who waits for it."""
        if "leaving" in reply:
            self._leave(receiver=bool(reply["leaving"]))
            return
        future = self._pending.pop(reply["id"], None)
        if future is not None and not future.done():
            future.set_result(reply)

    def _leave(self, *, receiver: bool) -> None:
        """Send this owner nothing more: it gives the file up, and answers what it was sent."""
        self.open, self.leaving, self.receiver = False, True, receiver
        self._write(protocol.encode({"left": True}))
        self.ended.set()

    async def answered(self, seconds: float) -> None:
        """Close once an owner that is leaving has hung up; hang up if that takes too long.

        Calls that it did not answer by then are carried over.
        """
        if self._receiving is not None and self._writer is not None:
            _, late = await asyncio.wait([self._receiving], timeout=seconds)
            if late:
                hang_up(self._writer.transport)
                await asyncio.wait(late)
        await self.close()

    def _gone(self) -> OwnerGoneError:
        return OwnerGoneError(
            f"The process that owned {self._database} (pid {self.owner_pid}) is gone, so it is "
            "not known whether this call was carried out: look the task up, or repeat the call "
            "with a unique_key. The next call reconnects, or takes the file over."
        )

    async def _call(self, verb: str, *params: Any) -> Any:
        return await self._within(self._call_seconds, verb, *params)

    async def _within(self, seconds: float | None, verb: str, *params: Any) -> Any:
        """Ask the owner, or the next one, and wait so long for the answer.

        Raises:
            OwnerGoneError: the connection has ended, and it was not carried over.
            OwnerSilentError: there was no answer in time.
        """
        return (await self._carried(seconds, verb, *params))[0]

    async def _carried(self, seconds: float | None, verb: str, *params: Any) -> tuple[Any, bool]:
        """Do that, and tell whether the call may have been carried out before, too."""
        try:
            return await self.ask(seconds, verb, params), False
        except OwnerGoneError as error:
            if self._elsewhere is None or verb in _FOR_THIS_OWNER:
                raise
            lost = not isinstance(error, OwnerLeavingError)
            if lost and verb in ONCE:
                raise
            elsewhere = self._elsewhere
        return await elsewhere(seconds, verb, params), lost

    async def ask(self, seconds: float | None, verb: str, params: Sequence[Any]) -> Any:
        """Ask this owner, and wait so long for the answer.

        Raises:
            OwnerLeavingError: it gives the file up, and nothing was done.
            OwnerGoneError: the connection has ended.
            OwnerSilentError: there was no answer in time.
        """
        if self._writer is None or not self.open:
            raise OwnerLeavingError(
                f"Process {self.owner_pid} does not have {self._database} any more, so this call "
                "was not sent to it. Repeat it."
            )
        number = next(self._numbers)
        message = protocol.encode(
            {"id": number, "verb": verb, "params": list(params), **_by(acting.get()), **_glance()}
        )
        loop = asyncio.get_running_loop()
        end = self._write(message, soon=bool(self._pending))
        future: asyncio.Future[Any] = loop.create_future()
        self._pending[number] = future
        if seconds is not None:
            self._deadlines.set(future, seconds)
        try:
            reply = await future
        except asyncio.CancelledError:
            self._give_up(number)
            raise
        except TimeoutError:
            known = f"{self._known(verb, end)} (WOPR_TASKS_CALL_SECONDS sets the limit.)"
            self._give_up(number)
            raise self._silent(seconds, known) from None
        finally:
            self._pending.pop(number, None)
            self._deadlines.drop(future)
        if "error" in reply:
            protocol.raise_error(reply["error"])
        return reply["ok"]

    def _give_up(self, number: int) -> None:
        """Tell the owner that nobody waits for an answer any more."""
        if self._writer is not None and self.open:
            self._write(protocol.encode({"cancel": number}))

    def _write(self, message: bytes, *, soon: bool = False) -> int:
        """Send a message; return where it ends among all that was sent.

        Args:
            message: a whole line.
            soon: whether others may come in this turn of the loop, and be sent with it.
        """
        self._unsent.append(message)
        self._unsent_bytes += len(message)
        self._written += len(message)
        if not soon or self._unsent_bytes >= PORTION:
            self._send()
        elif len(self._unsent) == 1:
            asyncio.get_running_loop().call_soon(self._send)
        return self._written

    def _send(self) -> None:
        messages, self._unsent, self._unsent_bytes = b"".join(self._unsent), [], 0
        if messages and self._writer is not None:
            self._writer.write(messages)

    def _known(self, verb: str, end: int) -> str:
        """Say what is known of a call that was not answered; ``end`` is where it ends."""
        if verb in _CHANGE_NOTHING:
            return "Nothing was to be changed: ask again."
        transport = None if self._writer is None else self._writer.transport
        behind = self._written - end
        if transport and transport.get_write_buffer_size() - behind > 1:  # not the newline only
            self.open = False
            hang_up(transport)  # the part of it that was sent is no message
            return "The call was not sent to its end, so nothing comes of it: repeat it."
        return (
            "The call was sent and not acknowledged: it is not known whether it was carried out, "
            "and it may still be. Look the task up, or repeat the call with a unique_key."
        )

    def _silent(self, seconds: float | None, known: str) -> OwnerSilentError:
        pid = self.owner_pid
        return OwnerSilentError(
            f"Process {pid}, which has {self._database}, did not answer within {seconds:g} s: it "
            f"is stopped (kill -CONT {pid} lets it go on), or its event loop is held up. {known}"
        )

    async def _watched(self, verb: str, *params: Any, most: float | None = None) -> Any:
        """Ask, and wait while the owner answers at all; ``most`` seconds at most."""
        patience = self._call_seconds / 2
        loop = asyncio.get_running_loop()
        asked = asyncio.ensure_future(self._within(most, verb, *params))
        try:
            while not (await asyncio.wait([asked], timeout=patience))[0]:
                carried = most is not None and not self.open  # to the next one, with an end
                if not carried and loop.time() - self._heard >= patience:
                    await self._within(patience, "hello")
            return asked.result()
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def hand_over(self, grace: float | None = None) -> bool:
        """Ask the owner for the file; whether it gives it up, because it works on nothing.

        Args:
            grace: the queue moves, so it is to give it up in any case: what runs there may end
                within so many seconds.
        """
        return bool(await self._call("hand_over", *(() if grace is None else ({"grace": grace},))))


def _by(by: By | None) -> dict[str, list[str]]:
    """Return what says for whom this process asks, where that is not for itself."""
    return {} if by is None else {"by": [by.who, by.origin]}


def _glance() -> dict[str, int]:
    """Return what says of which glance a question is, where it is of one."""
    found = glance.number()
    return {} if found is None else {"glance": found}


def _why_not(path: str, seconds: float, error: Exception, *, listens: bool) -> str:
    """Say why nobody at a path could be asked."""
    if listens and isinstance(error, TimeoutError):
        return (
            f"it listens at {path} and did not answer within {seconds:g} s: it is stopped, or "
            "something holds up its event loop"
        )
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or path}: {error.strerror}"
    return str(error) or f"{path} can't be connected to within {seconds:g} s"
