"""Who asks: the identity that code runs for, in a context variable."""

from __future__ import annotations

import contextvars
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from wopr.domain.errors import AuthContextNotFoundError, InvalidAuthContextValueError
from wopr.domain.jsontext import type_name


@dataclass(frozen=True, slots=True)
class Subject:
    """A person or a service: its id at its issuer, and what people call it."""

    id: str
    display_name: str | None = None

    def __post_init__(self) -> None:
        _check_text(self.id, "subject")
        if self.display_name is not None:
            _check_text(self.display_name, "display_name")


@dataclass(frozen=True, init=False)
class AuthContext:
    """An identity that was verified, and what it may do.

    Args:
        subject: who; a text is the id of a :class:`Subject`.
        issuer: who vouches for it, like the URL of the identity provider.
        tenant: the customer or organisation it acts in.
        roles: names, compared exactly.
        scopes: names, compared exactly.
        claims: what the issuer says besides; JSON values. A snapshot takes those along
            that ``Auth(claims=…)`` names.
        metadata: of this process only; never in a snapshot.
        credential_carrier: the raw credential, if the application needs it at hand;
            never in a snapshot.

    Raises:
        InvalidAuthContextValueError: a value can't be what it has to be.
    """

    subject: Subject
    issuer: str
    tenant: str | None = None
    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    claims: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False, repr=False)
    credential_carrier: object = field(default=None, compare=False, repr=False)

    def __init__(
        self,
        *,
        subject: Subject | str,
        issuer: str,
        tenant: str | None = None,
        roles: Collection[str] = (),
        scopes: Collection[str] = (),
        claims: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        credential_carrier: object = None,
    ) -> None:
        values = {
            "subject": subject if isinstance(subject, Subject) else Subject(subject),
            "issuer": _check_text(issuer, "issuer"),
            "tenant": None if tenant is None else _check_text(tenant, "tenant"),
            "roles": _names(roles, "roles"),
            "scopes": _names(scopes, "scopes"),
            "claims": _frozen(claims, "claims"),
            "metadata": _frozen(metadata, "metadata"),
            "credential_carrier": credential_carrier,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)


def _check_text(value: object, what: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise InvalidAuthContextValueError(
            f"{what} of an AuthContext must be a text that is not empty, not {type_name(value)}."
        )
    return value


def _names(values: object, what: str) -> frozenset[str]:
    if isinstance(values, str) or not isinstance(values, Collection):
        raise InvalidAuthContextValueError(
            f"{what} of an AuthContext must be a set or list of texts, not {type_name(values)}. "
            f'For one write {what}={{"name"}}.'
        )
    return frozenset(_check_text(value, f"each of the {what}") for value in values)


def _frozen(values: object, what: str) -> Mapping[str, Any]:
    if values is None:
        values = {}
    if not isinstance(values, Mapping) or not all(isinstance(name, str) for name in values):
        raise InvalidAuthContextValueError(
            f"{what} of an AuthContext must be a mapping with texts as keys, not "
            f"{type_name(values)}."
        )
    return MappingProxyType(dict(values))


_current: contextvars.ContextVar[AuthContext | None] = contextvars.ContextVar(
    "wopr_auth_context", default=None
)


def current_auth_context() -> AuthContext | None:
    """Return the identity that the calling code runs for; ``None`` if nobody is known."""
    return _current.get()


def require_auth_context() -> AuthContext:
    """Return the identity that the calling code runs for.

    Raises:
        AuthContextNotFoundError: nobody is known here.
    """
    context = _current.get()
    if context is None:
        raise AuthContextNotFoundError(
            "There is no AuthContext here. Where a request is authenticated, call "
            "wopr.auth.store_auth_context(…) or use 'with wopr.auth.auth_context(…):'; work "
            "without a request runs under 'with auth.as_service(\"name\"):'. In a worker only "
            "protected tasks have one."
        )
    return context


def store_auth_context(context: AuthContext) -> None:
    """Make ``context`` the identity for the rest of this context: this request, this asyncio task.

    Raises:
        InvalidAuthContextValueError: it is no :class:`AuthContext`.
    """
    _current.set(_checked(context))


@contextmanager
def auth_context(context: AuthContext) -> Iterator[AuthContext]:
    """Make ``context`` the identity within a ``with`` block; then the one before it again.

    Raises:
        InvalidAuthContextValueError: it is no :class:`AuthContext`.
    """
    token = _current.set(_checked(context))
    try:
        yield context
    finally:
        _current.reset(token)


def _checked(context: object) -> AuthContext:
    if not isinstance(context, AuthContext):
        raise InvalidAuthContextValueError(
            f"An identity must be a wopr.auth.AuthContext, not {type_name(context)}."
        )
    return context
