"""Signed webhooks: send an event by HTTP, and check that one is ours."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import json
import ssl
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from wopr.domain.checks import check_label, check_seconds
from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import DeliveryFailedError, DeliveryRefusedError, InvalidCallError
from wopr.domain.jsontext import shown, type_name
from wopr.notifications.event import NotificationEvent

if TYPE_CHECKING:
    import httpx

LONGEST_TIMESTAMP = 15
"""Digits of a timestamp that can be signed."""
TIMESTAMP_HEADER = "X-Wopr-Timestamp"
"""When it was sent: whole seconds since 1970, UTC."""
SIGNATURE_HEADER = "X-Wopr-Signature"
"""``sha256=`` and the HMAC-SHA256, in hex, of the timestamp, a full stop and the body."""
TOLERANCE_SECONDS = 300.0
TRY_AGAIN = {408, 429}
"""The answers of the 400s that are not final."""


class Webhook:
    """A handler that posts each event as JSON, signed with a shared secret.

    Args:
        url: ``https://…``. It may hold a token: it is in no error, log or task.
        secret: shared with the receiver, see :func:`verify_signature`.
        name: of the handler; tasks that wait for delivery know it by this name.
        timeout: seconds until the answer has to be there.
        headers: further ones.
        clock: source of the timestamp.

    An answer of the 200s is a delivery. Redirects are not followed: they, and the 400s but for
    408 and 429, are final. Everything else is tried again. The answer's body is not read.

    Raises:
        InvalidCallError: a value can't be what it has to be, or httpx is not installed.
    """

    def __init__(
        self,
        url: str,
        secret: str | bytes,
        *,
        name: str = "webhook",
        timeout: float | timedelta = 10.0,
        headers: Mapping[str, str] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.name = check_label(name, "the name of a webhook")
        self._secret = _secret(secret)
        self._timeout = check_seconds(timeout, "timeout", zero="refuse")
        self._clock = clock or SystemClock()
        self._headers = {
            "Content-Type": "application/json",
            "User-Agent": "wopr",
            **(headers or {}),
        }
        self._tls: ssl.SSLContext | None = None
        self._url = _url(url, self.name)
        self._request(b"")  # what headers there are is refused now, not at the first delivery

    def __repr__(self) -> str:
        return f"<Webhook {self.name}>"

    async def __call__(self, event: NotificationEvent) -> None:
        """Deliver one event.

        Raises:
            DeliveryRefusedError: the receiver does not want it.
            DeliveryFailedError: it did not arrive, this time.
        """
        request = self._request(json.dumps(event.to_dict(), ensure_ascii=False).encode())
        try:
            async with asyncio.timeout(self._timeout):
                status = await self._send(request)
        except TimeoutError:
            why = f"did not answer within {self._timeout:g} s"
        except Exception as error:  # noqa: BLE001 - of the network, and of TLS; the text may hold the URL
            why = f"could not be reached ({type_name(error)})"
        else:
            if 200 <= status < 300:
                return
            if 300 <= status < 500 and status not in TRY_AGAIN:
                raise DeliveryRefusedError(_refused(self.name, status))
            why = f"answered {status}"
        raise DeliveryFailedError(f"Webhook {self.name!r} {why}.")

    def _request(self, body: bytes) -> httpx.Request:
        """Return a signed request.

        Raises:
            InvalidCallError: a header can't be sent.
        """
        import httpx

        timestamp = str(int(self._clock.now().timestamp()))
        headers = {
            **self._headers,
            TIMESTAMP_HEADER: timestamp,
            SIGNATURE_HEADER: _signature(self._secret, timestamp, body),
        }
        try:
            return httpx.Request("POST", self._url, headers=headers, content=body)
        except Exception as error:  # noqa: BLE001 - their texts hold the value
            raise InvalidCallError(
                f"The headers of webhook {self.name!r} can't be sent ({type_name(error)}): they "
                "are ASCII texts."
            ) from None

    async def _send(self, request: httpx.Request) -> int:
        """Send it and return the status. Without httpx's client: that one logs each URL."""
        import httpx

        if self._tls is None:
            self._tls = await asyncio.to_thread(httpx.create_ssl_context)  # reads files
        async with httpx.AsyncHTTPTransport(verify=self._tls) as transport:
            response = await transport.handle_async_request(request)
            await response.aclose()
            return response.status_code


def verify_signature(
    secret: str | bytes,
    headers: Mapping[str, str],
    body: bytes,
    now: datetime | None = None,
    tolerance: float | timedelta = TOLERANCE_SECONDS,
) -> bool:
    """Whether a request comes from who has the secret, unaltered and not replayed later.

    For programs that receive webhooks. Deliveries are repeated when an answer was lost: tell
    repeats by the event's ``id``.

    Args:
        secret: shared with the sender.
        headers: of the request, in any case of letters.
        body: of the request, as it came: before it is parsed.
        now: aware; ``None`` means now.
        tolerance: seconds that the timestamp may be off.

    Raises:
        InvalidCallError: the secret is empty, or the tolerance is no time.
    """
    key = _secret(secret)
    reach = check_seconds(tolerance, "tolerance", zero="allow")
    found = {name.lower(): value for name, value in headers.items()}
    timestamp = found.get(TIMESTAMP_HEADER.lower(), "")
    signature = found.get(SIGNATURE_HEADER.lower(), "")
    expected = _signature(key, timestamp, body)
    if not hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")):
        return False
    moment = (now or SystemClock().now()).timestamp()
    plain = timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= LONGEST_TIMESTAMP
    return plain and abs(moment - int(timestamp)) <= reach


def _signature(secret: bytes, timestamp: str, body: bytes) -> str:
    text = timestamp.encode("utf-8", "replace") + b"." + body
    return "sha256=" + hmac.new(secret, text, hashlib.sha256).hexdigest()


def _secret(value: object) -> bytes:
    secret = value.encode() if isinstance(value, str) else value
    if not isinstance(secret, bytes) or not secret:
        raise InvalidCallError(
            f"The secret of a webhook must be a str or bytes that is not empty, not "
            f"{type_name(value)}. Make one: python -c 'import secrets; "
            "print(secrets.token_urlsafe(32))'."
        )
    return secret


def _url(value: object, name: str) -> str:
    """Return the URL; no error shows it."""
    try:
        import httpx
    except ImportError:
        raise InvalidCallError(
            "httpx is not installed, and webhooks need it. Install it: pip install 'wopr[notify]'."
        ) from None
    if not isinstance(value, str):
        raise InvalidCallError(f"The URL of webhook {name!r} must be a str, not {shown(value)}.")
    try:
        url = httpx.URL(value)
        login = urlsplit(value).username or urlsplit(value).password
        good = url.scheme in {"http", "https"} and bool(url.host)
    except Exception:  # noqa: BLE001 - whatever is wrong with it: its text holds the URL
        good, login = False, None
    if not good:
        raise InvalidCallError(
            f"The URL of webhook {name!r} is no absolute http or https URL. It is not shown "
            "here, because it may hold a token."
        )
    if login:
        raise InvalidCallError(
            f"The URL of webhook {name!r} holds a user or password, which would not be sent. "
            "Give headers={'Authorization': 'Basic …'} instead."
        )
    return value


def _refused(name: str, status: int) -> str:
    if status < 400:
        return (
            f"Webhook {name!r} answered {status}, a redirect: those are not followed, because the "
            "event would go to somebody else. Give the webhook the final URL."
        )
    return (
        f"Webhook {name!r} answered {status}: the receiver refuses the event, so it is not tried "
        "again. Look there; then retry the task."
    )
