"""Sends requests and waits for their answers: what a ``Client`` does."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TypeVar

from wopr.client.failures import Failure, of_answer, of_transport, pause_before, too_large
from wopr.client.place import CONNECT_SECONDS, LARGEST_ANSWER, Place
from wopr.client.requests import Asked, Steps

if TYPE_CHECKING:
    import httpx

T = TypeVar("T")


class Sender:
    """Sends, blocking; may be used from several threads at once.

    Args:
        base_url: address of ``wopr web``, or of an application that mounts it; with or without
            ``/api/v1``. A token may stand before the host, as ``https://:token@host``.
        token: of ``wopr token create``; without it, that of ``WOPR_TASKS_TOKEN``.
        timeout: seconds that an answer may take.
        transport: how httpx sends, if not over a socket.
    """

    def __init__(
        self,
        base_url: str,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self._place = Place(base_url, token)
        options = self._place.options
        import httpx

        self._seconds = timeout
        self._http = httpx.Client(transport=transport, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._place.shown!r})"

    def close(self) -> None:
        """Let go of the connections. Idempotent."""
        self._http.close()

    def carry_out(self, steps: Steps[T]) -> T:
        """Send one request after the other, and return what comes of them."""
        try:
            asked = next(steps)
            while True:
                asked = steps.send(self.send(asked))
        except StopIteration as end:
            found: T = end.value
            return found

    def send(self, asked: Asked[T]) -> T:
        """Send a request, again where that is safe, and return its answer."""
        tries = 0
        while isinstance(found := self._once(asked), Failure):
            pause = pause_before(found, tries, reads=asked.row.reads)
            if pause is None:
                raise found.error
            time.sleep(pause)
            tries += 1
        return asked.row.read(found)

    @contextmanager
    def stream(self, asked: Asked[Any], seconds: float | None = None) -> Iterator[Iterator[bytes]]:
        """Send a request once, and give its answer part by part.

        Args:
            asked: the request.
            seconds: how long the next part may take; without it, as long as an answer.
        """
        import httpx

        try:
            with self._http.stream(**self._sent(asked, seconds)) as answer:
                if not answer.is_success:
                    content = _whole(answer.iter_bytes()) or b""
                    raise of_answer(answer.status_code, answer.headers, content).error
                yield answer.iter_bytes()
        except httpx.TransportError as error:
            raise of_transport(error, self._place.shown, reads=asked.row.reads).error from error

    def _once(self, asked: Asked[Any]) -> bytes | Failure:
        import httpx

        try:
            with self._http.stream(**self._sent(asked)) as answer:
                content = _whole(answer.iter_bytes())
        except httpx.TransportError as error:
            return of_transport(error, self._place.shown, reads=asked.row.reads)
        if content is None:
            return too_large(self._place.shown, LARGEST_ANSWER)
        if not answer.is_success:
            return of_answer(answer.status_code, answer.headers, content)
        return content

    def _sent(self, asked: Asked[Any], seconds: float | None = None) -> dict[str, Any]:
        import httpx

        return sent(asked, self._place.url) | {
            "timeout": httpx.Timeout(
                seconds or self._seconds + asked.given.more_seconds, connect=CONNECT_SECONDS
            )
        }


def sent(asked: Asked[Any], url: str) -> dict[str, Any]:
    """Return a request as httpx sends it."""
    found = {"method": asked.row.method, "url": url + asked.path, "params": asked.query}
    body = asked.body
    if body is None:
        return found
    return {**found, "content": body, "headers": {"content-type": "application/json"}}


def _whole(parts: Iterator[bytes]) -> bytes | None:
    """Return an answer; ``None``: it is too large."""
    kept = bytearray()
    for part in parts:
        kept += part
        if len(kept) > LARGEST_ANSWER:
            return None
    return bytes(kept)
