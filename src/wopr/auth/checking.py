"""Decide whether a task may run for an identity."""

from __future__ import annotations

from wopr.auth.config import Auth
from wopr.auth.context import AuthContext, current_auth_context
from wopr.auth.metadata import AuthMetadata, requirements_of
from wopr.auth.providers import decided, decided_sync
from wopr.domain.authorization import AuthorizationDecision, ReasonCode
from wopr.domain.errors import AuthRequirementDeniedError

NOT_CONFIGURED = AuthorizationDecision.error(
    ReasonCode.VERIFICATION_PROVIDER_UNAVAILABLE,
    "It is protected and the queue has no auth. Give it some: TaskQueue(auth=Auth(…)).",
)
NOBODY = AuthorizationDecision.challenge(
    ReasonCode.MISSING_CREDENTIAL,
    "It is protected and nobody is known here. Authenticate first: store_auth_context(…), "
    'auth_context(…) or auth.as_service("name").',
)


async def authorize(
    metadata: AuthMetadata, context: AuthContext | None, auth: Auth | None
) -> AuthorizationDecision:
    """Return whether a task may run: the first answer that is not ALLOW, else ALLOW."""
    if not metadata.protected:
        return AuthorizationDecision.allow()
    if auth is None or context is None:
        return NOT_CONFIGURED if auth is None else NOBODY
    for requirement in metadata.requirements:
        decision = await decided(requirement, context, auth)
        if not decision.allowed:
            return decision
    return AuthorizationDecision.allow()


def authorize_sync(
    metadata: AuthMetadata, context: AuthContext | None, auth: Auth | None
) -> AuthorizationDecision:
    """Return the same without waiting; an asynchronous provider is an ERROR."""
    if not metadata.protected:
        return AuthorizationDecision.allow()
    if auth is None or context is None:
        return NOT_CONFIGURED if auth is None else NOBODY
    for requirement in metadata.requirements:
        decision = decided_sync(requirement, context, auth)
        if not decision.allowed:
            return decision
    return AuthorizationDecision.allow()


async def check(metadata: AuthMetadata, context: AuthContext | None, auth: Auth | None) -> None:
    """Return if a task may run.

    Raises:
        AuthRequirementDeniedError: it may not, or that can't be found out.
    """
    _allowed(await authorize(metadata, context, auth))


async def ensure_allowed(function: object, owner: type | None, auth: Auth | None) -> None:
    """Return if the identity of the calling code may run a function directly.

    Args:
        function: the function, with its marks.
        owner: the class that it is a method of.
        auth: the configuration; ``None`` refuses everything protected.

    Raises:
        AuthRequirementDeniedError: it may not, or that can't be found out.
        ConflictingAuthMetadataError: the function is public and protected at once.
    """
    await check(requirements_of(function, owner), current_auth_context(), auth)


def ensure_allowed_sync(function: object, owner: type | None, auth: Auth | None) -> None:
    """Return if the identity of the calling code may run a function; see :func:`ensure_allowed`."""
    _allowed(authorize_sync(requirements_of(function, owner), current_auth_context(), auth))


def _allowed(decision: AuthorizationDecision) -> None:
    if not decision.allowed:
        raise AuthRequirementDeniedError(decision)
