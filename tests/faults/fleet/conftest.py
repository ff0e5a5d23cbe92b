"""A server of its own, since it is killed, and what stands between it and the hosts."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from faults.fleet import life
from faults.fleet.proxy import Proxy
from faults.fleet.server import Server
from support.postgres import need_server
from wopr.fleet import fleet, owner
from wopr.storage.postgres import connections


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """Return a server that any test may kill, if it starts it again."""
    need_server()
    folder = Path(tempfile.mkdtemp(prefix="wopr-pg-faults-"))
    folder.chmod(0o755)
    made = Server(folder / "first")
    made.make()
    made.start()
    yield made
    made.close()
    shutil.rmtree(folder)


@pytest.fixture
async def proxy(server: Server) -> AsyncIterator[Proxy]:
    """Return a line to the server."""
    made = Proxy(server.socket)
    await made.start()
    yield made
    await made.close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have leases short, and looks frequent, as those hosts have that are processes."""
    monkeypatch.setattr(owner, "LEASE_SECONDS", life.LEASE_SECONDS)
    monkeypatch.setattr(fleet, "LOOK_SECONDS", life.LOOK_SECONDS)
    monkeypatch.setattr(connections, "LONGEST_PAUSE", life.PAUSE_SECONDS)
