"""Several hosts on one database."""

from __future__ import annotations

import pytest

from support.postgres import empty_database, need_server
from support.queues import PostgresHome
from wopr.fleet import fleet, owner


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> PostgresHome:
    """Return a database that any number of queues share; leases are short, and looks frequent."""
    need_server()
    monkeypatch.setattr(owner, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(fleet, "LOOK_SECONDS", 0.1)
    return PostgresHome(empty_database())
