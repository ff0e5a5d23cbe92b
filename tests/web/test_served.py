"""``wopr web`` and ``wopr worker --web`` as they are run, attacked over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from support.commands import call
from support.webapp import bearer, token_of
from wopr import TaskQueue
from wopr.domain.role import Role

ENV = {**os.environ, "WOPR_TASKS_ENABLED": "1", "PYTHONUNBUFFERED": "1"}


@contextmanager
def serving(*words: object, cwd: Path | None = None) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run a command until it says where it serves; then end it as Ctrl-C does."""
    command = [sys.executable, "-m", "wopr", *map(str, words)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENV, cwd=cwd
    )
    assert process.stdout is not None
    said = ""
    try:
        for line in process.stdout:
            said += line
            found = re.search(
                r"(https?://\S+?:\d+|/\S+\.sock)[ .].*dashboard|dashboard.*at (http\S+:\d+)", line
            )
            if found:
                yield process, found[1] or found[2]
                break
        else:
            raise AssertionError(f"it ended: {said}")
    finally:
        process.send_signal(signal.SIGINT)
        process.stdout.close()
        assert process.wait(30) == 0


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "queue.duckdb"
    asyncio.run(changes(path))
    return path


async def changes(database: Path) -> list[str]:
    """Return what was done to a queue, which is made if there is none."""
    async with TaskQueue(enabled=True, database=database) as queue:
        page = await queue.get_tasks()
        return [act.verb for act in await queue.acts()] + [task.name for task in page]


def asked(url: str, data: bytes) -> bytes:
    """Send bytes, and return what comes until the server hangs up."""
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        parts = []
        with contextlib.suppress(ConnectionResetError):  # it did not read all that was sent
            while part := connection.recv(65_536):
                parts.append(part)
    return b"".join(parts)


GET = b"GET /api/v1/status HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"


async def test_wopr_web_lets_in_who_is_here_and_who_has_a_token(tmp_path: Path) -> None:
    database = tmp_path / "queue.duckdb"
    await changes(database)
    with serving("web", "-d", database, "--listen", "127.0.0.1:0") as (_, url):
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            assert 200 == (await client.get("/api/v1/status")).status_code
            assert 200 == (await client.get("/", headers={"Accept": "text/html"})).status_code
            far = {"X-Forwarded-For": "10.0.0.7"}
            assert 401 == (await client.get("/api/v1/status", headers=far)).status_code
            async with TaskQueue(enabled=True, database=database) as queue:  # through its socket
                token = await token_of(queue, role=Role.OPERATE)
            answer = await client.get("/api/v1/status", headers={**far, **bearer(token)})
            assert 200 == answer.status_code


def test_it_listens_nowhere_where_everybody_could_come_in(database: Path) -> None:
    web = ("web", "-d", database, "--listen", "0.0.0.0:0")
    for words, said in [
        (web, "--tls-cert"),
        ((*web, "--behind-proxy", "10.0.0.5"), "wopr token create"),
        (("web", "-d", database, "--listen", "127.0.0.1:0", "--behind-proxy", "::1"), "no token"),
        ((*web, "--tls-cert", "a.pem"), "one of them is not given"),
        ((*web, "--tls-cert", "a.pem", "--tls-key", "b.pem"), "no token"),
        (("web", "-d", database, "--listen", "nonsense"), "is no address"),
        ((*web, "--behind-proxy", "10.0.0.5,proxy"), "'proxy' is no address of a proxy"),
        (("web", "-d", database.with_name("none.duckdb")), "none.duckdb"),
    ]:
        refused = call(*words)
        assert refused.code in {2, 3}, words
        assert said in refused.err


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve an empty queue, which nothing that a test sends may change."""
    database = tmp_path_factory.mktemp("served") / "queue.duckdb"
    asyncio.run(changes(database))
    with serving("web", "-d", database, "--listen", "127.0.0.1:0") as (_, url):
        yield url
    assert [] == asyncio.run(changes(database))


def test_no_request_hides_in_another_one(served: str) -> None:
    """Smuggling: two ways to tell the length of a body, or a length that is none."""
    post = GET.replace(b"GET", b"POST").replace(b"status", b"tasks")
    hidden = b"0\r\n\r\nGET /hidden HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    for header in (
        b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Content-Length: 4\r\nContent-Length: 9\r\n",
        b"Content-Length: +4\r\n",
        b"Content-Length: -1\r\n",
        b"Content-Length : 4\r\n",
        b" Content-Length: 4\r\n",
    ):
        answer = asked(served, post + header + b"\r\n" + hidden)
        assert answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 5")), header
        assert b"HTTP/1.1 404" not in answer, header  # the hidden one


def test_what_is_no_request_is_refused(served: str) -> None:
    for data in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET\r\n\r\n",
        GET + b"X: " + b"a" * 100_000 + b"\r\n\r\n",
        GET + b"".join(b"X-%d: a\r\n" % number for number in range(10_000)) + b"\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
        GET + b"X: a\x00b\r\n\r\n",
        GET.replace(b"/status", b"/st\x00atus") + b"\r\n",
        GET.replace(b"Host: 127.0.0.1\r\n", b"") + b"\r\n",
        GET + b"Host: evil.example\r\n\r\n",
    ):
        answer = asked(served, data)
        assert answer.startswith((b"HTTP/1.1 4", b"")), data[:50]
        assert b"HTTP/1.1 2" not in answer, data[60:120]


def test_only_names_of_this_server_are_answered(served: str) -> None:
    """DNS rebinding: a name of somebody else's, that leads here."""
    for host, status in [
        (b"127.0.0.1", 200),
        (b"localhost:1", 200),
        (b"evil.example", 421),
        (b"127.0.0.1.evil.example", 421),
        (b"127.0.0.1@evil.example", 421),
        (b"evil.example:8800", 421),
        (b"127.0.0.1:8800:9", 421),
        (b"", 421),
    ]:
        answer = asked(served, GET.replace(b"Host: 127.0.0.1", b"Host: " + host) + b"\r\n")
        assert b"HTTP/1.1 %d " % status == answer[:13], host
    absolute = GET.replace(b"/api", b"http://evil.example/api") + b"\r\n"
    assert b"HTTP/1.1 2" not in asked(served, absolute)


def test_a_page_of_another_origin_changes_nothing_and_reads_nothing(served: str) -> None:
    body = b'{"reason": "evil"}'
    post = (
        b"POST /api/v1/categories/mail/pause HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    )
    for headers in (
        b"Origin: http://evil.example\r\nContent-Type: text/plain\r\n",
        b"Origin: null\r\nContent-Type: application/json\r\n",
        b"Sec-Fetch-Site: cross-site\r\nContent-Type: application/json\r\n",
        b"Sec-Fetch-Site: same-site\r\nContent-Type: application/json\r\n",
        b"Content-Type: application/x-www-form-urlencoded\r\n",
        b"Cookie: a=b\r\nContent-Type: application/json\r\n",
    ):
        length = b"Content-Length: %d\r\n\r\n" % len(body)
        assert asked(served, post + headers + length + body).startswith(b"HTTP/1.1 403 "), headers
    for headers in (b"Origin: http://evil.example\r\n", b"Sec-Fetch-Site: cross-site\r\n"):
        answer = asked(served, GET + headers + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 403 ")
        assert b"access-control-allow" not in answer.lower()


def test_no_path_leads_out_of_the_application(served: str) -> None:
    for path in (
        b"/static/../../../../etc/passwd",
        b"/static/%2e%2e/%2e%2e/%2e%2e/etc/passwd",
        b"/static/..%2f..%2f..%2fetc/passwd",
        b"/static/....//....//etc/passwd",
        b"/static//etc/passwd",
        b"/static/%00",
        b"/static/..\\..\\pyproject.toml",
        b"/login.css/../../etc/passwd",
        b"//evil.example/%2e%2e",
    ):
        answer = asked(served, GET.replace(b"/api/v1/status", path) + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 4"), path
        assert b"root:" not in answer


def test_a_body_has_an_end(served: str) -> None:
    post = GET.replace(b"GET", b"POST").replace(b"status", b"tasks")
    post += b"Content-Type: application/json\r\n"
    answer = asked(served, post + b"Content-Length: 99999999999\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 413 ")
    chunk = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 5 + b"0\r\n\r\n"
    assert asked(served, chunked)[:13] in {b"HTTP/1.1 413 ", b""}


async def test_the_worker_serves_it_beside_its_workers(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from wopr import TaskQueue\n"
        f"queue = TaskQueue(database={str(tmp_path / 'shop.duckdb')!r})\n"
        "@queue.task\n"
        "async def double(number: int) -> int:\n"
        "    return number * 2\n"
    )
    words = ("worker", "shop:queue", "--web", "127.0.0.1:0", "--http", "127.0.0.1:0")
    with serving(*words, cwd=tmp_path) as (process, url):
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            call_ = {"name": "double", "args": [21]}
            made = (await client.post("/api/v1/tasks", json=call_)).json()
            found = await client.get(f"/api/v1/tasks/{made['id']}/result", params={"wait": 20})
            assert 42 == found.json()["result"]
        assert process.poll() is None


def test_a_unix_socket_is_this_user_s_alone(database: Path, tmp_path: Path) -> None:
    path = tmp_path / "w.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()
    with serving("web", "-d", database, "--socket", path):
        assert 0o600 == path.stat().st_mode & 0o777
        transport = httpx.HTTPTransport(uds=str(path))
        with httpx.Client(transport=transport, base_url="http://localhost") as client:
            assert 200 == client.get("/api/v1/status").status_code
        again = call("web", "-d", database, "--socket", path)
        assert 2 == again.code
        assert "Nothing can listen" in again.err
    assert not path.exists()


def test_a_proxy_that_is_named_says_who_asks_and_that_it_does_tls(database: Path) -> None:
    token = call("token", "create", "ada", "--role", "operate", "-d", database).out.split()[0]
    far = {"X-Forwarded-For": "10.0.0.7", "X-Forwarded-Proto": "https"}
    words = ("web", "-d", database, "--listen", "127.0.0.1:0", "--behind-proxy", "127.0.0.0/8")
    with serving(*words) as (_, url), httpx.Client(base_url=url, timeout=60) as client:
        assert 401 == client.get("/api/v1/status").status_code  # though it comes from here
        form = {"token": token}
        assert "Secure" in client.post("/login", data=form, headers=far).headers["set-cookie"]
        operating = {**far, **bearer(token)}
        paused = client.post("/api/v1/categories/mail/pause", json={}, headers=operating)
        assert paused.is_success, paused.text
        acts = client.get("/api/v1/acts", headers=operating).json()["acts"]
        assert ("ada", "web, from 10.0.0.7") == (acts[0]["who"], acts[0]["origin"])


def test_it_does_tls_itself(database: Path, tmp_path: Path) -> None:
    call("token", "create", "ada", "--role", "read", "-d", database)
    certificate, key = self_signed(tmp_path)
    words = ("web", "-d", database, "--tls-cert", certificate, "--tls-key", key, "--listen")
    with serving(*words, "0.0.0.0:0") as (_, url):
        assert url.startswith("https://0.0.0.0:")
        context = ssl.create_default_context(cafile=str(certificate))
        here = url.replace("0.0.0.0", "127.0.0.1")
        with httpx.Client(base_url=here, verify=context, timeout=60) as client:
            assert 200 == client.get("/api/v1/status").status_code


def self_signed(folder: Path) -> tuple[Path, Path]:
    """Write a certificate of this machine and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    certificate, private = folder / "cert.pem", folder / "key.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return certificate, private
