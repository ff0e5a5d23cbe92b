"""What a queue tells over HTTP, asked through a socket."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from support.queues import PATIENCE, Gate, until
from wopr import InvalidCallError, Settings, StorageError, TaskQueue
from wopr.service import health, http, metrics
from wopr.service.http import HealthServer, parse_address
from wopr.storage.duckdb import applied, folding, reads
from wopr.storage.duckdb.file.opening import OpenedDatabase

FATAL = duckdb.FatalException("FATAL Error: database has been invalidated")


@pytest.fixture
def queue(tmp_path: Path) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb")

    @queue.task(name="greet", category="mail")
    async def greet(whom: str) -> str:
        raise ValueError(whom)

    return queue


@asynccontextmanager
async def served(
    queue: TaskQueue, address: str = "0"
) -> AsyncIterator[tuple[HealthServer, httpx.AsyncClient]]:
    """Serve, with a client whose connections stay open."""
    async with (
        HealthServer(queue, address) as server,
        httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client,
    ):
        yield server, client


# -- health and readiness --------------------------------------------------------


async def test_a_queue_that_works_is_healthy_and_ready(queue: TaskQueue) -> None:
    async with queue, served(queue) as (_, client):
        await queue.start_workers("mail", 2)

        answer = await client.get("/health")
        assert (200, {"status": "ok"}) == (answer.status_code, answer.json())
        answer = await client.get("/ready")
        found = answer.json()
        assert (200, "ready", "full") == (
            answer.status_code,
            found["status"],
            found["journal"]["sync"],
        )
        assert {"changes", "bytes", "seconds", "sync", "inline"} == found["journal"].keys()


async def test_a_queue_without_workers_is_healthy_but_not_ready(queue: TaskQueue) -> None:
    async with queue, served(queue) as (_, client):
        assert 200 == (await client.get("/health")).status_code
        answer = await client.get("/ready")
    assert 503 == answer.status_code
    found = answer.json()
    assert ("not ready", ["No workers were started."]) == (found["status"], found["reasons"])


async def test_a_question_opens_no_queue(queue: TaskQueue) -> None:
    async with served(queue) as (_, client):
        assert 200 == (await client.get("/health")).status_code
        assert "not open" in (await client.get("/ready")).json()["reasons"][0]
        assert 503 == (await client.get("/metrics")).status_code
    assert not queue.database.exists()


async def test_a_queue_that_is_switched_off_is_not_ready(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=False, database=tmp_path / "none.duckdb")
    async with served(queue) as (_, client):
        assert "WOPR_TASKS_ENABLED" in (await client.get("/ready")).json()["reasons"][0]


async def test_it_is_not_ready_from_the_announcement_of_the_end_on(queue: TaskQueue) -> None:
    async with queue, served(queue) as (server, client):
        await queue.start_workers("mail", 1)
        server.drain()
        assert ["The queue is shutting down."] == (await client.get("/ready")).json()["reasons"]
        assert 200 == (await client.get("/health")).status_code


async def test_it_is_not_ready_while_it_drains(queue: TaskQueue) -> None:
    gate = Gate()
    queue.task(name="wait", category="mail")(gate.wait)
    async with queue, served(queue) as (_, client):
        await queue.start_workers("mail", 1)
        await queue.enqueue("wait")
        await gate.arrivals()
        ending = asyncio.create_task(queue.shutdown(timeout=PATIENCE))
        await asyncio.sleep(0)

        assert ["The queue is shutting down."] == (await client.get("/ready")).json()["reasons"]
        assert 200 == (await client.get("/health")).status_code
        gate.open()
        await ending


# -- a storage that is broken -------------------------------------------------------


def before_reads(monkeypatch: pytest.MonkeyPatch, do: Callable[[], None]) -> None:
    """Do something before each read of a task, or of the status of some."""

    def patched(read: Callable[..., Any]) -> Callable[..., Any]:
        def reading(*arguments: Any) -> Any:
            do()
            return read(*arguments)

        return reading

    for name in ("get", "statuses"):
        monkeypatch.setattr(reads, name, patched(getattr(reads, name)))


async def test_an_invalidated_database_is_never_healthy(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH", 0.0)
    monkeypatch.setattr(folding, "BACK_OFF_SECONDS", 0.01)
    reopen, apply = OpenedDatabase.reopen, applied._apply

    def out_of_reach(opened: OpenedDatabase) -> None:
        opened.disconnect()
        raise duckdb.IOException("IO Error: the disk is not there")

    def invalidated(*arguments: Any) -> None:
        raise FATAL

    async with queue, served(queue) as (_, client):
        await queue.start_workers("mail", 1)
        kept = await queue.enqueue("greet", ("ada",))
        await queue.wait(kept.id, timeout=PATIENCE)
        monkeypatch.setattr(OpenedDatabase, "reopen", out_of_reach)
        monkeypatch.setattr(applied, "_apply", invalidated)
        await queue.enqueue("greet", ("bob",))  # the journal takes it
        with pytest.raises(StorageError):
            await queue.get_tasks()

        for _ in range(3):
            answer = await client.get("/health")
            assert (503, "failed") == (answer.status_code, answer.json()["status"])
            assert "the disk is not there" in answer.json()["reasons"][0]
        answer = await client.get("/ready")
        assert (503, "not ready") == (answer.status_code, answer.json()["status"])

        monkeypatch.setattr(OpenedDatabase, "reopen", reopen)
        monkeypatch.setattr(applied, "_apply", apply)

        async def status() -> int:
            return (await client.get("/health")).status_code

        await until(status, lambda code: code == 200)
        assert await queue.get_task_info(kept.id) is not None


async def test_a_fatal_error_that_nobody_saw_yet_is_seen(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH", 0.0)
    broken = True

    def invalidated() -> None:
        if broken:
            raise FATAL

    before_reads(monkeypatch, invalidated)
    async with queue, served(queue) as (_, client):
        answer = await client.get("/health")
        assert 503 == answer.status_code
        assert "invalidated" in answer.json()["reasons"][0]
        broken = False

        async def status() -> int:
            return (await client.get("/health")).status_code

        await until(status, lambda code: code == 200)  # once it is open again


@asynccontextmanager
async def writer_held(queue: TaskQueue) -> AsyncIterator[None]:
    """Keep the thread that writes from doing anything."""
    began, go_on = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def hold(_: object) -> None:
        loop.call_soon_threadsafe(began.set)
        go_on.wait(PATIENCE)

    held = queue.storage.in_writer(hold)
    try:
        await asyncio.wait_for(began.wait(), PATIENCE)
        yield
    finally:
        go_on.set()
        await asyncio.wrap_future(held)


async def test_a_storage_that_is_slow_is_not_broken(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH", 0.0)
    monkeypatch.setattr(health, "PATIENCE", 0.01)
    async with queue, served(queue) as (_, client), writer_held(queue):
        assert 200 == (await client.get("/health")).status_code


async def test_a_thread_that_writes_no_more_is_a_failure(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH", 0.0)
    monkeypatch.setattr(health, "PATIENCE", 0.01)
    monkeypatch.setattr(health, "STUCK", 0.0)
    async with queue, served(queue) as (_, client):
        async with writer_held(queue):
            answer = await client.get("/health")
            assert 503 == answer.status_code
            assert "has not answered" in answer.json()["reasons"][0]
        monkeypatch.setattr(health, "PATIENCE", PATIENCE)
        assert 200 == (await client.get("/health")).status_code


async def test_many_questions_ask_the_storage_once(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "FRESH", PATIENCE)
    asked = 0

    def count() -> None:
        nonlocal asked
        asked += 1

    before_reads(monkeypatch, count)
    async with queue, served(queue) as (_, client):
        answers = await asyncio.gather(*(client.get("/health") for _ in range(20)))
    assert {200} == {answer.status_code for answer in answers}
    assert 1 == asked


# -- what it lets out and in -----------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/ready", "/metrics"])
async def test_only_get_and_head_are_answered(queue: TaskQueue, path: str) -> None:
    async with queue, served(queue) as (_, client):
        await queue.start_workers("mail", 1)
        answer = await client.head(path)
        assert (200, b"") == (answer.status_code, answer.content)
        for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS"):
            assert 405 == (await client.request(method, path)).status_code


async def test_answers_say_nothing_about_the_server_and_are_not_kept(queue: TaskQueue) -> None:
    async with queue, served(queue) as (_, client):
        for path in ("/health", "/ready", "/metrics", "/nothing"):
            headers = (await client.get(path)).headers
            assert {"server", "date", "x-powered-by"} & set(headers) == set()
            if path != "/nothing":
                assert "no-store" == headers["cache-control"]


@pytest.mark.parametrize("path", ["/health/", "//evil.example", "/", "/metrics/"])
async def test_the_host_header_leads_nowhere(queue: TaskQueue, path: str) -> None:
    async with queue, served(queue) as (server, _), httpx.AsyncClient() as client:
        answer = await client.get(f"{server.url}{path}", headers={"host": "evil.example"})
    assert (400 if path == "/" else 404) == answer.status_code
    assert "evil" not in answer.text + str(answer.headers)


async def test_what_tasks_were_called_with_is_not_shown(queue: TaskQueue) -> None:
    async with queue, served(queue) as (_, client):
        await queue.start_workers("mail", 1)
        handle = await queue.enqueue("greet", ("hunter2",))
        assert "hunter2" in str((await queue.wait(handle.id, timeout=PATIENCE)).error)

        for path in ("/health", "/ready", "/metrics"):
            assert "hunter2" not in (await client.get(path)).text


async def test_metrics_are_served_as_prometheus_reads_them(queue: TaskQueue) -> None:
    async with queue, served(queue) as (_, client):
        answer = await client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    assert "wopr_build_info{" in answer.text


async def test_without_prometheus_client_health_is_served_and_metrics_say_what_is_missing(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(metrics, "find_spec", lambda name: None)
    async with queue, served(queue) as (_, client):
        assert 200 == (await client.get("/health")).status_code
        answer = await client.get("/metrics")
    assert 501 == answer.status_code
    assert "pip install 'wopr[service]'" in answer.text


# -- where it listens -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [
        ("8080", "127.0.0.1", 8080),
        (":8080", "127.0.0.1", 8080),
        ("0", "127.0.0.1", 0),
        ("0.0.0.0:80", "0.0.0.0", 80),
        ("localhost:9", "localhost", 9),
        (" [::1]:65535 ", "::1", 65535),
    ],
)
def test_an_address_is_a_port_or_host_and_port(address: str, host: str, port: int) -> None:
    assert (host, port) == parse_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http",
        "host",
        "host:",
        "1:2:3",
        "::1:80",
        "[::1:80",
        "::1]:80",
        "h:65536",
        "h:-1",
        "h:²",
    ],
)
def test_what_is_no_address_is_refused(queue: TaskQueue, address: str) -> None:
    with pytest.raises(InvalidCallError, match="is no address to serve HTTP at"):
        HealthServer(queue, address)


async def test_it_tells_the_real_port_and_gives_it_back(queue: TaskQueue) -> None:
    async with queue:
        async with HealthServer(queue, "127.0.0.1:0") as server:
            port = server.port
            assert f"http://127.0.0.1:{port}" == server.url
            with pytest.raises(InvalidCallError, match=f"listen on 127.0.0.1:{port}.*--http"):
                await HealthServer(queue, str(port)).start()
        async with HealthServer(queue, str(port)):
            pass


@pytest.mark.skipif(not socket.has_ipv6, reason="this machine has no IPv6")
async def test_it_listens_on_ipv6(queue: TaskQueue) -> None:
    async with queue, served(queue, "[::1]:0") as (server, client):
        assert server.url.startswith("http://[::1]:")
        assert 200 == (await client.get("/health")).status_code


def test_missing_packages_are_named_with_what_installs_them(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "find_spec", lambda name: None)
    with pytest.raises(InvalidCallError, match=r"pip install 'wopr\[service\]'"):
        HealthServer(queue, "0")


# -- a guest in the process -----------------------------------------------------------


async def test_signals_and_logging_are_left_alone(
    queue: TaskQueue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    names = ("", "uvicorn", "uvicorn.error", "uvicorn.access")

    def state() -> list[object]:
        loggers = [logging.getLogger(name) for name in names]
        return [
            *(signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)),
            *((one.level, list(one.handlers), one.propagate, one.disabled) for one in loggers),
        ]

    before = state()
    async with queue, served(queue) as (_, client):
        await client.get("/health")
        assert before == state()
    assert before == state()
    assert [] == [record for record in caplog.records if record.name.startswith("uvicorn")]


async def test_nothing_runs_while_nobody_asks(queue: TaskQueue) -> None:
    async with queue:
        before = asyncio.all_tasks()
        async with HealthServer(queue, "0") as server:
            async with httpx.AsyncClient(base_url=server.url) as client:
                await client.get("/metrics")

            async def mine() -> set[asyncio.Task[Any]]:
                return asyncio.all_tasks() - before

            await until(mine, lambda tasks: not tasks)


async def test_it_closes_at_once_whoever_is_connected(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE", 2 * PATIENCE)
    async with queue, writer_held(queue):
        server = HealthServer(queue, "0")
        await server.start()
        half, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\n")  # and no more
        async with httpx.AsyncClient(base_url=server.url, timeout=PATIENCE) as client:
            await client.get("/nothing")  # a connection that stays open
            asking = asyncio.create_task(client.get("/health"))
            await until(_asked(server), bool)

            async with asyncio.timeout(PATIENCE):  # less than the answer would take
                await server.stop()
                await server.stop()
                assert 200 == (await asking).status_code
                assert b"" == await half.read()
        writer.close()


async def test_a_request_that_never_gets_complete_does_not_hold_its_connection(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "CONNECTION_SECONDS", 0.05)
    async with HealthServer(queue, "0") as server:
        half, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\nX")
        async with asyncio.timeout(PATIENCE):
            assert b"" == await half.read()
        writer.close()


async def test_more_connections_than_a_worker_can_spare_are_closed(
    queue: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "MOST_CONNECTIONS", 1)
    async with served(queue) as (server, client):
        first, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /health HTTP/1.1\r\nX")  # and no more
        assert 200 == (await client.get("/health")).status_code  # there is room for the newest
        async with asyncio.timeout(PATIENCE):
            with contextlib.suppress(ConnectionResetError):
                assert b"" == await first.read()
        writer.close()


def _asked(server: HealthServer) -> Any:
    async def asked() -> bool:
        return server._health._asking is not None

    return asked


# -- whom a request is meant for ---------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *((name, 400) for name in ("evil.example", "evil.example:80", "127.0.0.1.evil.example")),
        *(
            (name, 400)
            for name in ("a:x", "127.0.0.1:80:80", "x" * 300, "[::1", "a@127.0.0.1", "é")
        ),
        *((name, 200) for name in ("127.0.0.1", "LOCALHOST:1", "[::1]:8080", "10.0.0.7", "a:80")),
        *((name, 200) for name in ("queue.shop.example", "QUEUE.shop.example:443", "a.localhost")),
    ],
)
async def test_only_a_request_that_is_meant_for_this_server_is_answered(
    tmp_path: Path, host: str, status: int
) -> None:
    settings = Settings(http_hosts="other.example, queue.shop.example")
    database = tmp_path / "tasks.duckdb"
    async with HealthServer(TaskQueue(database=database, settings=settings), "0") as server:
        for path in ("/health", "/ready", "/metrics"):
            answer = await _said(server, f"GET {path} HTTP/1.1\r\nHost: {host}\r\n")
            assert (status == 400) is answer.startswith("HTTP/1.1 400")
            assert (status == 400) is ("WOPR_TASKS_HTTP_HOSTS" in answer)
        assert "HTTP/1.1 200" in await _said(server, "GET /health HTTP/1.0\r\n")
        two = await _said(
            server, "GET /health HTTP/1.1\r\nHost: a.evil.example\r\nHost: localhost\r\n"
        )
        assert two.startswith("HTTP/1.1 400")


async def test_every_name_is_answered_if_that_is_wanted(tmp_path: Path) -> None:
    queue = TaskQueue(database=tmp_path / "tasks.duckdb", settings=Settings(http_hosts="*"))
    async with HealthServer(queue, "0") as server:
        assert "200 OK" in await _said(server, "GET /health HTTP/1.1\r\nHost: a.example\r\n")


async def test_the_root_says_where_the_dashboard_is(tmp_path: Path) -> None:
    queue = TaskQueue(database=tmp_path / "tasks.duckdb")
    async with HealthServer(queue, "0") as server:
        assert "wopr worker --web" in await _said(server, "GET / HTTP/1.1\r\nHost: localhost\r\n")
    async with HealthServer(queue, "0", lambda: "http://127.0.0.1:8800") as server:
        answer = await _said(server, "GET / HTTP/1.1\r\nHost: localhost\r\n")
        assert "The dashboard is at http://127.0.0.1:8800\n" in answer


async def _said(server: HealthServer, request: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(request.encode("latin-1") + b"Connection: close\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        answer = (await reader.read()).decode()
    writer.close()
    return answer
