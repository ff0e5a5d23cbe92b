"""A real PgBouncer in transaction mode, where there is one.

``WOPR_TEST_PGBOUNCER`` names its program; else it is that of this machine.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from support.postgres import UNPRIVILEGED
from wopr.domain.address import PostgresAddress

PORT = 6432
"""Of the socket's name; nothing listens on it."""
SECONDS = 20
CONFIG = """
[databases]
* = host={server} user=wopr
[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = 8
server_round_robin = 1
logfile = {folder}/log
pidfile =
"""


_NAMED = os.environ.get("WOPR_TEST_PGBOUNCER")


def program() -> str | None:
    """Return the program; ``None`` if there is none."""
    return _NAMED or shutil.which("pgbouncer")


@contextlib.contextmanager
def pooler(address: str) -> Iterator[str]:
    """Yield an address at a pooler before a server, for a ``with`` block."""
    found = program()
    assert found is not None, "ask program() first"
    server = PostgresAddress(address).conninfo.partition("host=")[2]
    with tempfile.TemporaryDirectory(prefix="wopr-pgb-") as name:
        folder = Path(name)
        config = folder / "pgbouncer.ini"
        config.write_text(CONFIG.format(server=server, folder=folder, port=PORT))
        who = {}
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(folder, user.pw_uid, user.pw_gid)
            who = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        process = subprocess.Popen([found, "-q", str(config)], cwd=folder, **who)  # type: ignore[call-overload]
        try:
            until = time.monotonic() + SECONDS
            while not (folder / f".s.PGSQL.{PORT}").exists():
                if process.poll() is not None or time.monotonic() > until:
                    raise AssertionError(f"PgBouncer did not start: {_log(folder)}")
                time.sleep(0.02)
            whole = address.replace(f"host={server}", f"host={folder}")
            yield f"{whole}&port={PORT}&pooler=transaction"
        finally:
            process.kill()
            process.wait(SECONDS)


def _log(folder: Path) -> str:
    log = folder / "log"
    return log.read_text() if log.exists() else "it wrote no log"
