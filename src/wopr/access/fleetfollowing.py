"""How a queue gets to its tasks on PostgreSQL, and wherever they move from there."""

from __future__ import annotations

from wopr.access.fleet import FleetAccess
from wopr.access.following import FollowingAccess


class FollowingFleetAccess(FollowingAccess, FleetAccess):
    """This process's side of a fleet, until the queue has moved."""
