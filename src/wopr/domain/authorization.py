"""What came of asking whether a task may run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class DecisionKind(str, Enum):
    """The four answers. Only ALLOW calls the function."""

    ALLOW = "allow"
    CHALLENGE = "challenge"
    """Nobody known asks, or what proves it does not count (any more)."""
    DENY = "deny"
    """It is known who asks, and they may not."""
    ERROR = "error"
    """The question could not be answered. The only kind that is worth a retry."""


class ReasonCode(str, Enum):
    """Why a decision is what it is, for programs."""

    AUTHORIZED = "authorized"
    MISSING_CREDENTIAL = "missing_credential"
    INVALID_CREDENTIAL = "invalid_credential"
    EXPIRED_CREDENTIAL = "expired_credential"
    INSUFFICIENT_ROLE = "insufficient_role"
    INSUFFICIENT_SCOPE = "insufficient_scope"
    POLICY_DENIED = "policy_denied"
    SNAPSHOT_MISSING = "snapshot_missing"
    SNAPSHOT_INVALID = "snapshot_invalid"
    SNAPSHOT_EXPIRED = "snapshot_expired"
    VERIFICATION_PROVIDER_UNAVAILABLE = "verification_provider_unavailable"
    INTERNAL_ERROR = "internal_error"


@dataclass(frozen=True, slots=True)
class AuthorizationDecision:
    """An answer with its reason. True where a truth value is asked for only if it is ALLOW."""

    kind: DecisionKind
    reason_code: ReasonCode
    reason: str = ""
    """For people: which requirement, who, and what would help."""

    @property
    def allowed(self) -> bool:
        """Whether the function may be called."""
        return self.kind is DecisionKind.ALLOW

    def __bool__(self) -> bool:
        return self.allowed

    def __str__(self) -> str:
        return f"auth {self.kind.value}: {self.reason_code.value}"

    @classmethod
    def allow(
        cls, reason_code: ReasonCode = ReasonCode.AUTHORIZED, reason: str = ""
    ) -> AuthorizationDecision:
        """Return ALLOW."""
        return cls(DecisionKind.ALLOW, reason_code, reason)

    @classmethod
    def challenge(cls, reason_code: ReasonCode, reason: str = "") -> AuthorizationDecision:
        """Return CHALLENGE: who asks has to prove who they are."""
        return cls(DecisionKind.CHALLENGE, reason_code, reason)

    @classmethod
    def deny(
        cls, reason_code: ReasonCode = ReasonCode.POLICY_DENIED, reason: str = ""
    ) -> AuthorizationDecision:
        """Return DENY: who asks may not."""
        return cls(DecisionKind.DENY, reason_code, reason)

    @classmethod
    def error(
        cls, reason_code: ReasonCode = ReasonCode.INTERNAL_ERROR, reason: str = ""
    ) -> AuthorizationDecision:
        """Return ERROR: the question could not be answered."""
        return cls(DecisionKind.ERROR, reason_code, reason)
