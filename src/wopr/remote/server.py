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
from dataclasses import asdict
from pathlib import Path
from typing import Any

from wopr.backend import Backend
from wopr.domain.task import TaskRecord
from wopr.remote import protocol

log = logging.getLogger(__name__)

Verb = Callable[..., Awaitable[Any]]


class Server:
    """Listens beside the database file for as long as this process owns it."""

    def __init__(self, backend: Backend, database: Path) -> None:
        self._path = protocol.socket_path(database)
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()
        self._verbs = _verbs(backend)

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
        if self._server is None:
            return
        self._server.close()
        self._server = None
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server makes a task for each connection"
        self._connections.add(task)
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
            self._connections.discard(task)
            writer.close()

    async def _answer(self, line: bytes, writer: asyncio.StreamWriter) -> None:
        reply: dict[str, Any] = {"id": None}
        try:
            message = protocol.decode(line)
            reply["id"] = message.get("id")
            verb = self._verbs[message["verb"]]
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


def _verbs(backend: Backend) -> dict[str, Verb]:
    """Return what a client may call; nothing else can be reached."""

    async def add(new: dict[str, Any]) -> str:
        return await backend.add(protocol.new_task_from_plain(new))

    async def add_many(tasks: list[dict[str, Any]]) -> list[str]:
        return await backend.add_many([protocol.new_task_from_plain(new) for new in tasks])

    async def get(task_id: str) -> Any:
        return _row(await backend.get(task_id))

    async def find(query: dict[str, Any], cursor: str | None) -> list[Any]:
        found = await backend.find(protocol.filter_from_plain(query), cursor)
        return [_row(record) for record in found]

    async def wait(task_id: str, timeout: float | None) -> Any:
        return _row(await backend.wait(task_id, timeout))

    async def cleanup(before: Any, keep_history: Any) -> int:
        return await backend.cleanup(before, keep_history=bool(keep_history))

    async def explain(task_id: str) -> dict[str, Any]:
        return asdict(await backend.explain(task_id))

    async def history(task_id: str) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in await backend.history(task_id)]

    async def sql(query: str, params: list[Any]) -> list[Any]:
        answer = await backend.sql(query, params)
        return [answer.columns, answer.rows, answer.truncated]

    async def hello() -> list[int]:
        return [protocol.PROTOCOL, os.getpid()]

    return {
        "hello": hello,
        "add": add,
        "add_many": add_many,
        "get": get,
        "find": find,
        "wait": wait,
        "cancel": backend.cancel,
        "retry": backend.retry,
        "recover": backend.recover,
        "cleanup": cleanup,
        "stats": backend.stats,
        "explain": explain,
        "history": history,
        "sql": sql,
    }


def _row(record: TaskRecord | None) -> tuple[Any, ...] | None:
    return None if record is None else record.row()
