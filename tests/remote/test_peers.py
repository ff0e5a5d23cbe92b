"""Owner and client know each other before they say anything: user, process, and place."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from support.owners import client, end, start_owner
from support.queues import PATIENCE
from wopr import StorageOwnedError, TaskQueue
from wopr.queue.queue import inside
from wopr.remote import caller, place, server
from wopr.remote.peer import Peer, is_process, may_talk, peer_of
from wopr.remote.place import private_directory, secure
from wopr.remote.protocol import socket_path

STRANGER = 65_534
SECRET = "card 4111 1111 1111 1111"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "queue.duckdb"


@pytest.fixture
def owner(database: Path) -> Iterator[subprocess.Popen[str]]:
    process = start_owner(database)
    yield process
    end(process)


@contextlib.asynccontextmanager
async def listening(path: str) -> AsyncIterator[list[bytes]]:
    """Listen in the owner's place; give what is sent there."""
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.read())
        writer.close()

    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    async with await asyncio.start_unix_server(take, path):
        yield got


async def refusal_of(queue: TaskQueue) -> str:
    """Return why a call was refused."""
    with pytest.raises(StorageOwnedError) as caught:
        await queue.enqueue("fail", (SECRET,))
    await queue.shutdown()
    return str(caught.value)


async def test_nothing_is_sent_to_another_user_who_listens_in_the_owners_place(
    database: Path, owner: subprocess.Popen[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller, "peer_of", lambda _: Peer(STRANGER, 77))
    async with listening(socket_path(database)) as got:
        said = await refusal_of(client(database))
    assert f"process 77 of user id {STRANGER} listens at {socket_path(database)}" in said
    assert {b""} == set(got)


async def test_nothing_is_sent_to_another_process_of_the_same_user(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    async with listening(socket_path(database)) as got:
        said = await refusal_of(client(database))
    assert f"process {os.getpid()} listens at" in said
    assert f"but process {owner.pid} has the file" in said
    assert {b""} == set(got)


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() != 0 or not os.access("/usr/bin/python3", os.X_OK),
    reason="needs root and a Python that other users may run",
)
async def test_the_system_says_who_another_user_is() -> None:
    with tempfile.TemporaryDirectory() as public, socket.socket(socket.AF_UNIX) as listener:
        os.chmod(public, 0o755)
        path = os.path.join(public, "peers.sock")
        listener.bind(path)
        listener.listen()
        os.chmod(path, 0o666)
        program = f"import socket; s = socket.socket(1); s.connect({path!r}); s.recv(1)"
        with subprocess.Popen(["/usr/bin/python3", "-c", program], user=STRANGER) as stranger:
            connection, _ = await asyncio.to_thread(listener.accept)
            with connection:
                peer = peer_of(connection)
    assert Peer(STRANGER, stranger.pid) == peer
    assert not may_talk(peer)


def test_the_system_says_who_this_process_is(tmp_path: Path) -> None:
    one, other = socket.socketpair(socket.AF_UNIX)
    with one, other:
        peer = peer_of(one)
    assert os.geteuid() == peer.uid
    assert may_talk(peer)
    assert is_process(peer, os.getpid())
    assert not is_process(peer, os.getppid())


def test_root_is_trusted_and_nobody_else() -> None:
    assert may_talk(Peer(0, 1))
    assert not may_talk(Peer(os.geteuid() + 1, 1))


def test_a_process_of_another_container_can_not_be_told_by_its_number() -> None:
    assert is_process(Peer(os.geteuid(), 0), 4711)


async def test_an_owner_refuses_another_user(
    database: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(server, "peer_of", lambda _: Peer(STRANGER, 77))
    async with client(database):
        reader, writer = await asyncio.open_unix_connection(socket_path(database))
        writer.write(b'{"id": 1, "verb": "stats", "params": []}\n')
        with contextlib.suppress(ConnectionError):
            assert b"" == await asyncio.wait_for(reader.read(), PATIENCE)
        writer.close()
    assert f"Refused a connection of user id {STRANGER} (pid 77)" in caplog.text


# -- the place ---------------------------------------------------------------


async def test_a_long_path_has_one_private_place_whatever_tmpdir_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 90) / ("e" * 90)
    deep.mkdir(parents=True)
    process = start_owner(deep / "queue.duckdb", TMPDIR=str(deep))
    try:
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr(tempfile, "tempdir", None)
        directory = os.path.dirname(socket_path(deep / "queue.duckdb"))
        found = os.lstat(directory)
        assert (0o40700, os.geteuid()) == (found.st_mode, found.st_uid)
        async with client(deep / "queue.duckdb") as queue:
            handle = await queue.enqueue("double", (4,))
            assert 8 == await handle.result(timeout=PATIENCE)
    finally:
        end(process)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have the private directory elsewhere."""
    monkeypatch.setattr(place, "private_directory", lambda: str(tmp_path / "private"))
    return tmp_path / "private"


def test_the_private_directory_is_made_for_this_user_only(directory: Path) -> None:
    with pytest.raises(FileNotFoundError):
        secure(str(directory / "x.sock"))
    secure(str(directory / "x.sock"), create=True)
    assert 0o700 == stat.S_IMODE(directory.stat().st_mode)
    secure(str(directory / "x.sock"), create=True)
    secure(str(directory / "x.sock"))


def test_a_private_directory_that_others_can_write_is_refused(directory: Path) -> None:
    directory.mkdir()
    directory.chmod(0o770)
    with pytest.raises(PermissionError, match=r"open to others \(mode 0770\)"):
        secure(str(directory / "x.sock"), create=True)


def test_a_private_directory_that_is_a_link_is_refused(directory: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    directory.symlink_to(tmp_path / "real")
    with pytest.raises(PermissionError, match="is no directory"):
        secure(str(directory / "x.sock"), create=True)


def test_a_private_directory_of_another_user_is_refused(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory.mkdir(mode=0o700)
    monkeypatch.setattr(os, "geteuid", lambda: STRANGER)
    with pytest.raises(PermissionError, match="belongs to user id"):
        secure(str(directory / "x.sock"), create=True)


def test_the_private_directory_is_that_of_the_user() -> None:
    assert private_directory().endswith(f"-{os.geteuid()}")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no socket")
async def test_an_owner_that_can_not_listen_says_so_where_clients_look(database: Path) -> None:
    os.mkdir(socket_path(database))  # somebody else's: it can't be replaced
    owner = start_owner(database)
    try:
        said = await refusal_of(client(database))
    finally:
        end(owner)
    assert f"can't listen at {socket_path(database)}: {os.strerror(errno.ENOTSOCK)}" in said
    os.rmdir(socket_path(database))
    async with client(database) as queue:  # the note is gone with the owner
        assert inside(queue).access.engine is not None


@pytest.mark.parametrize("made", ["a file", "a link"])
@pytest.mark.skipif(sys.platform == "win32", reason="there is no socket")
async def test_what_has_the_name_of_the_socket_and_is_none_is_neither_deleted_nor_followed(
    database: Path, made: str
) -> None:
    planted = Path(socket_path(database))
    precious = planted if made == "a file" else database.with_name("precious")
    precious.write_text("precious")
    if made == "a link":
        planted.symlink_to(precious)

    owner = start_owner(database)
    try:
        said = await refusal_of(client(database))
    finally:
        end(owner)

    assert f"can't listen at {planted}: {os.strerror(errno.ENOTSOCK)}" in said
    assert "precious" == precious.read_text()
    assert planted.is_symlink() == (made == "a link")


async def test_a_client_does_not_follow_a_link_to_a_socket(
    database: Path, owner: subprocess.Popen[str]
) -> None:
    planted = Path(socket_path(database))
    other = str(database.with_name("other.sock"))
    async with listening(other) as got:
        planted.unlink()
        planted.symlink_to(other)
        said = await refusal_of(client(database))
    assert f"{planted}: is no socket" in said
    assert [] == got
