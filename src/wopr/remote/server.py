"""The owner's side: let other processes of the same user use the queue through a socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

from wopr.domain.errors import OwnerBusyError
from wopr.ports.backend import Backend
from wopr.remote import protocol
from wopr.remote.connection import Connection
from wopr.remote.lines import Lines
from wopr.remote.peer import Peer, may_talk, peer_of
from wopr.remote.place import keep_from_children, secure
from wopr.remote.verbs import Verbs

log = logging.getLogger(__name__)

MOST_CONNECTIONS = 200
"""A process may have 1,024 files open, unless it is told otherwise."""
GREETS_SECONDS = 10.0
"""Who has not said hello by then goes: every queue does so first, and takes a place meanwhile."""
LEAVE_SECONDS = 1.0
"""So long a client may take to read its last answers, when the file is given up."""
ACCEPTING_TURNS = 4
"""Of the event loop: accept, make the transport, tell it that it is made, start the handler."""


class Server:
    """Listens beside the database file for as long as this process owns it."""

    def __init__(
        self,
        backend: Backend,
        database: Path,
        hand_over: Callable[[Connection, float | None], bool],
        most_args_bytes: int = 2**31,
    ) -> None:
        self._path = protocol.socket_path(database)
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], Connection] = {}
        self._reading = asyncio.Lock()
        self._hand_over = hand_over
        self._most_args_bytes = most_args_bytes
        self.serve(backend)

    def serve(self, backend: Backend) -> None:
        """Carry verbs out by this backend from now on."""
        self._backend = backend

    def _verbs(self, connection: Connection) -> Verbs:
        hand_over = partial(self._hand_over, connection)
        return Verbs(self._backend, hand_over, self._most_args_bytes, connection.series, connection)

    async def start(self) -> None:
        """Listen. A socket that a dead owner left is replaced: the file's lock says it is dead.

        Raises:
            OSError: it is not possible there, or somebody else could take the place.
        """
        secure(self._path, create=True)
        keep_from_children(self._path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(self._path)
        except OSError:
            listener.close()
            raise
        finally:
            os.umask(mask)
        listener.setblocking(False)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Lines(self._connected), sock=listener)

    async def leave(self, receiver: Connection | None = None) -> Connection | None:
        """Stop listening, answer what the clients have sent, and let go of them.

        Nothing is begun any more: they are told that it was not done, and repeat it at the next
        owner. Those that don't read their answers are dropped.

        Args:
            receiver: gets the file; ``None`` chooses one.

        Returns who gets it and stays connected, if there is anybody.
        """
        server, self._server = self._server, None
        if server is None:
            return None
        await self._accept_no_more(server)
        server.close()
        with contextlib.suppress(OSError):
            os.unlink(self._path)
        if receiver is None or receiver.gone:
            receiver = _first(self._connections.values())
        leaving = list(self._connections.items())
        settled = []
        for _, connection in leaving:
            if connection.greeted:  # else it has asked for nothing yet, and connects again
                connection.leave(receiver=connection is receiver)
                settled.append(asyncio.ensure_future(connection.settled()))
        if settled:
            _, late = await asyncio.wait(settled, timeout=LEAVE_SECONDS)
            for one in late:
                one.cancel()
        others = {task: one for task, one in leaving if one is not receiver}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        for connection in others.values():
            connection.drop()
        await asyncio.sleep(0)  # which ends in the next turn of the loop
        return receiver

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

    async def _connected(
        self, lines: Lines, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None, "the server makes a task for each connection"
        peer = self._trusted(writer)
        if peer is None:
            writer.close()
            return
        connection = Connection(lines, writer, peer.pid, self._verbs, self._reading)
        count = len(self._connections)
        self._connections[task] = connection
        greets = asyncio.get_running_loop().call_later(GREETS_SECONDS, _drop_silent, connection)
        try:
            if count < MOST_CONNECTIONS:
                await connection.serve()
            elif count < 2 * MOST_CONNECTIONS:
                await connection.refuse(self._crowded())
            else:  # not even that
                connection.drop()
        except (OSError, ValueError) as error:
            log.info("A client of %s is gone: %s", self._path, error)
        except asyncio.CancelledError:
            pass  # the queue is closing
        finally:
            greets.cancel()
            del self._connections[task]

    def _trusted(self, writer: asyncio.StreamWriter) -> Peer | None:
        """Return who is at the other end; ``None`` if it may not use the queue, or is gone."""
        with contextlib.suppress(OSError):
            peer = peer_of(writer.get_extra_info("socket"))
            if may_talk(peer):
                return peer
            log.warning(
                "Refused a connection of user id %d (pid %d) to %s.",
                peer.uid,
                peer.pid,
                self._path,
            )
        return None

    def _crowded(self) -> OwnerBusyError:
        log.warning("Refused a connection to %s: there are %d.", self._path, MOST_CONNECTIONS)
        return OwnerBusyError(
            f"Process {os.getpid()}, which owns the queue of {self._path}, has {MOST_CONNECTIONS} "
            "connections of other processes already, which is the most. Let one process of each "
            "application use the queue, or close queues that are not used (`await "
            "queue.shutdown()`)."
        )


def _drop_silent(connection: Connection) -> None:
    if not connection.greeted:
        connection.drop()


def _first(connections: Iterable[Connection]) -> Connection | None:
    """Return who gets the file: who asked first for it, to start workers, else the oldest."""
    there = [one for one in connections if one.greeted and not one.gone]
    return min(there, key=lambda one: (not one.waits_since, one.waits_since), default=None)
