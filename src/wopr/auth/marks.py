"""The decorators that say what a task asks of those who run it.

They only note it on the function or class. Several on one function, and those on its
class, must all hold. They go below the decorator that registers the task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from wopr.auth.metadata import AuthMetadata, Requirement, RequirementKind, add_mark
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import type_name

T = TypeVar("T")


def protected(target: T) -> T:
    """Ask that somebody is known, whoever it is."""
    add_mark(target, AuthMetadata(protected=True))
    return target


def public_access(target: T) -> T:
    """State that anybody may run it; nothing else may be asked for then."""
    add_mark(target, AuthMetadata(public_access=True))
    return target


def require_role(role: str, *, tenant: str | None = None) -> Callable[[T], T]:
    """Ask for a role, of an identity of this tenant if one is given."""
    mark = "require_role"
    return _requiring(
        RequirementKind.ROLE, _text(role, mark, "a role"), tenant=_tenant(tenant, mark)
    )


def require_scope(scope: str) -> Callable[[T], T]:
    """Ask for a scope."""
    return _requiring(RequirementKind.SCOPE, _text(scope, "require_scope", "a scope"))


def require_permission(
    permission: str, resource: str | None = None, tenant: str | None = None
) -> Callable[[T], T]:
    """Ask for a permission, on a resource and in a tenant if given; a provider decides."""
    mark = "require_permission"
    return _requiring(
        RequirementKind.PERMISSION,
        _text(permission, mark, "a permission"),
        resource=None if resource is None else _text(resource, mark, "a resource"),
        tenant=_tenant(tenant, mark),
    )


def require_policy(resource: str, action: str, *, tenant: str | None = None) -> Callable[[T], T]:
    """Ask that a resource's policy allows an action, in a tenant if given; a provider decides."""
    mark = "require_policy"
    resource = _text(resource, mark, "a resource")
    action = _text(action, mark, "an action")
    return _requiring(
        RequirementKind.POLICY,
        f"{resource}:{action}",
        resource=resource,
        action=action,
        tenant=_tenant(tenant, mark),
    )


def require_relation(
    relation: str, *, resource: str, tenant: str | None = None
) -> Callable[[T], T]:
    """Ask for a relation to a resource, like "owner" of "report"; a provider decides.

    With a tenant, to that resource in it.
    """
    mark = "require_relation"
    return _requiring(
        RequirementKind.RELATION,
        _text(relation, mark, "a relation"),
        resource=_text(resource, mark, "a resource"),
        tenant=_tenant(tenant, mark),
    )


def _requiring(
    kind: RequirementKind,
    ref: str,
    *,
    resource: str | None = None,
    action: str | None = None,
    tenant: str | None = None,
) -> Callable[[T], T]:
    requirement = Requirement(kind, ref, resource, action, tenant)

    def mark(target: T) -> T:
        add_mark(target, AuthMetadata(protected=True, requirements=(requirement,)))
        return target

    return mark


def _tenant(tenant: object, mark: str) -> str | None:
    return None if tenant is None else _text(tenant, mark, "a tenant")


def _text(value: object, mark: str, what: str) -> str:
    """Refuse the function itself, which a mark without its parentheses would be given."""
    if not isinstance(value, str) or not value.strip():
        raise InvalidCallError(
            f'@{mark} needs {what}: a text that is not empty, as in @{mark}("…"); it was given '
            f"{type_name(value)}."
        )
    return value
