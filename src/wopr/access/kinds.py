"""How a queue gets to its tasks, by where they are."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wopr.access.access import Access
from wopr.access.following import FollowingAccess
from wopr.calls.registry import Registry
from wopr.config.settings import Settings
from wopr.domain.address import Address, PostgresAddress
from wopr.domain.clock import Clock


def access_to(
    settings: Settings,
    database: Path,
    storage_factory: Callable[[], Any] | None,
    registry: Registry,
    clock: Clock,
    rng: random.Random,
) -> Access:
    """Return the way to the tasks of a file, of another machine's, or of a server's database."""
    rest = storage_factory, registry, clock, rng
    if isinstance(database, PostgresAddress):
        from wopr.access.fleetfollowing import FollowingFleetAccess

        return _following(FollowingFleetAccess(settings, database, *rest))
    if isinstance(database, Address):
        from wopr.access.distant import DistantAccess

        return DistantAccess(settings, database, *rest)
    if storage_factory is not None:
        return Access(settings, database, *rest)
    return _following(FollowingAccess(settings, database, *rest))


def _following(access: FollowingAccess) -> Access:
    access.to = access_to
    return access
