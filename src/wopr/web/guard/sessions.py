"""What a browser gets for a token: a signed cookie. Pure.

It names the token and the moment of its end, and holds a secret of which the file has the digest,
as of the token itself: who reads the file can't make one. It is signed with the digest of the
token, which no browser has: who has a cookie can't make it last. No state is kept, and a token that
is revoked, or has expired, takes all its sessions with it.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from wopr.domain.accesstoken import AccessToken, digest_of, session_secret

COOKIE = "wopr_session"
CSRF_COOKIE = "wopr_csrf"
_PORT = re.compile(r"[0-9]{1,5}")
LIFE = timedelta(hours=12)
LONGEST = 1_024
"""Characters of a cookie that are looked at."""


@dataclass(frozen=True, slots=True)
class Session:
    """A session of a browser."""

    token: AccessToken
    csrf: str
    """What its pages send with each change, and no other page knows."""


def named_for(cookie: str, host: str) -> str:
    """Return what a cookie is called at a host: browsers send those of all ports of it to each.

    Two dashboards of a machine would else sign each other out.
    """
    port = host.rpartition(":")[2]
    return f"{cookie}_{port}" if _PORT.fullmatch(port) else cookie


def new_session(token: AccessToken, text: str, now: datetime) -> tuple[str, int]:
    """Return the cookie for a token, and its life in seconds."""
    ends = now + LIFE if token.expires_at is None else min(now + LIFE, token.expires_at)
    said = [token.name, int(ends.timestamp()), session_secret(text)]
    payload = base64.urlsafe_b64encode(json.dumps(said).encode()).decode()
    return f"{payload}.{_signature(token, payload)}", int((ends - now).total_seconds())


def session_of(cookie: str, tokens: Iterable[AccessToken], now: datetime) -> Session | None:
    """Return the session of a cookie, if it is one that goes on."""
    payload, _, signature = cookie[: LONGEST + 1].partition(".")
    said = _said(payload) if len(cookie) <= LONGEST and signature.isascii() else None
    if said is None:
        return None
    name, ends, secret = said
    token = next((one for one in tokens if one.name == name), None)
    if token is None or not token.valid(now) or now.timestamp() >= ends:
        return None
    known = hmac.compare_digest(token.session, digest_of(secret))
    signed = hmac.compare_digest(_signature(token, payload), signature)
    return Session(token, _csrf(secret)) if known and signed else None


def _said(payload: str) -> tuple[str, int, str] | None:
    try:
        match json.loads(base64.b64decode(payload.encode("ascii"), b"-_", validate=True)):
            case [str(name), int(ends), str(secret)] if secret.isascii():
                return name, ends, secret
    except (ValueError, binascii.Error, RecursionError):
        pass
    return None


def _signature(token: AccessToken, payload: str) -> str:
    return hmac.new(token.digest.encode(), payload.encode(), hashlib.sha256).hexdigest()


def _csrf(secret: str) -> str:
    return hmac.new(secret.encode(), b"wopr csrf", hashlib.sha256).hexdigest()
