"""The owner's side: let other processes of the same user use the queue through a socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import asdict, astuple
from datetime import datetime
from pathlib import Path
from typing import Any

from wopr.domain.errors import InvalidCallError
from wopr.domain.rule import RuleKind
from wopr.domain.task import TaskRecord
from wopr.ports.backend import Backend
from wopr.remote import protocol
from wopr.remote.rules import rule_from_plain, rule_to_plain
from wopr.remote.schedules import ScheduleVerbs

log = logging.getLogger(__name__)

Verb = Callable[..., Awaitable[Any]]


ACCEPTING_TURNS = 4
"""Of the event loop: accept, make the transport, tell it that it is made, start the handler."""


class Server:
    """Listens beside the database file for as long as this process owns it."""

    def __init__(self, backend: Backend, database: Path, hand_over: Callable[[], bool]) -> None:
        self._path = protocol.socket_path(database)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._hand_over = hand_over
        self.serve(backend)

    def serve(self, backend: Backend) -> None:
        """Carry verbs out by this backend from now on."""
        self._verbs = Verbs(backend, self._hand_over)

    async def start(self) -> None:
        """Listen. A socket that a dead owner left is replaced: the file's lock says it is dead."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(self._path)
        finally:
            os.umask(mask)
        listener.setblocking(False)
        self._server = await asyncio.start_unix_server(
            self._connected, sock=listener, limit=protocol.LONGEST_LINE
        )

    async def close(self) -> None:
        """Stop listening and drop the clients; what they wait for ends in an error there."""
        server, self._server = self._server, None
        if server is None:
            return
        await self._accept_no_more(server)
        server.close()
        connections = dict(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for writer in connections.values():  # whatever the other side does not read
            writer.transport.abort()
        await asyncio.sleep(0)  # which ends in the next turn of the loop
        with contextlib.suppress(OSError):
            os.unlink(self._path)

    @staticmethod
    async def _accept_no_more(server: asyncio.Server) -> None:
        """Let a connection that has just been accepted get as far as :meth:`_connected`.

        If the server was closed in between, asyncio would leave its socket open
        (https://github.com/python/cpython/issues/109564), and the client waiting.
        """
        loop = asyncio.get_running_loop()
        for listener in server.sockets:
            loop.remove_reader(listener.fileno())
        for _ in range(ACCEPTING_TURNS):
            await asyncio.sleep(0)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server makes a task for each connection"
        self._connections[task] = writer
        answers: set[asyncio.Task[None]] = set()
        try:
            if not _same_user(writer):
                log.warning("Refused a connection of another user to %s", self._path)
                return
            while line := await reader.readline():
                answer = asyncio.create_task(self._answer(line, writer))
                answers.add(answer)
                answer.add_done_callback(answers.discard)
        except (ConnectionError, ValueError) as error:
            log.info("A client of %s is gone: %s", self._path, error)
        except asyncio.CancelledError:
            pass  # the queue is closing
        finally:
            for answer in answers:
                answer.cancel()
            self._connections.pop(task, None)
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        reply: dict[str, Any] = {"id": None}
        try:
            message = protocol.decode(line)
            reply["id"] = message.get("id")
            verb = self._verbs.get_verb(message["verb"])
            reply["ok"] = await verb(*message["params"])
            data = protocol.encode(reply)
        except Exception as error:  # noqa: BLE001 - the client has to know, whatever it is
            data = json.dumps({"id": reply["id"], "error": protocol.error_of(error)}).encode()
            data += b"\n"
        with contextlib.suppress(ConnectionError):
            writer.write(data)
            await writer.drain()


def _same_user(writer: asyncio.StreamWriter) -> bool:
    """Whether the peer may use the queue: the mode of the socket says it too, where it counts."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    peer = writer.get_extra_info("socket")
    raw = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    return struct.unpack("3i", raw)[1] in (0, os.getuid())


class Verbs(ScheduleVerbs):
    """What a client may call: the public methods of this class, its base, and nothing else."""

    def __init__(self, backend: Backend, hand_over: Callable[[], bool]) -> None:
        self._backend = backend
        self._hand_over = hand_over

    def get_verb(self, name: object) -> Verb:
        """Return a verb by its name."""
        if name not in VERBS:
            raise InvalidCallError(f"There is no verb {name!r:.80}; there are {', '.join(VERBS)}.")
        verb: Verb = getattr(self, str(name))
        return verb

    async def hello(self) -> list[int]:
        return [protocol.PROTOCOL, os.getpid()]

    async def hand_over(self) -> bool:
        return self._hand_over()

    async def add(self, new: dict[str, Any]) -> str:
        return await self._backend.add(protocol.new_task_from_plain(new))

    async def add_many(self, tasks: list[dict[str, Any]]) -> list[str]:
        return await self._backend.add_many([protocol.new_task_from_plain(new) for new in tasks])

    async def check_room(self, counts: dict[str, int]) -> None:
        await self._backend.check_room(counts)

    async def add_flow(self, tasks: list[dict[str, Any]]) -> list[str]:
        return await self._backend.add_flow([protocol.new_task_from_plain(new) for new in tasks])

    async def get(self, task_id: str) -> Any:
        return _row(await self._backend.get(task_id))

    async def find(self, query: dict[str, Any], cursor: str | None) -> list[Any]:
        found = await self._backend.find(protocol.filter_from_plain(query), cursor)
        return [_row(record) for record in found]

    async def wait(self, task_id: str, timeout: float | None) -> Any:
        return _row(await self._backend.wait(task_id, timeout))

    async def cancel(self, task_id: str, reason: str | None) -> bool:
        return await self._backend.cancel(task_id, reason)

    async def revoke(self, rule: list[Any]) -> int:
        return await self._backend.revoke(rule_from_plain(rule))

    async def rules_all(self, kind: str) -> list[Any]:
        return [rule_to_plain(rule) for rule in await self._backend.rules.all(RuleKind(kind))]

    async def rules_save(self, rules: list[list[Any]]) -> None:
        await self._backend.rules.save([rule_from_plain(rule) for rule in rules])

    async def rules_merge(self, rule: list[Any]) -> list[Any]:
        return rule_to_plain(await self._backend.rules.merge(rule_from_plain(rule)))

    async def rules_delete(self, kind: str, names: list[str]) -> list[Any]:
        deleted = await self._backend.rules.delete(RuleKind(kind), names)
        return [rule_to_plain(rule) for rule in deleted]

    async def logs(self, task_id: str, limit: int) -> list[Any]:
        return [list(astuple(line)) for line in await self._backend.logs(task_id, limit)]

    async def workers(self) -> list[dict[str, Any]]:
        return [asdict(worker) for worker in await self._backend.workers()]

    async def retry(self, task_id: str) -> bool:
        return await self._backend.retry(task_id)

    async def recover(self, category: str | None) -> int:
        return await self._backend.recover(category)

    async def cleanup(self, before: datetime, keep_history: object) -> int:
        return await self._backend.cleanup(before, keep_history=bool(keep_history))

    async def stats(self) -> dict[str, Any]:
        return await self._backend.stats()

    async def explain(self, task_id: str) -> dict[str, Any]:
        return asdict(await self._backend.explain(task_id))

    async def history(self, task_id: str) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in await self._backend.history(task_id)]

    async def sql(self, query: str, params: list[Any]) -> list[Any]:
        answer = await self._backend.sql(query, params)
        return [answer.columns, answer.rows, answer.truncated]


VERBS = tuple(
    name
    for name in (*vars(Verbs), *vars(ScheduleVerbs))
    if not name.startswith("_") and name != "get_verb"
)


def _row(record: TaskRecord | None) -> tuple[Any, ...] | None:
    return None if record is None else record.row()
