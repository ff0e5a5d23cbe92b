"""Who asks over HTTP, and what such a one may do."""

from __future__ import annotations

from dataclasses import dataclass

from wopr.domain.role import Role

__all__ = ["Caller", "Role"]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks: the name that acts are noted under, and the role."""

    name: str
    role: Role
