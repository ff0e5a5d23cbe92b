"""The other side: a queue whose file another process owns."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from wopr.config.whoami import this_process
from wopr.domain.errors import OwnerBusyError, OwnerGoneError, OwnerSilentError, StorageError
from wopr.domain.logline import LogLine
from wopr.domain.newtask import NewTask
from wopr.domain.rule import Rule
from wopr.domain.task import TaskRecord
from wopr.executors.context import running_task
from wopr.ports.answers import Explanation, HistoryEntry, QueryResult, WorkerInfo
from wopr.ports.storage import PAGE_BYTES, QueryRows, Snapshot, TaskFilter, weight
from wopr.remote import protocol
from wopr.remote.acts import RemoteActs
from wopr.remote.messages import MOST_CATEGORIES
from wopr.remote.peer import is_process, may_talk, peer_of
from wopr.remote.place import keep_from_children, secure
from wopr.remote.questions import RemoteQuestions
from wopr.remote.rules import RemoteRules, rule_to_plain
from wopr.remote.schedules import RemoteSchedules
from wopr.remote.verbs import LOOKS

CONNECT_SECONDS = 5.0
CALL_SECONDS = 30.0
ANSWER_SECONDS = 0.25
"""So much longer than the owner waits for a task its answer is waited for."""
QUERY_ANSWER_SECONDS = 1.0
BULK = 5_000
BULK_BYTES = 8 * 1024 * 1024
"""A message ends with the task that brings it to so many tasks, or bytes of payload."""
_CHANGE_NOTHING = LOOKS | {"hello", "check_room", "snapshot", "backup"}


class RemoteBackend(RemoteQuestions):
    """The verbs of a queue, carried out by the process that owns the file.

    Args:
        database: the file.
        call_seconds: longest wait for an answer of the owner; its waits for tasks are no such
            wait, for as long as it answers at all.
        query_seconds: how long the owner lets a query of people run; a little longer, its
            answer is waited for.
    """

    def __init__(
        self, database: Path, call_seconds: float = CALL_SECONDS, query_seconds: float = 0.0
    ) -> None:
        self._database = database
        self._call_seconds = call_seconds
        self._query_seconds = max(call_seconds, query_seconds + QUERY_ANSWER_SECONDS)
        self._path = protocol.socket_path(database)
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._written = 0
        self._heard = 0.0
        """When something came from the owner, by the loop's clock."""
        self._receiving: asyncio.Task[None] | None = None
        self.schedules = RemoteSchedules(self._call)
        self.rules = RemoteRules(self._call)
        query = partial(self._within, self._query_seconds)
        self.acts = RemoteActs(self._call, query, self._watched)
        self.owner_pid: int | None = None
        self.open = False
        self.refused = ""
        """Why :meth:`connect` did not, in words."""

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
                reader, self._writer = await asyncio.open_unix_connection(
                    self._path, limit=protocol.LONGEST_LINE
                )
                self._check_peer(owner)
                listens = True
                self._receiving = asyncio.create_task(self._receive(reader))
                self.open = True
                version, self.owner_pid = await self._call("hello", *astuple(this_process()))
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

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self.open = False
        writer, self._writer = self._writer, None
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is not asyncio.current_task():
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
        if writer is not None:
            writer.transport.abort()  # what an owner that is stopped does not take would last
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        loop = asyncio.get_running_loop()
        try:
            while line := await reader.readline():
                self._heard = loop.time()
                reply = await protocol.decoded(line)
                future = self._pending.pop(reply["id"], None)
                if future is not None and not future.done():
                    future.set_result(reply)
        except (OSError, ValueError):
            pass  # treated like the end of the connection
        finally:
            self.open = False
            for future in self._pending.values():
                if not future.done():
                    future.set_exception(self._gone())
            self._pending.clear()

    def _gone(self) -> OwnerGoneError:
        return OwnerGoneError(
            f"The process that owned {self._database} (pid {self.owner_pid}) is gone, so it is "
            "not known whether this call was carried out: look the task up, or repeat the call "
            "with a unique_key. The next call reconnects, or takes the file over."
        )

    async def _call(self, verb: str, *params: Any) -> Any:
        return await self._within(self._call_seconds, verb, *params)

    async def _within(self, seconds: float | None, verb: str, *params: Any) -> Any:
        """Ask the owner, and wait so long for the answer.

        Raises:
            OwnerGoneError: the connection has ended.
            OwnerSilentError: there was no answer in time.
        """
        if self._writer is None or not self.open:
            raise self._gone()
        number = next(self._numbers)
        message = protocol.encode({"id": number, "verb": verb, "params": list(params)})
        end = self._write(message)
        future = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            async with asyncio.timeout(seconds):
                await self._writer.drain()
                reply = await future
        except asyncio.CancelledError:
            self._give_up(number)
            raise
        except ConnectionError as error:
            self.open = False
            raise self._gone() from error
        except TimeoutError:
            known = f"{self._known(verb, end)} (WOPR_TASKS_CALL_SECONDS sets the limit.)"
            self._give_up(number)
            raise self._silent(seconds, known) from None
        finally:
            self._pending.pop(number, None)
        if "error" in reply:
            protocol.raise_error(reply["error"])
        return reply["ok"]

    def _give_up(self, number: int) -> None:
        """Tell the owner that nobody waits for an answer any more."""
        if self._writer is not None and self.open:
            self._write(protocol.encode({"cancel": number}))

    def _write(self, message: bytes) -> int:
        """Send a message; return where it ends among all that was sent."""
        assert self._writer is not None, "there is a connection"
        self._writer.write(message)
        self._written += len(message)
        return self._written

    def _known(self, verb: str, end: int) -> str:
        """Say what is known of a call that was not answered; ``end`` is where it ends."""
        if verb in _CHANGE_NOTHING:
            return "Nothing was to be changed: ask again."
        transport = None if self._writer is None else self._writer.transport
        behind = self._written - end
        if transport and transport.get_write_buffer_size() - behind > 1:  # not the newline only
            self.open = False
            transport.abort()  # the part of it that was sent is no message
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

    async def _watched(self, verb: str, *params: Any) -> Any:
        """Ask, and wait for the answer for as long as the owner answers at all."""
        patience = self._call_seconds / 2
        loop = asyncio.get_running_loop()
        asked = asyncio.ensure_future(self._within(None, verb, *params))
        try:
            while not (await asyncio.wait([asked], timeout=patience))[0]:
                if loop.time() - self._heard >= patience:
                    await self._within(patience, "hello")
            return asked.result()
        finally:
            asked.cancel()
            await asyncio.gather(asked, return_exceptions=True)

    async def hand_over(self) -> bool:
        """Ask the owner for the file; whether it gives it up, because it works on nothing."""
        return bool(await self._call("hand_over"))

    # -- the verbs ------------------------------------------------------------

    async def add(self, new: NewTask) -> str:
        """Add one task; return its id once it is on disk."""
        return str(await self._call("add", protocol.new_task_to_plain(new)))

    async def add_many(self, tasks: Iterable[NewTask]) -> list[str]:
        """Add many tasks; return their ids in order."""
        portions = list(_portions(tasks))
        if len(portions) > 1:  # more than one call: refuse all of them, or none
            await self.check_room(Counter(new.category for part in portions for new in part))
        ids: list[str] = []
        for part in portions:
            plain = [protocol.new_task_to_plain(new) for new in part]
            ids += await self._call("add_many", plain)
        return ids

    async def check_room(self, counts: Mapping[str, int]) -> None:
        """Refuse so many tasks by category, where a backlog is full and does so."""
        categories = sorted(counts)
        for start in range(0, len(categories), MOST_CATEGORIES):
            part = categories[start : start + MOST_CATEGORIES]
            await self._call("check_room", {one: counts[one] for one in part})

    async def add_flow(self, tasks: Sequence[NewTask]) -> list[str]:
        """Add tasks that depend on each other in one commit; return their ids in order."""
        plain = [protocol.new_task_to_plain(new) for new in tasks]
        return list(await self._call("add_flow", plain))

    async def get(self, task_id: str) -> TaskRecord | None:
        """Return a task as it is on disk."""
        row = await self._call("get", task_id)
        return None if row is None else TaskRecord.from_row(row)

    async def find(self, query: TaskFilter, cursor: str | None) -> list[TaskRecord]:
        """Return matching tasks, newest first."""
        found: list[TaskRecord] = []
        while True:
            left = replace(query, limit=query.limit - len(found))
            rows = await self._call("find", protocol.filter_to_plain(left), cursor)
            page = [TaskRecord.from_row(row) for row in rows]
            found += page
            if len(found) >= query.limit or sum(map(weight, page)) < PAGE_BYTES:
                return found
            query, cursor = replace(query, offset=0, before_seq=page[-1].seq), None

    async def wait(self, task_id: str, timeout: float | None) -> TaskRecord:
        """Return a task once it has ended; the time is taken here, whatever the owner does."""
        task = running_task()  # in a worker process: its slot is the owner's
        who = () if task is None else (task.id,)
        if timeout is None:
            return TaskRecord.from_row(await self._watched("wait", task_id, None, *who))
        limit = asyncio.timeout(timeout + ANSWER_SECONDS)
        try:
            async with limit:
                return TaskRecord.from_row(await self._within(None, "wait", task_id, timeout, *who))
        except TimeoutError:
            if not limit.expired():
                raise
            known = f"Whether task {task_id} has ended is not known."
            raise self._silent(timeout, known) from None

    async def cancel(self, task_id: str, reason: str | None = None) -> bool:
        """Cancel a live task."""
        return bool(await self._call("cancel", task_id, reason))

    async def revoke(self, rule: Rule) -> int:
        """Cancel the live tasks that a revocation is about; return how many."""
        return int(await self._call("revoke", rule_to_plain(rule)))

    async def logs(self, task_id: str, limit: int) -> list[LogLine]:
        """Return the first lines that a task logged, in order."""
        return [LogLine(*line) for line in await self._call("logs", task_id, limit)]

    async def workers(self) -> list[WorkerInfo]:
        """Return the workers by category and name."""
        return [WorkerInfo(**worker) for worker in await self._call("workers")]

    async def retry(self, task_id: str) -> bool:
        """Put a FAILED task back in its queue."""
        return bool(await self._call("retry", task_id))

    async def recover(self, category: str | None) -> int:
        """Decide about STARTED tasks that nobody runs."""
        return int(await self._call("recover", category))

    async def cleanup(self, before: datetime, *, keep_history: bool) -> int:
        """Delete terminal tasks completed before a moment."""
        return int(await self._call("cleanup", before, keep_history))

    async def stats(self) -> dict[str, Any]:
        """Return exact counts."""
        return dict(await self._call("stats"))

    async def explain(self, task_id: str) -> Explanation:
        """Say why a task stands where it stands."""
        return protocol.explanation_from_plain(await self._call("explain", task_id))

    async def history(self, task_id: str) -> list[HistoryEntry]:
        """Return a task's transitions in order."""
        return [protocol.entry_from_plain(item) for item in await self._call("history", task_id)]

    async def sql(self, query: str, params: Sequence[Any]) -> QueryResult:
        """Run one read-only query."""
        columns, rows, truncated = await self._within(
            self._query_seconds, "sql", query, list(params)
        )
        return QueryResult(QueryRows(tuple(columns), [tuple(row) for row in rows], truncated))

    async def snapshot(self) -> Snapshot:
        """Return a copy of the database to ask in another process, some seconds old at most."""
        path, moment, taken = await self._call("snapshot")
        return Snapshot(Path(path), moment, taken)


def _portions(tasks: Iterable[NewTask]) -> Iterator[list[NewTask]]:
    """Cut tasks into as many as one message takes."""
    part: list[NewTask] = []
    size = 0
    for new in tasks:
        part.append(new)
        size += len(new.args) + len(new.kwargs) + len(new.options or "")
        if len(part) >= BULK or size >= BULK_BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


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
