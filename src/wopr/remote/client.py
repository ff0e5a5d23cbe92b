"""The other side: a queue whose file another process owns."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from wopr.domain.errors import OwnerBusyError, OwnerGoneError, StorageError
from wopr.domain.logline import LogLine
from wopr.domain.newtask import NewTask
from wopr.domain.rule import Rule
from wopr.domain.task import TaskRecord
from wopr.executors.context import running_task
from wopr.ports.answers import Explanation, HistoryEntry, QueryResult, WorkerInfo
from wopr.ports.storage import PAGE_BYTES, QueryRows, TaskFilter, weight
from wopr.remote import protocol
from wopr.remote.rules import RemoteRules, rule_to_plain
from wopr.remote.schedules import RemoteSchedules

CONNECT_SECONDS = 5.0
BULK = 5_000
BULK_BYTES = 8 * 1024 * 1024
"""A message ends with the task that brings it to so many tasks, or bytes of payload."""


class RemoteBackend:
    """The verbs of a queue, carried out by the process that owns the file."""

    def __init__(self, database: Path) -> None:
        self._database = database
        self._path = protocol.socket_path(database)
        self._numbers = itertools.count(1)
        self._pending: dict[int, asyncio.Future[Any]] = {}
        self._writer: asyncio.StreamWriter | None = None
        self._receiving: asyncio.Task[None] | None = None
        self.schedules = RemoteSchedules(self._call)
        self.rules = RemoteRules(self._call)
        self.owner_pid: int | None = None
        self.open = False

    async def connect(self) -> bool:
        """Connect to the owner; return whether there is one that listens."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                reader, self._writer = await asyncio.open_unix_connection(
                    self._path, limit=protocol.LONGEST_LINE
                )
                self._receiving = asyncio.create_task(self._receive(reader))
                self.open = True
                version, self.owner_pid = await self._call("hello")
        except OwnerBusyError:
            await self.close()
            raise
        except (OSError, TimeoutError, StorageError):
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

    async def close(self) -> None:
        """Let go of the connection. Idempotent."""
        self.open = False
        writer, self._writer = self._writer, None
        receiving, self._receiving = self._receiving, None
        if receiving is not None and receiving is not asyncio.current_task():
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)
        if writer is not None:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()

    async def _receive(self, reader: asyncio.StreamReader) -> None:
        try:
            while line := await reader.readline():
                reply = protocol.decode(line)
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
        if self._writer is None or not self.open:
            raise self._gone()
        number = next(self._numbers)
        message = protocol.encode({"id": number, "verb": verb, "params": list(params)})
        future = asyncio.get_running_loop().create_future()
        self._pending[number] = future
        try:
            self._writer.write(message)
            await self._writer.drain()
            reply = await future
        except asyncio.CancelledError:
            self._give_up(number)
            raise
        except ConnectionError as error:
            self.open = False
            raise self._gone() from error
        finally:
            self._pending.pop(number, None)
        if "error" in reply:
            protocol.raise_error(reply["error"])
        return reply["ok"]

    def _give_up(self, number: int) -> None:
        """Tell the owner that nobody waits for an answer any more."""
        if self._writer is not None and self.open:
            self._writer.write(protocol.encode({"cancel": number}))

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
        await self._call("check_room", dict(counts))

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
        """Return a task once it has ended."""
        task = running_task()  # in a worker process: its slot is the owner's
        who = () if task is None else (task.id,)
        return TaskRecord.from_row(await self._call("wait", task_id, timeout, *who))

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
        columns, rows, truncated = await self._call("sql", query, list(params))
        return QueryResult(QueryRows(tuple(columns), [tuple(row) for row in rows], truncated))


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
