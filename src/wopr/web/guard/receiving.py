"""What a request may cost that is still being sent: bytes, and time."""

from __future__ import annotations

import asyncio
from urllib.parse import parse_qs

from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

BODY_SECONDS = 30.0
"""So long the body of a request may take."""
MOST_FIELDS = 1_000


class Bounded:
    """Receives a request whose body has an end, in bytes and in time.

    Args:
        receive: that of the server.
        most: bytes.
        seconds: for the whole body, from the first byte that is asked for.
    """

    def __init__(self, receive: Receive, most: int, seconds: float = BODY_SECONDS) -> None:
        self._receive = receive
        self._most = most
        self._seconds = seconds
        self._read = 0
        self._until: float | None = None
        self._complete = False
        self._replayed: list[Message] = []
        self.gone = asyncio.Event()
        """Set to tell the application that nobody is there any more."""

    async def __call__(self) -> Message:
        """Return the next message.

        Raises:
            HTTPException: there are more bytes than may be, or they take too long.
        """
        if self._replayed:
            return self._replayed.pop(0)
        return await (self._rest() if self._complete else self._next())

    async def _next(self) -> Message:
        message = await self._in_time()
        self._read += len(message.get("body", b""))
        if self._read > self._most:
            raise too_large(self._most)
        self._complete = message["type"] != "http.request" or not message.get("more_body")
        return message

    async def _in_time(self) -> Message:
        now = asyncio.get_running_loop().time()
        self._until = self._until or now + self._seconds
        try:
            async with asyncio.timeout_at(self._until):
                return await self._receive()
        except TimeoutError:
            raise HTTPException(
                408,
                f"The body of this request did not come within {self._seconds:g} s, so nothing was "
                "done. Send it again, faster or in smaller parts.",
                {"Connection": "close"},
            ) from None

    async def _rest(self) -> Message:
        """Wait until the caller is gone, or has to be."""
        receiving = asyncio.ensure_future(self._receive())
        ending = asyncio.ensure_future(self.gone.wait())
        try:
            await asyncio.wait({receiving, ending}, return_when=asyncio.FIRST_COMPLETED)
            return receiving.result() if receiving.done() else {"type": "http.disconnect"}
        finally:
            receiving.cancel()
            ending.cancel()

    async def field(self, name: str) -> str:
        """Return a field of a form that is sent; the application gets it all the same.

        Raises:
            HTTPException: there are more bytes than may be, or they take too long.
        """
        messages = self._replayed
        while not self._complete:
            messages.append(await self._next())
        body = b"".join(message.get("body", b"") for message in messages)
        try:
            fields = parse_qs(body.decode("ascii"), max_num_fields=MOST_FIELDS)
        except ValueError:
            return ""
        return fields.get(name, [""])[0]


def too_large(most: int) -> HTTPException:
    """Return the refusal of a body that has too many bytes."""
    return HTTPException(
        413,
        f"The body of this request has more than {most:,} bytes, which is the most, so nothing was "
        "done. Send it in several requests.",
        {"Connection": "close"},
    )
