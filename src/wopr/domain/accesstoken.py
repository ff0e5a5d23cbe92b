"""Access tokens: who has one gets in over HTTP, with its role. Pure; what is stored are digests."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from wopr.domain.checks import check_label
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.localtime import as_utc
from wopr.domain.role import Role
from wopr.domain.rule import Rule, RuleKind

PREFIX = "wopr_"
RANDOM_BYTES = 32
LONGEST = 100
"""Characters of what is looked at as a token at all."""
MOST_TOKENS = 1_000
LONGEST_LIFE = timedelta(days=3_660)
_DIGEST = re.compile(r"[0-9a-f]{64}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}")
_LIFE = re.compile(r"([1-9][0-9]{0,4})([hdwy])", re.ASCII)
_UNITS = {"h": 1, "d": 24, "w": 7 * 24, "y": 365 * 24}


@dataclass(frozen=True, slots=True)
class AccessToken:
    """What is known of a token. The token itself is not: it was shown once, when it was made."""

    name: str
    role: Role
    digest: str
    """Of the token."""
    session: str
    """Of what a browser gets for the token: so neither digest lets anybody in who reads it."""
    created_at: datetime
    expires_at: datetime | None = None

    def valid(self, now: datetime) -> bool:
        """Say whether it still lets somebody in."""
        return self.expires_at is None or now < self.expires_at

    def to_rule(self) -> Rule:
        """Return it as it is stored."""
        value = {
            "name": self.name,
            "role": self.role.value,
            "digest": self.digest,
            "session": self.session,
            "expires_at": None if self.expires_at is None else self.expires_at.isoformat(),
        }
        return Rule(RuleKind.TOKEN, self.name, json.dumps(value), self.created_at)

    @classmethod
    def from_rule(cls, rule: Rule) -> AccessToken:
        """Return what was stored.

        Raises:
            InvalidCallError: it is no token.
        """
        said = json.loads(rule.value)
        for key in ("digest", "session"):
            if not isinstance(said[key], str) or not _DIGEST.fullmatch(said[key]):
                raise InvalidCallError(f"its {key} is no digest")
        expires = said["expires_at"]
        if expires is not None:
            expires = as_utc(datetime.fromisoformat(expires), "expires_at")
        name = check_token_name(said["name"])
        digests = said["digest"], said["session"]
        return cls(name, Role(said["role"]), *digests, rule.updated_at, expires)


def new_token(
    name: str, role: Role, random: bytes, now: datetime, life: timedelta | None
) -> tuple[str, AccessToken]:
    """Return a token, and what is stored of it.

    Args:
        name: whose it is.
        role: what it lets its holder do.
        random: 32 bytes that nobody can guess.
        now: aware.
        life: how long it lets somebody in; ``None``: until it is revoked.
    """
    text = PREFIX + base64.urlsafe_b64encode(random).decode().rstrip("=")
    expires = None if life is None else now + life
    digests = digest_of(text), digest_of(session_secret(text))
    return text, AccessToken(check_token_name(name), role, *digests, now, expires)


def check_token_name(name: object) -> str:
    """Return a name for a token, if it can be one: it stands in headers, logs and acts.

    Raises:
        InvalidCallError: it can't be.
    """
    label = check_label(name, "the name of a token", longest=100)
    if not _NAME.fullmatch(label):
        raise InvalidCallError(
            f"{shown(label)} can't be the name of a token: letters of English, digits and "
            "._@+- can be in it, and the first is a letter or a digit. For example: ada, "
            "grafana, deploy@ci."
        )
    return label


def life_of(text: str) -> timedelta:
    """Return how long ``90d``, ``12h``, ``2w`` or ``1y`` is.

    Raises:
        InvalidCallError: it is none of these, or more than ten years.
    """
    found = _LIFE.fullmatch(text.strip())
    life = timedelta(hours=int(found[1]) * _UNITS[found[2]]) if found else None
    if life is None or life > LONGEST_LIFE:
        raise InvalidCallError(
            f"{shown(text)} does not say how long a token lets somebody in: write hours, days, "
            "weeks or years, as in 12h, 90d, 2w or 1y; ten years at most."
        )
    return life


def session_secret(token: str) -> str:
    """Return what a browser gets for a token: it is as hard to guess, and not the token."""
    return hmac.new(token.encode(), b"wopr session", hashlib.sha256).hexdigest()


def digest_of(text: str) -> str:
    """Return what is stored of a secret of 32 random bytes; one so long needs no slow hash."""
    return hashlib.sha256(text.encode()).hexdigest()


def find_token(tokens: Iterable[AccessToken], given: str, now: datetime) -> AccessToken | None:
    """Return the valid token that was given; all are compared, each in constant time."""
    plausible = given.startswith(PREFIX) and len(given) <= LONGEST and given.isascii()
    digest = digest_of(given if plausible else "")
    found = None
    for token in tokens:
        if hmac.compare_digest(token.digest, digest) and token.valid(now):
            found = token
    return found
