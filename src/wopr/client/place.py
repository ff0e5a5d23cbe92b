"""Where a client asks, and as whom."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from wopr.config.settings import Settings
from wopr.domain.address import Address, check_token, is_address, is_here
from wopr.domain.errors import InvalidCallError

API = "/api/v1"
CONNECT_SECONDS = 5.0
IDLE_SECONDS = 2.0
"""Connections that are idle for longer are closed here before the server does so: what is sent
into its closing would be lost, and nobody knew."""
MOST_CONNECTIONS = 20
LARGEST_ANSWER = 256 * 1024 * 1024


class Place:
    """The address of an API, and the token that lets in."""

    __slots__ = ("shown", "token", "url")

    def __init__(self, base_url: str, token: str | None) -> None:
        """Read an address, with or without ``/api/v1``; a token may stand before the host."""
        if not is_address(base_url):
            raise InvalidCallError(
                "A client asks at an address, like https://queue.example or http://127.0.0.1:8800, "
                f"not at {base_url!r:.200}."
            )
        parts = urlsplit(base_url)
        if not parts.hostname or parts.query or parts.fragment:
            raise InvalidCallError(
                f"{Address(base_url)} has no host, or has more than a path after it. An address is "
                "like https://queue.example."
            )
        path = parts.path.rstrip("/").removesuffix(API)
        self.url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], path + API, "", ""))
        self.shown = self.url.removesuffix(API)
        said = unquote(parts.password or parts.username or "")
        settings = Settings()
        self.token = _checked(said or token or settings.token)
        check_token(self.url, self.token, over_http=settings.token_over_http)

    @property
    def options(self) -> dict[str, Any]:
        """How httpx is to ask there.

        Raises:
            InvalidCallError: it is not installed.
        """
        try:
            import httpx
        except ImportError:
            raise InvalidCallError(
                "wopr.client needs httpx, which is not installed: pip install 'wopr[client]'."
            ) from None
        headers = {"accept": "application/json"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        limits = httpx.Limits(
            max_connections=MOST_CONNECTIONS,
            max_keepalive_connections=MOST_CONNECTIONS,
            keepalive_expiry=IDLE_SECONDS,
        )
        proxies = not is_here(self.url)  # one that the environment names would see the token
        return {
            "headers": headers,
            "limits": limits,
            "follow_redirects": False,
            "trust_env": proxies,
        }


def _checked(token: str | None) -> str | None:
    if token is not None and not (token.isascii() and token.isprintable() and " " not in token):
        raise InvalidCallError(
            "The token has characters that no token has: blanks, line breaks, or others than "
            "ASCII. Was more copied than the token? (token=, WOPR_TASKS_TOKEN)"
        )
    return token
