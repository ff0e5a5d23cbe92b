"""Protected tasks: who asks, what a task asks of them, and proof that survives the queue."""

from wopr.auth.checking import (
    authorize,
    authorize_sync,
    check,
    ensure_allowed,
    ensure_allowed_sync,
)
from wopr.auth.config import Auth, Provider
from wopr.auth.context import (
    AuthContext,
    Subject,
    auth_context,
    current_auth_context,
    require_auth_context,
    store_auth_context,
)
from wopr.auth.keys import SigningKey
from wopr.auth.marks import (
    protected,
    public_access,
    require_permission,
    require_policy,
    require_relation,
    require_role,
    require_scope,
)
from wopr.auth.metadata import AuthMetadata, Requirement, RequirementKind, requirements_of
from wopr.domain.authorization import AuthorizationDecision, DecisionKind, ReasonCode

__all__ = [
    "Auth",
    "AuthContext",
    "AuthMetadata",
    "AuthorizationDecision",
    "DecisionKind",
    "Provider",
    "ReasonCode",
    "Requirement",
    "RequirementKind",
    "SigningKey",
    "Subject",
    "auth_context",
    "authorize",
    "authorize_sync",
    "check",
    "current_auth_context",
    "ensure_allowed",
    "ensure_allowed_sync",
    "protected",
    "public_access",
    "require_auth_context",
    "require_permission",
    "require_policy",
    "require_relation",
    "require_role",
    "require_scope",
    "requirements_of",
    "store_auth_context",
]
