"""Word of calls straight to the queue's process, over HTTP: no result backend, no database."""

from __future__ import annotations

import hmac
import json
import math
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from wopr.config.settings import Settings
from wopr.domain.address import check_token, is_here
from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import InvalidCallError
from wopr.integrations.celery.mailbox import Kind, Word

MOST_BYTES = 16 * 1024 * 1024
"""Of one request: a result, or an error as it is told."""
SHORTEST_TOKEN = 16
LONGEST_ID = 200
MOST_KEPT = 256 * 1024 * 1024
"""Characters of all that is kept until it is fetched."""
EACH = 500
"""So many characters more counts each of it, for what is around it."""
KEPT_SECONDS = 86_400.0
"""So long word is kept that nobody fetched."""
DROP_SECONDS = 60.0
"""All of it is looked through so seldom, unless room is needed."""
SECONDS = 10.0

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Callbacks:
    """A mailbox in this process, and the ASGI application that workers reach it by.

    Mount it in the application that serves the queue's process; ``CeleryExecutor(app,
    mailbox=callbacks)`` there, and ``register(app, queue, mailbox=CallbackMailbox(url, token))``
    where the functions run. It is of one process: what several hosts send goes through
    :class:`PostgresMailbox` or a result backend.

    Args:
        token: what the workers show, 16 characters at least.
        clock: says what is old.

    Raises:
        InvalidCallError: the token is too short.
    """

    def __init__(self, token: str, *, clock: Clock | None = None) -> None:
        self._token = _checked(token)
        self._clock = clock or SystemClock()
        self._lock = threading.Lock()
        self._words: dict[str, tuple[Word, float]] = {}
        self._stops: dict[str, float] = {}
        self._dropped = -math.inf
        """When it was looked through last."""

    def look(self, ids: Sequence[str]) -> Mapping[str, Word]:
        """Return what is known of calls."""
        with self._lock:
            return {id: self._words[id][0] for id in ids if id in self._words}

    def begun(self, id: str, text: str) -> None:
        """Note that it runs, unless it has ended."""
        with self._lock:
            known = self._words.get(id)
            if known is None or known[0].kind is Kind.BEGUN:
                self._words[id] = Word(Kind.BEGUN, text), self._clock.monotonic()

    def done(self, id: str, text: str) -> None:
        """Note the result."""
        self._end(id, Word(Kind.DONE, text))

    def raised(self, id: str, text: str) -> None:
        """Note the error."""
        self._end(id, Word(Kind.RAISED, text))

    def stop(self, id: str) -> None:
        """Note that it is to stop, and drop what nobody fetched for a day."""
        with self._lock:
            now = self._stops[id] = self._clock.monotonic()
            if now - self._dropped >= DROP_SECONDS:
                self._drop_old()
                self._dropped = now

    def stopped(self, id: str) -> bool:
        """Whether that was noted."""
        return id in self._stops

    def forget(self, id: str) -> None:
        """Drop what is known of a call."""
        with self._lock:
            self._words.pop(id, None)

    def _drop_old(self) -> None:
        since = self._clock.monotonic() - KEPT_SECONDS
        self._stops = {id: at for id, at in self._stops.items() if at > since}
        self._words = {id: kept for id, kept in self._words.items() if kept[1] > since}

    def _end(self, id: str, word: Word) -> None:
        with self._lock:
            self._words[id] = word, self._clock.monotonic()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer one request: ``POST …/begun``, ``done``, ``raised`` and ``state``."""
        if scope["type"] != "http":
            raise InvalidCallError(f"Callbacks answers HTTP, not {scope['type']}.")
        status, answer = await self._answer(scope, receive)
        body = json.dumps(answer).encode()
        headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, scope: Message, receive: Receive) -> tuple[int, dict[str, Any]]:
        shown = dict(scope["headers"]).get(b"authorization", b"")
        if not hmac.compare_digest(shown, f"Bearer {self._token}".encode()):
            return 401, {"error": "The token of the workers is another one."}
        verb = str(scope["path"]).rstrip("/").rpartition("/")[2]
        if scope["method"] != "POST" or verb not in {"begun", "done", "raised", "state"}:
            return 404, {"error": "There are POST …/begun, …/done, …/raised and …/state."}
        body = await _body(receive)
        if body is None:
            return 413, {"error": f"A request may have {MOST_BYTES:,} bytes."}
        try:
            given = json.loads(body)
            id, text = given["id"], given.get("text", "")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return 400, {"error": 'It is JSON like {"id": "…", "text": "…"}.'}
        if not isinstance(id, str) or not isinstance(text, str) or len(id) > LONGEST_ID:
            said = f"id and text are texts, and an id has {LONGEST_ID} characters at most."
            return 400, {"error": said}
        if verb == "state":
            word = self.look([id]).get(id, Word(Kind.NOTHING))
            return 200, {"kind": word.kind.value, "stopped": self.stopped(id)}
        if not self._has_room(EACH + len(text)):
            return 503, {"error": "There is too much that was not fetched yet."}
        getattr(self, verb)(id, text)
        return 200, {}

    def _has_room(self, more: int) -> bool:
        """Whether so much more fits; what nobody fetched for a day makes room."""
        with self._lock:
            if self._kept() + more > MOST_KEPT:
                self._drop_old()
            return self._kept() + more <= MOST_KEPT

    def _kept(self) -> int:
        return sum(EACH + len(word.text) for word, _ in self._words.values())


async def _body(receive: Receive) -> bytes | None:
    """Return a request's body; ``None`` if it is too long."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > MOST_BYTES:
            return None
        if not message.get("more_body") or message["type"] == "http.disconnect":
            return bytes(body)


class CallbackMailbox:
    """What a worker reaches :class:`Callbacks` by.

    Args:
        url: where they are mounted, like ``https://queue.example/celery``.
        token: theirs.
        transport: of httpx, for tests.

    Raises:
        InvalidCallError: httpx is not installed, the token is too short, or it would travel to
            another machine over ``http://`` (``WOPR_TASKS_TOKEN_OVER_HTTP``).
    """

    def __init__(self, url: str, token: str, *, transport: Any = None) -> None:
        try:
            import httpx
        except ImportError as error:
            raise InvalidCallError(
                "CallbackMailbox needs httpx, which is not installed: pip install 'wopr[client]'."
            ) from error
        headers = {"authorization": f"Bearer {_checked(token)}"}
        check_token(url, token, over_http=Settings().token_over_http)
        self._url = url.rstrip("/")
        self._client = httpx.Client(
            headers=headers, timeout=SECONDS, transport=transport, trust_env=not is_here(url)
        )

    def look(self, ids: Sequence[str]) -> Mapping[str, Word]:
        """Ask what is known of calls: whether they have begun."""
        return {id: Word(Kind(self._post("state", id)["kind"])) for id in ids}

    def begun(self, id: str, text: str) -> None:
        """Tell that it runs."""
        self._post("begun", id, text)

    def done(self, id: str, text: str) -> None:
        """Tell the result."""
        self._post("done", id, text)

    def raised(self, id: str, text: str) -> None:
        """Tell the error."""
        self._post("raised", id, text)

    def stop(self, id: str) -> None:
        """Do nothing: only the queue's process stops a call."""

    def stopped(self, id: str) -> bool:
        """Ask whether it is to stop."""
        return bool(self._post("state", id)["stopped"])

    def forget(self, id: str) -> None:
        """Do nothing: the queue's process forgets."""

    def _post(self, verb: str, id: str, text: str = "") -> dict[str, Any]:
        answer = self._client.post(f"{self._url}/{verb}", json={"id": id, "text": text})
        if answer.status_code != 200:
            raise ConnectionError(
                f"{self._url}/{verb} answered {answer.status_code} to word of {id}: "
                f"{answer.text[:200]}"
            )
        found: dict[str, Any] = answer.json()
        return found


def _checked(token: str) -> str:
    if not isinstance(token, str) or len(token) < SHORTEST_TOKEN:
        raise InvalidCallError(
            f"The token of the workers has {SHORTEST_TOKEN} characters or more: "
            "secrets.token_urlsafe() makes one."
        )
    return token
