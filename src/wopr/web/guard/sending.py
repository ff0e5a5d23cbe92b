"""What goes along with every answer: that no other page frames it, runs in it, or keeps it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.types import Message, Send

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Robots-Tag": "noindex",
}
"""A policy of no referrer would take the Origin off forms, too, by which they are judged."""
_RAW = [
    (name.lower().encode(), value.encode())
    for name, value in {**HEADERS, "Cache-Control": "no-store"}.items()
]
STILL = Callable[[], Awaitable[bool]]
"""Tells whether the caller still may."""


class Sending:
    """Sends an answer with those headers.

    Args:
        send: that of the server.
        still: asked before each further part of an answer, which may go on for days.
        ended: called when the caller may no more; the answer has ended then.
    """

    def __init__(
        self,
        send: Send,
        still: STILL | None = None,
        ended: Callable[[], object] | None = None,
    ) -> None:
        self._send = send
        self._still = still
        self._ended = ended
        self._over = False
        self._began = False
        self.cookies: list[str] = []
        """For the browser, if the answer is a page."""

    async def __call__(self, message: Message) -> None:
        """Send a message of an answer."""
        if self._over:
            return
        if message["type"] == "http.response.start":
            self._dress(message)
        elif self._began and self._still is not None and not await self._still():
            self._over = True
            message = {"type": "http.response.body", "body": b"", "more_body": False}
            if self._ended is not None:
                self._ended()
        else:
            self._began = message["type"] == "http.response.body"
        await self._send(message)

    def _dress(self, message: Message) -> None:
        given = list(message.get("headers", ()))
        names = {name for name, _ in given}
        given += [pair for pair in _RAW if pair[0] not in names]
        if self.cookies and dict(given).get(b"content-type", b"").startswith(b"text/html"):
            given += [(b"set-cookie", cookie.encode("latin-1")) for cookie in self.cookies]
        message["headers"] = given
