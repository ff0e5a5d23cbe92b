"""A PostgreSQL server to be killed: with its own directory, and a standby if that is asked for.

``track_commit_timestamp`` is on, so that its tables tell when each change was durable.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg

from support.postgres import UNPRIVILEGED, programs, readable

SECONDS = 60
USER = "wopr"


class Server:
    """One server, reached through a socket in its folder.

    Args:
        folder: its own; an ordinary user has to be able to enter it.
        settings: more of them than those that it has anyway.
        data: where its data are, if that is elsewhere.
    """

    def __init__(self, folder: Path, settings: str = "", data: Path | None = None) -> None:
        found = programs()
        assert found is not None, "there is no PostgreSQL here"
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.data = folder / "data" if data is None else data
        self._around: dict[str, Any] = {
            "cwd": folder,
            "timeout": SECONDS,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.PIPE,
            "env": {**os.environ, "LC_ALL": "C"},
        }
        if os.geteuid() == 0:
            user = pwd.getpwnam(UNPRIVILEGED)
            os.chown(folder, user.pw_uid, user.pw_gid)
            self._around |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            known = [one for one in folder.parent.glob("*/*/bin") if (one / "postgres").exists()]
            found = known[0] if known else readable(found, folder)
        self._programs = found
        self._settings = (
            f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off "
            "-c track_commit_timestamp=on -c max_connections=300 -c shared_buffers=32MB "
            f"-c deadlock_timeout=200ms -c max_wal_size=256MB {settings}"
        )

    def run(self, program: str, *arguments: object) -> None:
        """Run one of its programs, as its user."""
        command = [str(self._programs / program), *map(str, arguments)]
        done = subprocess.run(command, check=False, **self._around)
        assert done.returncode == 0, f"{command} ended with {done.returncode}: {done.stderr!r}"

    def make(self) -> None:
        """Make its data."""
        options = ("-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        self.run("initdb", "-D", self.data, *options)

    def start(self) -> None:
        """Start it; return once it answers. Repeated while what it was before is still ending."""
        end = time.monotonic() + SECONDS
        while True:
            try:
                self._ctl("start", "-l", self.folder / "log", "-o", self._settings)
            except AssertionError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
            else:
                return

    def stop(self) -> None:
        """Stop it at once. Idempotent."""
        with contextlib.suppress(AssertionError):
            self._ctl("stop", "-m", "immediate")

    def kill(self) -> None:
        """Kill all its processes with SIGKILL."""
        first = int((self.data / "postmaster.pid").read_text().splitlines()[0])
        for pid in [first, *_children(first)]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self.start()

    def standby(self, folder: Path) -> Server:
        """Return a standby that runs; what is committed from then on waits for it."""
        new = Server(folder, f"{self._extra()} -c hot_standby=on")
        host = f"host={self.folder} user={USER} application_name=second"
        new.run("pg_basebackup", "-D", new.data, "-R", "-X", "stream", "-c", "fast", "-d", host)
        new.start()
        with self.connect() as connection:
            connection.execute("alter system set synchronous_standby_names = 'second'")
            connection.execute("select pg_reload_conf()")
        return new

    def _extra(self) -> str:
        return ""

    def promote(self) -> None:
        """Make a standby the one that is written to."""
        self._ctl("promote")
        with self.connect() as connection:
            connection.execute("alter system reset synchronous_standby_names")
            connection.execute("select pg_reload_conf()")

    def _ctl(self, verb: str, *more: object) -> None:
        self.run("pg_ctl", "-D", self.data, "-w", *more, verb)

    def connect(self, database: str = "postgres") -> psycopg.Connection[Any]:
        """Return a connection to one of its databases."""
        return psycopg.connect(host=str(self.folder), user=USER, dbname=database, autocommit=True)

    def new_database(self, name: str) -> str:
        """Make a database; return its address, without anything in between."""
        with self.connect() as connection:
            connection.execute(f'create database "{name}"')
        return f"postgresql://{USER}@/{name}?host={self.folder}"

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.folder / ".s.PGSQL.5432"

    def close(self) -> None:
        """Stop it and remove all that it has."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def _children(parent: int) -> list[int]:
    found = []
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            if int((one / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(one.name))
    return found
