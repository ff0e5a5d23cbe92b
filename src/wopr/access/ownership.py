"""Who has the file, and how it changes hands between processes."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path

from wopr.config.settings import Settings
from wopr.domain.clock import Clock
from wopr.domain.errors import OwnerLeavingError, StorageOwnedError
from wopr.engine.engine import Engine
from wopr.ports.backend import Backend
from wopr.remote.caller import CONNECT_SECONDS, Elsewhere
from wopr.remote.client import RemoteBackend
from wopr.remote.connection import Connection
from wopr.remote.peer import own_name
from wopr.remote.protocol import socket_path
from wopr.remote.server import LEAVE_SECONDS, Server
from wopr.storage import sign_coming, sign_deaf, signed

log = logging.getLogger(__name__)

Stop = Callable[[Engine, float, Exception], Awaitable[None]]
"""Closes an engine within so many seconds; who still waits gets the error."""
LOOK_SECONDS = 0.05
JUST_OPENING_SECONDS = 2.0
"""So long an owner that does not listen is waited for, unless it says that it is opening."""
RECEIVE_SECONDS = 2.0
"""So long the file is left lying for it. Who has it locked by then may open it in peace."""
NOT_AGAIN_SECONDS = 600.0
"""So long nothing more is given to a process that did not take what it was given."""


class Ownership:
    """One queue's side of it: listens as the owner, or is connected to the owner.

    Args:
        database: the file.
        settings: how long an owner is waited for, and how large a task of another process may be.
        stop: closes an engine at once; who still waits gets the error.
        working: whether an engine has workers, or fires schedules.
        elsewhere: asks the next owner what this one did not do.
        clock: source of time for the ids that this process makes as a client.
    """

    def __init__(
        self,
        database: Path,
        settings: Settings,
        stop: Stop,
        working: Callable[[Engine], bool],
        elsewhere: Elsewhere,
        clock: Clock,
    ) -> None:
        self.database = database
        self._elsewhere = elsewhere
        self._clock = clock
        self.remote: RemoteBackend | None = None
        """The connection to the owner."""
        self._settings = settings
        self._refused = ""
        self._stop = stop
        self.stop_to_move: Stop | None = None
        """Closes an engine, too, and goes on with its work as soon as that can be."""
        self._working = working
        self._engine: Engine | None = None
        self._server: Server | None = None
        self._giving: asyncio.Task[None] | None = None
        self._given_until = 0.0
        self._receiver: Connection | None = None
        """The process that the file was given to, until it is known what it did with it."""
        self._asked = 0
        """How many processes have asked for the file, to start workers."""
        self._answering: dict[asyncio.Task[None], RemoteBackend] = {}
        """Connections to owners that are leaving, which still answer what they were sent."""
        self._left_lying: dict[int, float] = {}
        """Processes that did not take what they were given, and until when they get no more."""

    # -- another process has it ----------------------------------------------

    def coming(self) -> bool:
        """Whether a queue opens or closes the file just now, or is about to."""
        return signed(self.database).coming

    def is_own(self) -> bool:
        """Whether another queue of this process has the file."""
        return signed(self.database).pid == os.getpid()

    async def find(
        self, until: float | None = None, *, deadline: float | None = None
    ) -> RemoteBackend | None:
        """Connect to whoever has the file, as soon as it listens; ``None`` if nobody does.

        Args:
            until: time of the loop up to which to look; ``None`` looks only while a process
                may be about to take the file that was given to it.
            deadline: when whoever listens must have answered, at the latest.
        """
        loop = asyncio.get_running_loop()
        receiver = self._receiver if until is None else None
        until = self._given_until if until is None else until
        settings = self._settings
        while loop.time() < until:
            last = receiver is not None and receiver.gone  # it listens before it goes
            remote = RemoteBackend(
                self.database,
                settings.call_seconds,
                settings.query_seconds,
                self._elsewhere,
                self._clock,
            )
            owner = signed(self.database).pid
            left = CONNECT_SECONDS if deadline is None else max(0.0, deadline - loop.time())
            if await remote.connect(owner, min(CONNECT_SECONDS, left)):
                self.remote = remote
                self._let_go_of_receiver()
                return remote
            self._refused = remote.refused
            if last:
                break
            await asyncio.sleep(LOOK_SECONDS)
        if receiver is not None and receiver is self._receiver:
            self._let_lie(receiver.pid, loop.time())
            self._let_go_of_receiver()
        return None

    def _let_go_of_receiver(self) -> None:
        receiver, self._receiver = self._receiver, None
        self._given_until = 0.0
        if receiver is not None:
            receiver.drop()

    def unreachable(self, error: StorageOwnedError) -> StorageOwnedError:
        """Say in the error of a file that is owned why its owner could not be asked."""
        deaf = signed(self.database).deaf
        why = self._refused
        if deaf is not None:
            why = f"it can't listen at {socket_path(self.database)}: {os.strerror(deaf)}; {why}"
        return StorageOwnedError(f"{error} That process can't be asked: {why}.", pid=error.pid)

    async def leave(self) -> None:
        """Let go of the connection to the owner, which may still answer. Idempotent."""
        remote, self.remote = self.remote, None
        if remote is None:
            return
        if not remote.leaving:
            await remote.close()
            return
        answering = asyncio.ensure_future(remote.answered(2 * LEAVE_SECONDS))
        self._answering[answering] = remote
        answering.add_done_callback(self._answering.pop)

    async def leave_all(self) -> None:
        """Wait for no answer of an owner any more: this queue is shut down. Idempotent."""
        remotes = [*self._answering.values(), *([self.remote] if self.remote else [])]
        self.remote = None
        for remote in remotes:
            remote.carry_no_more()
            await remote.close()

    # -- this process has it --------------------------------------------------

    async def take(self, engine: Engine, backend: Backend, *, shared: bool) -> None:
        """Be the owner; where the file is ``shared``, listen to other processes."""
        self._engine = engine
        if not shared or not hasattr(socket, "AF_UNIX"):
            return
        self._server = Server(
            backend, self.database, self._hand_over, self._settings.max_args_bytes
        )
        try:
            await self._server.start()
        except OSError as error:
            self._server = None
            sign_deaf(self.database, error.errno or 0)
            log.warning(
                "Other processes can't use %s while this one has it: no socket can be made at "
                "%s (%s).",
                self.database,
                socket_path(self.database),
                error,
            )
        sign_coming(self.database, coming=False)

    def serve(self, backend: Backend) -> None:
        """Carry the verbs of other processes out by this one from now on."""
        if self._server is not None:
            self._server.serve(backend)

    async def listen_no_more(self) -> None:
        """Let go of the clients: one of them gets the file, which is about to be closed.

        Idempotent.
        """
        server, self._server = self._server, None
        if server is None:
            return
        sign_coming(self.database, coming=True)
        self._receiver = await server.leave(self._receiver)
        pid = 0 if self._receiver is None else self._receiver.pid
        sign_coming(self.database, coming=True, receiver=own_name(pid) if pid else None)

    def give_up(self) -> None:
        """Be the owner no more: the file is closed."""
        self._engine = None
        if self._giving is None:  # else it is looked at what becomes of it
            self._let_go_of_receiver()

    async def given(self) -> None:
        """Return once a hand-over that is under way has ended."""
        if self._giving is not None:
            await asyncio.wait([self._giving])

    def forget_receiver(self) -> None:
        """Wait for nobody to take the file any more: this queue is shut down. Idempotent."""
        self._let_go_of_receiver()

    def _hand_over(self, receiver: Connection, grace: float | None = None) -> bool:
        """Give the file up soon to the process that asks for it; whether that will be.

        Not while anything is worked on here: then it is the next one, in the order of asking.
        Not to this process itself, and not to one that let the file lie the last time.

        Args:
            receiver: who asks.
            grace: it moves the queue, so what runs here ends, or stops after so many seconds, and
                the work goes on wherever the queue is then.
        """
        engine = self._engine
        loop = asyncio.get_running_loop()
        if grace is not None:
            if engine is None or engine.stopping or self.stop_to_move is None:
                return False
            loop.call_later(LOOK_SECONDS, self._lend, engine, receiver, grace)
            return True
        if receiver.pid == os.getpid() or loop.time() < self._left_lying.get(receiver.pid, 0.0):
            return False
        if not receiver.waits_since:
            self._asked += 1
            receiver.waits_since = self._asked
        if engine is None or engine.stopping or self._working(engine):
            return False
        loop.call_later(LOOK_SECONDS, self._give, engine, receiver)  # the answer goes out before
        return True

    def _let_lie(self, pid: int, now: float) -> None:
        """Don't give the file to a process again for a while."""
        left = {one: until for one, until in self._left_lying.items() if until > now}
        if pid:  # else nobody knows which one it was: of another container, say
            left[pid] = now + NOT_AGAIN_SECONDS
        self._left_lying = left

    def _give(self, engine: Engine, receiver: Connection) -> None:
        if receiver.gone:
            self._let_lie(receiver.pid, engine.shared.loop.time())
        elif engine is self._engine and not engine.stopping and not self._working(engine):
            log.info("Process %d starts workers: it gets %s.", receiver.pid, self.database)
            engine.stop_starting()
            self._receiver = receiver
            gone = OwnerLeavingError(f"Another process has taken {self.database} over.")
            self._giving = asyncio.ensure_future(self._stop(engine, 0, gone))
            self._giving.add_done_callback(self._ended)

    def _lend(self, engine: Engine, receiver: Connection, grace: float) -> None:
        if engine is not self._engine or engine.stopping or receiver.gone:
            return
        assert self.stop_to_move is not None, "it was said that it is given"
        log.warning("Process %d moves the queue of %s: it gets it.", receiver.pid, self.database)
        engine.stop_starting()
        self._receiver = receiver
        gone = OwnerLeavingError(f"The queue of {self.database} is being moved.")
        self._giving = asyncio.ensure_future(self.stop_to_move(engine, grace, gone))
        self._giving.add_done_callback(self._ended)

    def _ended(self, giving: asyncio.Task[None]) -> None:
        self._giving = None
        self._given_until = giving.get_loop().time() + RECEIVE_SECONDS
        if not giving.cancelled() and (error := giving.exception()) is not None:
            log.error("%s could not be given up in order: %s", self.database, error)
