"""Decide one requirement: by the identity itself, or by what the application gives."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable

from wopr.auth.config import Auth
from wopr.auth.context import AuthContext
from wopr.auth.metadata import Requirement, RequirementKind
from wopr.domain.authorization import AuthorizationDecision, DecisionKind, ReasonCode
from wopr.domain.jsontext import safe_text, type_name


async def decided(
    requirement: Requirement, context: AuthContext, auth: Auth
) -> AuthorizationDecision:
    """Return the decision on one requirement; whatever goes wrong is an ERROR."""
    answer = _asked(requirement, context, auth)
    if inspect.isawaitable(answer):
        answer = await _awaited(requirement, answer)
    return _judged(requirement, answer)


def decided_sync(
    requirement: Requirement, context: AuthContext, auth: Auth
) -> AuthorizationDecision:
    """Return the decision without waiting; a provider that would have to is an ERROR."""
    answer = _asked(requirement, context, auth)
    if inspect.isawaitable(answer):
        if asyncio.iscoroutine(answer):
            answer.close()  # it will never be awaited
        return AuthorizationDecision.error(
            reason=f"The provider for {requirement} is asynchronous and the call is not. Run the "
            "task with execute_async, or give a provider that is a plain function."
        )
    return _judged(requirement, answer)


def _asked(requirement: Requirement, context: AuthContext, auth: Auth) -> object:
    provider = auth.provider(requirement.kind)
    if provider is None:
        return _by_identity(requirement, context)
    try:
        return provider(requirement, context)
    except Exception as error:  # noqa: BLE001 - an application's code; closed, never open
        return _raised(requirement, error)


async def _awaited(requirement: Requirement, answer: Awaitable[object]) -> object:
    try:
        return await answer
    except Exception as error:  # noqa: BLE001 - an application's code; closed, never open
        return _raised(requirement, error)


def _raised(requirement: Requirement, error: Exception) -> AuthorizationDecision:
    return AuthorizationDecision.error(
        reason=f"The provider for {requirement} raised {type_name(error)}: {safe_text(error)}."
    )


def _judged(requirement: Requirement, answer: object) -> AuthorizationDecision:
    """Return the answer if it is a decision; a mere ``True`` opens nothing."""
    if isinstance(answer, AuthorizationDecision) and isinstance(answer.kind, DecisionKind):
        return answer
    return AuthorizationDecision.error(
        reason=f"The provider for {requirement} returned {type_name(answer)}. It must return an "
        "AuthorizationDecision, like AuthorizationDecision.allow()."
    )


def _by_identity(requirement: Requirement, context: AuthContext) -> AuthorizationDecision:
    if requirement.kind is RequirementKind.ROLE:
        has, code = context.roles, ReasonCode.INSUFFICIENT_ROLE
    elif requirement.kind is RequirementKind.SCOPE:
        has, code = context.scopes, ReasonCode.INSUFFICIENT_SCOPE
    else:
        return AuthorizationDecision.error(
            ReasonCode.VERIFICATION_PROVIDER_UNAVAILABLE,
            f"Nothing decides {requirement}. Give the queue a provider: "
            f"Auth(providers={{RequirementKind.{requirement.kind.name}: …}}).",
        )
    if requirement.ref in has and requirement.tenant in {None, context.tenant}:
        return AuthorizationDecision.allow()
    return AuthorizationDecision.deny(
        code,
        f"Subject {context.subject.id!r} of {context.issuer!r}{_where(context)} lacks "
        f"{requirement}.",
    )


def _where(context: AuthContext) -> str:
    return "" if context.tenant is None else f" in tenant {context.tenant!r}"
