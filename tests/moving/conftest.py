"""An empty database on a server."""

from __future__ import annotations

from uuid import uuid4

import pytest

from support.postgres import need_server, new_database


@pytest.fixture
def address() -> str:
    """Return the address of a new database."""
    need_server()
    return str(new_database(f"move_{uuid4().hex[:12]}"))
