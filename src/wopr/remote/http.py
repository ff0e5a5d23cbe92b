"""A queue on another machine: the verbs go over HTTP, to whoever serves its file there."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import unquote, urlsplit, urlunsplit

from wopr.domain.address import Address, check_token, is_here
from wopr.domain.clock import Clock
from wopr.domain.errors import (
    InvalidCallError,
    OwnerGoneError,
    OwnerLeavingError,
    OwnerSilentError,
    StorageError,
)
from wopr.domain.task import TaskRecord
from wopr.ports.answers import QueryResult
from wopr.ports.cut import Cut
from wopr.ports.storage import QueryLimits, QueryRows
from wopr.remote import protocol
from wopr.remote.client import RemoteBackend
from wopr.remote.verbs import LOOKS, ONCE

if TYPE_CHECKING:
    import httpx

PATH = "/api/v1/carry"
CONNECT_SECONDS = 5.0
WAIT_SECONDS = 25.0
"""One request waits so long for the end of a task; then comes the next one."""
PAUSES = (0.05, 0.2, 0.5, 1.0, 2.0)
"""So long it is waited before a call that was not carried out is repeated."""
CROWDED_SECONDS = 1.0
"""And so long, where more wait than have a connection."""
MOST_CONNECTIONS = 20
MOST_WAITS = 100
"""Connections for those that wait for the end of a task: what is called meanwhile has its own."""
_ADVICE = {
    401: " Here it is told by WOPR_TASKS_TOKEN, or https://:TOKEN@host.",
    404: ". No queue is served there: give the address that `wopr web` tells, or of the mount.",
    405: ". No queue is served there: give the address that `wopr web` tells, or of the mount.",
}
COPY_SECONDS = 60.0
"""So long a question may take beyond its own time: for the copy that it is asked of."""
BULK = 1_000
BULK_BYTES = 1024 * 1024
"""A message ends with the task that brings it to so many tasks, or bytes of payload."""


class HttpBackend(RemoteBackend):
    """The verbs of a queue, carried out by the process that serves it over HTTP.

    A call that may have been carried out is repeated where that is the same call: new tasks
    have their ids before they are sent.

    Args:
        address: ``https://host/place`` of an application of :func:`wopr.web.create_app`; a
            token may stand before the host, as ``https://:token@host``.
        token: sent as ``Authorization: Bearer``; that of the address counts before it.
        call_seconds: longest wait for an answer.
        query_seconds: how long a query of people may run there.
        clock: source of time for the ids of new tasks.
        token_over_http: whether the token may travel to another machine unencrypted.
    """

    def __init__(
        self,
        address: Address,
        token: str | None = None,
        call_seconds: float = 30.0,
        query_seconds: float = 0.0,
        clock: Clock | None = None,
        *,
        token_over_http: bool = False,
    ) -> None:
        super().__init__(address, call_seconds, query_seconds, self._again, clock)
        self._url, said = _split(address.whole)
        self._token = said or token
        check_token(self._url, self._token, over_http=token_over_http)
        self._http: httpx.AsyncClient | None = None
        self._waiting: httpx.AsyncClient | None = None
        self._waits = 0

    def _bulk(self) -> tuple[int, int]:
        return BULK, BULK_BYTES

    async def start(self) -> None:
        """Connect, and see that it is the same version of wopr.

        Raises:
            InvalidCallError: a package is missing.
            StorageError: nobody answers there, or nobody who is understood.
        """
        self._http = _client(self._url, self._token, MOST_CONNECTIONS)
        self._waiting = _client(self._url, self._token, MOST_WAITS)
        self.open = True
        try:
            version = self._greeted(await self._last(self._call_seconds, "hello", ()))
        except BaseException:
            await self.close()
            raise
        if version != protocol.PROTOCOL:
            await self.close()
            raise StorageError(
                f"{self._database} runs another version of wopr (protocol {version}, this one has "
                f"{protocol.PROTOCOL}). Install the same version on both sides."
            )

    def _greeted(self, answer: Any) -> int:
        """Return the version of who answers, whose process is known from now on."""
        match answer:
            case [int(version), int(pid), *_]:
                self.owner_pid = pid
                return version
        raise StorageError(
            f"What answers at {self._database} is no queue of wopr: it greets with "
            f"{answer!r:.200}. Give the address that `wopr web` tells, or of the mount."
        )

    async def ask(self, seconds: float | None, verb: str, params: Sequence[Any]) -> Any:
        """Ask, and wait so long for the answer; see :class:`wopr.remote.caller.Caller`."""
        import httpx

        message = protocol.encode({"verb": verb, "params": list(params)})
        limit = httpx.Timeout(seconds, connect=CONNECT_SECONDS, pool=seconds)
        client = self._waiting if verb == "wait" else self._http
        if client is None:
            raise OwnerLeavingError(f"The connection to {self._database} is closed.")
        try:
            async with client.stream("POST", self._url, content=message, timeout=limit) as answer:
                text = await self._text(answer, verb)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise OwnerLeavingError(
                f"Nobody answers at {self._database}, so nothing was sent: {error!s:.200}. "
                "Is `wopr web` running there, and reachable from here?"
            ) from error
        except httpx.TimeoutException as error:
            raise OwnerSilentError(
                f"{self._database} did not answer within {seconds:g} s. {_known(verb)} "
                "(WOPR_TASKS_CALL_SECONDS sets the limit.)"
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise StorageError(
                f"{self._database} is no address of a server, so nothing was sent: "
                f"{error!s:.200}. One is like https://queue.example, or http://127.0.0.1:8800."
            ) from error
        except httpx.TransportError as error:
            raise OwnerGoneError(
                f"The connection to {self._database} ended before the answer: {error}. "
                f"{_known(verb)}"
            ) from error
        self._heard = asyncio.get_running_loop().time()
        return await self._read(answer, text, verb)

    async def _text(self, answer: httpx.Response, verb: str) -> bytes:
        """Return an answer, which is as large as a message can be, at most.

        It is read as it came: what is packed may be a thousand times as large, and was not asked
        for.
        """
        packed = answer.headers.get("content-encoding", "identity").lower()
        if packed != "identity":
            raise StorageError(
                f"{self._database} answers in {packed!r:.80}, which was not asked for. Tell "
                f"whoever stands before it to leave {PATH} as it is. {_known(verb)}"
            )
        kept = bytearray()
        async for part in answer.aiter_raw():
            kept += part
            if len(kept) > protocol.LONGEST_LINE:
                raise StorageError(
                    f"{self._database} answers with more than {protocol.LONGEST_LINE:,} bytes, "
                    f"which no message of wopr has. Ask for less at once. {_known(verb)}"
                )
        return bytes(kept)

    async def _read(self, answer: httpx.Response, text: bytes, verb: str) -> Any:
        if answer.status_code in {502, 503, 504} and not text.startswith(b'{"id"'):
            self._not_reached(answer.status_code, verb)
        try:
            reply = await protocol.decoded(text)
        except (ValueError, StorageError):
            reply = {}
        if "ok" in reply:
            return reply["ok"]
        match reply.get("error"):
            case {"type": str(kind), "message": str(said)}:
                protocol.raise_error({"type": kind, "message": said})
        raise StorageError(
            f"{self._database} refuses the call with {answer.status_code}: "
            f"{str(reply.get('detail') or answer.reason_phrase)[:500]}"
            f"{_ADVICE.get(answer.status_code, '')}"
        )

    def _not_reached(self, status: int, verb: str) -> NoReturn:
        if status == 503:
            raise OwnerLeavingError(
                f"{self._database} answers 503: whoever stands before it does not reach it, so "
                "nothing was carried out."
            )
        raise OwnerGoneError(  # a proxy that gave up waiting has handed the call on
            f"{self._database} answers {status}: whoever stands before it got no answer. "
            f"{_known(verb)}"
        )

    async def _again(self, seconds: float | None, verb: str, params: Sequence[Any]) -> Any:
        """Repeat a call that was not carried out, or is the same one when it is repeated."""
        for pause in PAUSES:
            await asyncio.sleep(pause)
            try:
                return await self.ask(seconds, verb, params)
            except OwnerGoneError as error:
                if verb in ONCE and not isinstance(error, OwnerLeavingError):
                    raise
        return await self._last(seconds, verb, params)

    async def _last(self, seconds: float | None, verb: str, params: Sequence[Any]) -> Any:
        """Ask, and tell who called that nothing was sent: there is no other owner to ask."""
        try:
            return await self.ask(seconds, verb, params)
        except OwnerLeavingError as error:
            raise StorageError(str(error)) from error

    async def typed_sql(
        self, query: str, params: Sequence[Any], limits: QueryLimits
    ) -> QueryResult:
        """Run one query that somebody typed: there, apart, on a copy of the database."""
        columns, rows, cut, moment = await self._within(
            max(self._call_seconds, limits.seconds + COPY_SECONDS),
            *("typed_sql", query, list(params), limits.rows),
        )
        rows = [tuple(row) for row in rows]
        found = QueryRows(tuple(columns), rows, None if cut is None else Cut(cut))
        return QueryResult(found, moment)

    async def wait(self, task_id: str, timeout: float | None) -> TaskRecord:
        """Return a task once it has ended: request after request."""
        self._waits += 1
        try:
            return await self._waited(task_id, timeout)
        finally:
            self._waits -= 1

    async def _waited(self, task_id: str, timeout: float | None) -> TaskRecord:
        loop = asyncio.get_running_loop()
        until = None if timeout is None else loop.time() + timeout
        while True:
            left = WAIT_SECONDS if until is None else max(0.0, until - loop.time())
            part = min(left, WAIT_SECONDS if self._waits <= MOST_WAITS else CROWDED_SECONDS)
            try:
                return TaskRecord.from_row(
                    await self._within(part + self._call_seconds, "wait", task_id, part)
                )
            except OwnerSilentError:
                raise
            except TimeoutError:
                if until is not None and loop.time() >= until:
                    raise TimeoutError(
                        f"Task {task_id} did not end within {timeout:g} s. It goes on."
                    ) from None

    async def close(self) -> None:
        """Let go of the connections. Idempotent."""
        self.open = False
        clients, self._http, self._waiting = (self._http, self._waiting), None, None
        for client in clients:
            if client is not None:
                await client.aclose()
        self.ended.set()


def _known(verb: str) -> str:
    if verb in LOOKS or verb in {"hello", "typed_sql"}:
        return "Nothing was to be changed: ask again."
    return (
        "It is not known whether the call was carried out: look the task up, or repeat the call "
        "with a unique_key."
    )


def _split(whole: str) -> tuple[str, str | None]:
    """Return where calls go, and the token of an address."""
    parts = urlsplit(whole)
    host = parts.netloc.rpartition("@")[2]
    where = urlunsplit((parts.scheme, host, parts.path.rstrip("/") + PATH, "", ""))
    return where, unquote(parts.password or parts.username or "") or None


def _client(url: str, token: str | None, connections: int) -> httpx.AsyncClient:
    try:
        import httpx
    except ImportError:
        raise InvalidCallError(
            "A queue at an address needs httpx, which is not installed: pip install 'wopr[client]'."
        ) from None
    headers = {
        "content-type": "application/json",
        "accept": "application/json",
        "accept-encoding": "identity",
    }
    if token:
        headers["authorization"] = f"Bearer {token}"
    most = httpx.Limits(max_connections=connections)
    return httpx.AsyncClient(
        headers=headers,
        limits=most,
        follow_redirects=False,
        trust_env=not is_here(url),  # a proxy that the environment names would see the token
    )
