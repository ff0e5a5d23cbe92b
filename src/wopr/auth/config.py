"""How a queue identifies and checks those who ask."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta

from wopr.auth.context import AuthContext, auth_context
from wopr.auth.keys import KeyRing, SigningKey
from wopr.auth.metadata import Requirement, RequirementKind
from wopr.auth.snapshot import Snapshots
from wopr.domain.authorization import AuthorizationDecision
from wopr.domain.clock import Clock, SystemClock
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown, type_name

Provider = Callable[
    [Requirement, AuthContext], AuthorizationDecision | Awaitable[AuthorizationDecision]
]
"""Answers one requirement for one identity. Runs on the event loop: it must not block."""

DEFAULT_LIFETIME = timedelta(days=30)
DEFAULT_SKEW = timedelta(seconds=60)


class Auth:
    """What a queue needs to run protected tasks.

    Args:
        snapshots: whether protected tasks can be enqueued, with a signed snapshot of the
            caller's identity in their row. Off, enqueueing one is refused.
        keys: the first one signs, all verify. To rotate put a new one in front, and take the
            old one away when what it signed has expired.
        lifetime: how long a snapshot counts: delays, waiting and retries included.
        clock_skew: by how much the clocks of those who sign and verify may differ.
        claims: names of the identity's claims that go into the snapshot; others don't.
        providers: what decides each kind of requirement; for ROLE and SCOPE, which are
            otherwise looked up in the identity, too.
        decide: decides permissions, policies and relations without a provider of their own.
        service_identities: identities of work that nobody asks for, like schedules, by name.
        clock: source of time for snapshots.

    Raises:
        InvalidCallError: a value can't be what it has to be.
    """

    def __init__(
        self,
        *,
        snapshots: bool = False,
        keys: Iterable[SigningKey] = (),
        lifetime: timedelta = DEFAULT_LIFETIME,
        clock_skew: timedelta = DEFAULT_SKEW,
        claims: Collection[str] = (),
        providers: Mapping[RequirementKind, Provider] | None = None,
        decide: Provider | None = None,
        service_identities: Mapping[str, AuthContext] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(claims, str) or not all(isinstance(name, str) for name in claims):
            raise InvalidCallError(
                f'claims= takes names of claims, as in claims=("email",), not {shown(claims)}.'
            )
        if not _seconds(lifetime, "lifetime") >= 1:
            raise InvalidCallError(f"lifetime must be at least a second, not {lifetime}.")
        if not _seconds(clock_skew, "clock_skew") >= 0:
            raise InvalidCallError(f"clock_skew must not be negative, and is {clock_skew}.")
        self.keys = KeyRing(keys)
        self.snapshots_enabled = snapshots is True
        self.snapshots = Snapshots(
            self.keys,
            clock or SystemClock(),
            lifetime=lifetime,
            clock_skew=clock_skew,
            claims=claims,
        )
        self._providers = {
            _kind(kind): _callable(provider, f"the provider of {shown(kind)}")
            for kind, provider in (providers or {}).items()
        }
        self._decide = None if decide is None else _callable(decide, "decide=")
        self._services = {
            name: _identity(name, context) for name, context in (service_identities or {}).items()
        }

    def __repr__(self) -> str:
        return f"<Auth snapshots={self.snapshots_enabled} keys={self.keys!r}>"

    def provider(self, kind: RequirementKind) -> Provider | None:
        """Return what the application wants to decide this kind; ``None`` if nothing was given."""
        provider = self._providers.get(kind)
        if provider is None and kind not in {RequirementKind.ROLE, RequirementKind.SCOPE}:
            provider = self._decide
        return provider

    def service_identity(self, name: str) -> AuthContext:
        """Return a declared service identity.

        Raises:
            InvalidCallError: nobody declared it.
        """
        context = self._services.get(name)
        if context is None:
            known = ", ".join(map(repr, self._services)) or "none"
            raise InvalidCallError(
                f"There is no service identity {shown(name)}; declared are {known}. Declare it: "
                'Auth(service_identities={"name": AuthContext(…)}).'
            )
        return context

    @contextmanager
    def as_service(self, name: str) -> Iterator[AuthContext]:
        """Run a ``with`` block under a declared service identity.

        Raises:
            InvalidCallError: nobody declared it.
        """
        with auth_context(self.service_identity(name)) as context:
            yield context


def _seconds(value: object, what: str) -> float:
    if not isinstance(value, timedelta):
        raise InvalidCallError(f"{what} must be a timedelta, not {type_name(value)}.")
    return value.total_seconds()


def _kind(value: object) -> RequirementKind:
    try:
        return RequirementKind(value)
    except ValueError:
        kinds = ", ".join(kind.value for kind in RequirementKind)
        raise InvalidCallError(
            f"providers= takes kinds of requirements as keys ({kinds}), not {shown(value)}."
        ) from None


def _callable(value: Provider, what: str) -> Provider:
    if not callable(value):
        raise InvalidCallError(
            f"{what} must be a function of a requirement and an AuthContext, not "
            f"{type_name(value)}."
        )
    return value


def _identity(name: object, context: object) -> AuthContext:
    if not isinstance(name, str) or not isinstance(context, AuthContext):
        raise InvalidCallError(
            "service_identities= takes AuthContexts by name, not "
            f"{type_name(context)} by {type_name(name)}."
        )
    return context
