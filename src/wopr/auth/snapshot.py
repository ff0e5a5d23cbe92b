"""Signed snapshots: an identity, bound to one call, that can be kept in the file.

A snapshot is a JWT. Its signature says who vouches for it, its digest for which call, its
times from when until when. It holds no credential: nobody can log in with one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection
from datetime import datetime, timedelta
from typing import Any, NamedTuple, NoReturn

from wopr.auth.context import AuthContext, Subject
from wopr.auth.keys import KeyRing, KeyUnusableError
from wopr.domain.authorization import AuthorizationDecision, ReasonCode
from wopr.domain.clock import Clock, IdFactory
from wopr.domain.errors import (
    AuthRequirementDeniedError,
    AuthSnapshotUnavailableError,
    InvalidAuthContextValueError,
)
from wopr.domain.jsontext import shown, type_name

SCHEMA_VERSION = 1
LATEST = 253_402_300_799
"""The last second of the year 9999."""
TYPE = "wopr-snapshot+jwt"
"""The token's ``typ``: no token that the key signed for another purpose is taken for one."""


class Call(NamedTuple):
    """What a snapshot is bound to; arguments as JSON text.

    ``results`` says which arguments are results of other tasks: without it somebody could
    put one in the place of a signed argument.
    """

    name: str
    args: str
    kwargs: str
    results: object = None

    def digest(self) -> str:
        """Return a hash of the call that is the same however its JSON is written.

        Raises:
            ValueError: a text is no JSON, or has a key twice.
            RecursionError: it is nested too deeply.
        """
        parts = [self.name, _parsed(self.args), _parsed(self.kwargs), self.results]
        text = json.dumps(parts, separators=(",", ":"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def _parsed(text: str) -> object:
    return json.loads(text, object_pairs_hook=_unique)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse a key that comes twice: the reader of the arguments might take the other value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key comes twice")
    return found


class Snapshots:
    """Makes and checks snapshots."""

    def __init__(
        self,
        keys: KeyRing,
        clock: Clock,
        *,
        lifetime: timedelta,
        clock_skew: timedelta,
        claims: Collection[str],
    ) -> None:
        self._keys = keys
        self._clock = clock
        self._lifetime = int(lifetime.total_seconds())
        self._skew = clock_skew.total_seconds()
        self._claims = tuple(claims)
        self._ids = IdFactory()

    def sign(self, context: AuthContext, call: Call) -> str:
        """Return the identity as a token that counts for this call.

        Raises:
            AuthSnapshotUnavailableError: the active key can't sign.
            InvalidAuthContextValueError: a selected claim is no JSON.
        """
        now = self._clock.now()
        payload = self._payload(context, call, now)
        key = self._keys.active
        try:
            prepared = self._keys.prepared(key)
            headers = {"kid": key.key_id, "typ": TYPE}
            token: str = self._keys.jws().encode(payload, prepared, key.algorithm, headers)
        except KeyUnusableError as error:
            raise AuthSnapshotUnavailableError(
                f"Task {call.name!r} is protected and can't be enqueued. {error}"
            ) from None
        except Exception as error:  # noqa: BLE001 - a public or too short key, by any name; no text: it may quote the key
            raise AuthSnapshotUnavailableError(
                f"Task {call.name!r} is protected and can't be enqueued: the first of "
                f"Auth(keys=…), {key.key_id!r}, can't sign with {key.algorithm} "
                f"({type_name(error)}). It must be a private key, long enough for its algorithm; a "
                "public one can only verify."
            ) from None
        return token

    def _payload(self, context: AuthContext, call: Call, now: datetime) -> bytes:
        issued = int(now.timestamp())
        claims: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "sub": context.subject.id,
            "iss": context.issuer,
            "roles": sorted(context.roles),
            "scopes": sorted(context.scopes),
            "claims": {
                name: context.claims[name] for name in self._claims if name in context.claims
            },
            "iat": issued,
            "exp": issued + self._lifetime,
            "jti": self._ids.new(now.replace(tzinfo=None)),
            "call": call.digest(),
        }
        if context.subject.display_name is not None:
            claims["name"] = context.subject.display_name
        if context.tenant is not None:
            claims["tenant"] = context.tenant
        try:
            return json.dumps(claims, separators=(",", ":"), allow_nan=False).encode()
        except (TypeError, ValueError, RecursionError) as error:
            raise InvalidAuthContextValueError(
                f"The claims {list(self._claims)} of the AuthContext of {context.subject.id!r} "
                f"can't be put in a snapshot: {error}. Only JSON values can; don't name others in "
                "Auth(claims=…)."
            ) from error

    def verify(self, token: object, call: Call) -> AuthContext:
        """Return the identity of a token, if it counts for this call now.

        Raises:
            AuthRequirementDeniedError: it does not, or that can't be found out; with the
                decision.
        """
        if not len(self._keys):
            _unable("There are no keys to verify snapshots with: give Auth(keys=[…]) here too.")
        if token is None:
            raise _challenge(
                ReasonCode.SNAPSHOT_MISSING,
                "It has no snapshot of an identity: it was enqueued before it was protected, or "
                "its row was changed. Enqueue it again.",
            )
        claims = self._verified(token)
        try:
            context = _context_of(claims)
            issued, expires = _seconds(claims["iat"]), _seconds(claims["exp"])
            bound = claims["call"] == call.digest()
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            raise _invalid(f"it can't be read ({type_name(error)})") from None
        if not bound:
            raise _invalid("it was made for another call: the name or the arguments were changed")
        self._check_times(issued, expires)
        return context

    def _verified(self, token: object) -> dict[str, Any]:
        """Return the claims of a token that one of our keys signed, by that key's algorithm."""
        try:
            jws = self._keys.jws()
        except KeyUnusableError as error:
            _unable(str(error))
        try:
            header = jws.get_unverified_header(token)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it is no token
            raise _invalid(f"it is no token ({type_name(error)})") from None
        key = self._keys.find(header.get("kid"))
        if key is None:
            raise _invalid(
                f"no key has its id {shown(header.get('kid'))}; keep old keys in Auth(keys=…) "
                "until what they signed has expired"
            )
        try:
            public = self._keys.public(key)
        except KeyUnusableError as error:
            _unable(str(error))
        try:
            payload = jws.decode(token, public, algorithms=[key.algorithm])
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, it does not verify
            raise _invalid(f"its signature does not verify ({type_name(error)})") from None
        try:
            claims = json.loads(payload) if header.get("typ") == TYPE else None
        except (ValueError, RecursionError) as error:  # also a number of thousands of digits
            raise _invalid(f"its claims can't be read ({type_name(error)})") from None
        if not isinstance(claims, dict) or claims.get("schema_version") != SCHEMA_VERSION:
            raise _invalid("it is no snapshot, or of another version of wopr")
        return claims

    def _check_times(self, issued: int, expires: int) -> None:
        now = self._clock.now().timestamp()
        if issued > now + self._skew:
            raise _invalid(
                f"it was issued {issued - now:.0f} s in the future; the clocks differ by more than "
                f"the {self._skew:g} s of Auth(clock_skew=…)"
            )
        if now >= expires + self._skew:
            raise _challenge(
                ReasonCode.SNAPSHOT_EXPIRED,
                f"Its snapshot expired {now - expires:.0f} s ago. Enqueue it again, or let "
                "snapshots live longer: Auth(lifetime=…).",
            )


def _context_of(claims: dict[str, Any]) -> AuthContext:
    return AuthContext(
        subject=Subject(claims["sub"], claims.get("name")),
        issuer=claims["iss"],
        tenant=claims.get("tenant"),
        roles=claims["roles"],
        scopes=claims["scopes"],
        claims=claims["claims"],
    )


def _seconds(value: object) -> int:
    if type(value) is not int:
        raise TypeError("a time must be whole seconds")
    if not 0 <= value <= LATEST:
        raise ValueError("a time must be one of the years 1970 to 9999")
    return value


def _challenge(code: ReasonCode, reason: str) -> AuthRequirementDeniedError:
    return AuthRequirementDeniedError(AuthorizationDecision.challenge(code, reason))


def _invalid(why: str) -> AuthRequirementDeniedError:
    return _challenge(ReasonCode.SNAPSHOT_INVALID, f"Its snapshot does not count: {why}.")


def _unable(reason: str) -> NoReturn:
    raise AuthRequirementDeniedError(
        AuthorizationDecision.error(ReasonCode.VERIFICATION_PROVIDER_UNAVAILABLE, reason)
    ) from None
