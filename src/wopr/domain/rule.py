"""Rules: what an operator sets at run time, and what outlives the process."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import Enum


class RuleKind(str, Enum):
    """What a rule is about. The values are what is stored."""

    LIMIT = "limit"
    PAUSE = "pause"
    REVOCATION = "revocation"
    ALERT = "alert"
    TOKEN = "token"  # noqa: S105 - a kind of rule

    __str__ = str.__str__


@dataclass(frozen=True, slots=True)
class Rule:
    """One row of ``rules``."""

    kind: RuleKind
    name: str
    """Unique within the kind."""
    value: str
    """What it says, as a JSON object."""
    updated_at: datetime
    """Aware, in UTC."""
