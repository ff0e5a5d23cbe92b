"""The access tokens of the queue, as its guard knows them: two seconds old at most."""

from __future__ import annotations

from datetime import datetime

from wopr.core.accesstokens import access_tokens
from wopr.domain.accesstoken import PREFIX, AccessToken, find_token
from wopr.queue.queue import TaskQueue, inside

FRESH_SECONDS = 2.0
"""So long a token that was revoked may still let somebody in."""


class KnownTokens:
    """Asks for the tokens now and then, not for each request."""

    def __init__(self, queue: TaskQueue) -> None:
        self._core = inside(queue)
        self._tokens: list[AccessToken] = []
        self._until = 0.0

    def now(self) -> datetime:
        """Return the time, aware."""
        return self._core.time.now()

    async def all(self) -> list[AccessToken]:
        """Return them.

        Raises:
            StorageError: they can't be read.
        """
        now = self._core.time.monotonic()
        if now >= self._until:
            self._tokens = await access_tokens(self._core)
            self._until = now + FRESH_SECONDS
        return self._tokens

    async def named_by(self, text: str) -> AccessToken | None:
        """Return the valid token that somebody came with; one may have been made just now.

        Raises:
            StorageError: they can't be read.
        """
        found = find_token(await self.all(), text, self.now())
        if found is None and text.startswith(PREFIX):
            self._until = 0.0
            found = find_token(await self.all(), text, self.now())
        return found

    async def lets_in(self, token: AccessToken) -> bool:
        """Say whether a token that let somebody in still does."""
        return token in await self.all() and token.valid(self.now())
