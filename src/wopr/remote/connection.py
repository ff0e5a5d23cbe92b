"""One client at the owner: reads what it asks, lets it be carried out, writes the answers.

What a client can cost is bounded: how many requests are under way and how many bytes they
have, and how many large answers are made before it has read those it was sent. Reading
stops while there is more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
from collections.abc import Callable
from functools import partial
from typing import Any, TypeGuard, cast

from wopr.config.hangup import hang_up
from wopr.domain.act import By
from wopr.domain.checks import check_label
from wopr.domain.errors import (
    InvalidCallError,
    OwnerGoneError,
    OwnerLeavingError,
    QueueClosedError,
    StorageError,
    TaskNotFoundError,
    WoprError,
)
from wopr.ports.glance import Followed
from wopr.remote import protocol
from wopr.remote.lines import Lines
from wopr.remote.series import Series
from wopr.remote.size import LARGE, check_parts
from wopr.remote.verbs import LOOKS, ONCE, Verbs

log = logging.getLogger(__name__)

MOST_REQUESTS = 10_000
"""So many calls of a client are under way at most; most of them are waits for tasks."""
MOST_REQUEST_BYTES = 64 * 1024 * 1024
REFUSE_SECONDS = 1.0
"""So long a client that is one too many may take for its first request."""
ANSWERS = 4
"""So many answers of each kind are made at most while the client does not read them."""


_BEGIN = re.compile(rb'\{"id": ?([0-9]{1,18}),')
"""So a request begins: whose it is has to be known also if the rest can't be read."""
_ADD = re.compile(rb'\{"id": ?[0-9]{1,18}, ?"verb": ?"add",')
"""And so one that may be begun at once."""
_REQUEST = {"id", "verb", "params"}


class Connection:
    """One client. Build it in the task that serves it.

    Args:
        lines: what the client sends.
        writer: what it is sent.
        pid: the process at the other end; 0 if the system does not say.
        verbs: makes what carries out a request of this connection.
        reading: of all connections, one at a time reads a large message.
    """

    def __init__(
        self,
        lines: Lines,
        writer: asyncio.StreamWriter,
        pid: int,
        verbs: Callable[[Connection], Verbs],
        reading: asyncio.Lock,
    ) -> None:
        self.pid = pid
        self.by: By | None = None
        """Who that is, as it says itself."""
        self.gone = False
        """Whether nobody is at the other end any more."""
        self.greeted = False
        """Whether it has said hello, as every queue does first."""
        self.waits_since = 0
        """The how-manieth it was to ask for the file, to start workers; 0: it never did."""
        self._glances = Followed()
        self.series = Series()
        """The ids of its new tasks."""
        self._lines = lines
        self._writer = writer
        self._make_verbs = verbs
        self._reading = reading
        self._under_way: set[asyncio.Task[None]] = set()
        self._by_number: dict[int, asyncio.Task[None]] = {}
        self._ended_early: set[asyncio.Task[None]] = set()
        """Those under way that change nothing, and acts, which can go on later."""
        self._leaving = False
        """Whether the owner gives the file up: nothing is begun any more."""
        self._all_read = asyncio.Event()
        """Set when the client has said that it sends nothing more."""
        self._bytes = 0
        self._less = asyncio.Event()
        self._turns = {kind: asyncio.Semaphore(ANSWERS) for kind in ("look", "sql", "wait")}
        self._adding = 0
        """New tasks that were begun in the turn in which they came, and are not on disk yet."""
        self._added: list[bytes] = []
        """Answers to those, until they are sent, all at once."""

    async def serve(self) -> None:
        """Carry out what the client asks until it is gone; what it waits for then ends.

        Raises:
            OSError or ValueError: the connection broke, or it sent what is no line.
        """
        loop = asyncio.get_running_loop()
        self._lines.first = self._take_at_once
        try:
            while line := await self._lines.reader.readline():
                await self._take(line)
                await self._catch_up()
                while self._bytes > MOST_REQUEST_BYTES:
                    self._less.clear()
                    await self._less.wait()
                loop.call_soon(self._lines.done, len(line))  # by then it was begun
        finally:
            self._lines.first = None
            self.gone = True
            self._all_read.set()
            for task in self._under_way:
                task.cancel()
            self._writer.close()

    async def refuse(self, error: Exception) -> None:
        """Answer the first request with an error, and hang up."""
        try:
            async with asyncio.timeout(REFUSE_SECONDS):
                message = protocol.decode(await self._lines.reader.readline())
                self._write(protocol.refusal(_number(message.get("id")), error))
                await self._writer.drain()
        finally:
            self._writer.close()

    def leave(self, *, receiver: bool) -> None:
        """Tell the client that the file is given up, and whether it is the one that gets it.

        What it has sent is answered: changes that are under way end, what only looks, or
        was not begun, is refused as not done, and acts end where they are.
        """
        self._leaving = True
        self._writer.transport.set_write_buffer_limits(0)  # so that drain() waits for all of it
        self._write(protocol.encode({"leaving": receiver}))
        for task in self._ended_early:
            task.cancel()

    async def settled(self) -> None:
        """Return when all that the client has sent was answered, after :meth:`leave`."""
        await self._all_read.wait()
        while self._under_way or self._adding:
            if self._under_way:
                await asyncio.wait(self._under_way)
            else:
                self._less.clear()
                await self._less.wait()
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def drop(self) -> None:
        """Hang up, whatever the other side has not read."""
        hang_up(self._writer.transport)

    def _take_at_once(self, line: bytes, alone: bool) -> bool:  # noqa: FBT001
        """Begin what a line asks for if that is a task for which only the disk is waited."""
        transport = self._writer.transport
        if (
            not _ADD.match(line)
            or self._leaving
            or transport.get_write_buffer_size()
            or self._bytes > MOST_REQUEST_BYTES
            or len(self._under_way) + self._adding >= MOST_REQUESTS
        ):
            return False
        try:
            message = protocol.decode(line)
        except (WoprError, ValueError):
            return False
        params = message.get("params")
        if message.keys() != _REQUEST or message["verb"] != "add" or type(params) is not list:
            return False
        number, size = message["id"], len(line)
        if not _is_number(number):
            return False
        self._adding += 1
        self._bytes += size
        told = partial(self._tell_added, number, size)
        if not self._make_verbs(self).add_at_once(params, told, alone=alone):
            self._adding -= 1
            self._bytes -= size
            return False
        return True

    def _tell_added(
        self, number: int, size: int, task_id: str, error: BaseException | None
    ) -> None:
        self._adding -= 1
        self._bytes -= size
        self._less.set()
        if self.gone:
            return
        if error is None:
            self._added.append(protocol.encode({"id": number, "ok": task_id}))
        else:
            self._added.append(protocol.refusal(number, error))
        if not self._adding:
            self._send_added()
        elif len(self._added) == 1:  # of one commit, say, of which this is not the last
            asyncio.get_running_loop().call_soon(self._send_added)

    def _send_added(self) -> None:
        if self._added:
            answers, self._added = b"".join(self._added), []
            self._write(answers)

    async def _catch_up(self) -> None:
        """Return once the client has read most of its answers; till then it is not listened to."""
        transport = cast("asyncio.Transport", self._writer.transport)
        if transport.get_write_buffer_size() and not transport.is_closing():
            transport.pause_reading()
            try:
                await self._writer.drain()
            finally:
                if not transport.is_closing():
                    transport.resume_reading()

    async def _read(self, line: bytes) -> dict[str, Any]:
        """Return the message of a line; a large one is read in a thread."""
        if len(line) > LARGE:
            async with self._reading:
                await asyncio.to_thread(check_parts, line)
                return await protocol.decoded(line)
        return protocol.decode(line)

    async def _take(self, line: bytes) -> None:
        """Begin what a line asks for."""
        begin = _BEGIN.match(line)
        number = None if begin is None else int(begin[1])
        try:
            message = await self._read(line)
            if "cancel" in message:
                self._give_up(message["cancel"])
                return
            if "left" in message:
                self._all_read.set()
                return
            number = None  # what the line begins with may be another one
            number = _number(message.get("id"))
            if self._leaving:
                raise _not_done()
            if len(self._under_way) + self._adding >= MOST_REQUESTS:
                raise StorageError(
                    f"This process has {MOST_REQUESTS:,} calls under way at the owner of the "
                    "queue, which is the most, so this one was not begun. Wait for some of them "
                    "first: asyncio.gather over fewer handles, or asyncio.as_completed."
                )
            name, params = message.get("verb"), message.get("params")
            by = _by(message.get("by"))
            self.greeted = self.greeted or name == "hello"
        except Exception as error:  # noqa: BLE001 - the client has to know, whatever it is
            self._write(protocol.refusal(number, error))
            return
        with self._glances.within(message.get("glance")):
            task = asyncio.create_task(self._answer(number, name, params, by))
        self._under_way.add(task)
        self._by_number[number] = task
        if isinstance(name, str) and name in LOOKS | ONCE:
            self._ended_early.add(task)
        self._bytes += len(line)
        task.add_done_callback(lambda done: self._over(done, number, len(line)))

    def _over(self, task: asyncio.Task[None], number: int, size: int) -> None:
        self._under_way.discard(task)
        self._ended_early.discard(task)
        if self._by_number.get(number) is task:
            del self._by_number[number]
        self._bytes -= size
        self._less.set()

    def _give_up(self, number: object) -> None:
        """End a request that the client does not wait for any more."""
        task = self._by_number.get(number) if _is_number(number) else None
        if task is not None:
            task.cancel()

    async def _answer(self, number: int, name: Any, params: Any, by: By | None) -> None:
        verbs = self._make_verbs(self)
        verbs.by = by
        try:
            if name == "wait":
                await self._answer_wait(number, verbs, params)
            elif isinstance(name, str) and name in LOOKS:
                async with self._turns["sql" if name == "sql" else "look"]:
                    await self._send(number, await verbs.carry_out(name, params))
            else:
                await self._send(number, await verbs.carry_out(name, params))
        except ConnectionError:
            pass  # nobody is left to be told
        except asyncio.CancelledError:
            if not self._leaving or self.gone:
                raise
            self._write(protocol.refusal(number, _cut_off(name)))
        except QueueClosedError:  # while it waited for room, say
            self._write(protocol.refusal(number, _cut_off(name)))
        except Exception as error:  # noqa: BLE001 - the client has to know, whatever it is
            self._write(protocol.refusal(number, error))

    async def _answer_wait(self, number: int, verbs: Verbs, params: Any) -> None:
        """Answer with the task that has ended, and keep it only if it can be sent soon.

        A client may wait for thousands at once, and each may have a large result.
        """
        turn = self._turns["wait"]
        row = await verbs.carry_out("wait", params)
        if turn.locked():
            row = None
        async with turn:
            if row is None:
                row = await verbs.carry_out("get", params[:1])
                if row is None:
                    raise TaskNotFoundError(f"Task {params[0]!r} was deleted when it had ended.")
            await self._send(number, row)

    async def _send(self, number: int, answer: Any) -> None:
        """Return once the answer is on its way, and not too many others are."""
        self._write(protocol.encode({"id": number, "ok": answer}, protocol.ANSWER))
        await self._writer.drain()

    def _write(self, data: bytes) -> None:
        with contextlib.suppress(ConnectionError):
            self._writer.write(data)


def _by(said: object) -> By | None:
    """Return for whom a client asks, if it says so and it is not for itself."""
    match said:
        case None:
            return None
        case [str(who), str(origin)]:
            return By(check_label(who, "who asks"), check_label(origin, "their origin"))
    raise InvalidCallError(f"{said!r:.80} does not say who asks, and from where.")


def _cut_off(name: Any) -> OwnerGoneError:
    """Say what came of a call that the owner has begun, and leaves."""
    if name not in ONCE:  # new tasks have their ids, and all else is the same a second time
        return _not_done()
    return OwnerGoneError(
        "The process that had the file gave it up while it carried this act out: some of the "
        "tasks may be changed. Repeat the same call, and the next owner goes on with the act. See "
        "how far it came: wopr acts"
    )


def _not_done() -> OwnerLeavingError:
    return OwnerLeavingError(
        "The process that had the file gives it up, and did not begin this call: nothing came of "
        "it. Repeat it; the next owner answers."
    )


def _is_number(number: object) -> TypeGuard[int]:
    return type(number) is int and 0 <= number < 2**63


def _number(number: object) -> int:
    if _is_number(number):
        return number
    raise InvalidCallError(f"The id of a message must be a whole number, not {number!r:.80}.")
