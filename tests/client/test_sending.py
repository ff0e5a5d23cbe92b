"""How clients send: what is repeated, what a failure is raised as, what has an end."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest

from wopr import (
    BacklogFullError,
    InvalidCallError,
    OwnerGoneError,
    OwnerLeavingError,
    OwnerSilentError,
    ServerRefusedError,
    StorageError,
    TaskNotFoundError,
    WoprError,
)
from wopr.client import AsyncClient, Client, Notice, Transition, failures
from wopr.client.events import Hearing
from wopr.client.failures import Failure, of_answer, pause_before
from wopr.client.sqlrows import RowReader

HERE = "http://127.0.0.1:8800"
STATS = {"total": 1, "by_status": {}, "by_category": {}, "running": 0, "queued": 1}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for nothing between two tries."""
    monkeypatch.setattr(failures, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr("wopr.client.events.PAUSES", (0.0, 0.0))


class Server:
    """Answers with one after the other of what it was given, and keeps what it was asked."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def client(self, **how: Any) -> Client:
        return Client(HERE, transport=httpx.MockTransport(self), **how)


def problem(status: int, error: str | None = None, **headers: str) -> httpx.Response:
    said = {"title": "x", "status": status, "detail": "told"} | ({"error": error} if error else {})
    return httpx.Response(status, json=said, headers=headers)


def stats() -> httpx.Response:
    return httpx.Response(200, json={**STATS, "of a newer server": 7})


@pytest.mark.parametrize(
    "failing",
    [
        httpx.ConnectError("x"),
        httpx.ReadError("x"),
        httpx.RemoteProtocolError("x"),
        problem(503, "StorageError"),
        problem(429),
        httpx.Response(502, text="bad gateway"),
    ],
    ids=repr,
)
def test_what_only_looks_is_asked_again(failing: httpx.Response | Exception) -> None:
    server = Server(failing, stats())
    assert 1 == server.client().stats().total
    assert 2 == len(server.asked)


@pytest.mark.parametrize("not_sent", [httpx.ConnectError("x"), problem(429)], ids=repr)
def test_what_was_not_carried_out_is_sent_again(not_sent: httpx.Response | Exception) -> None:
    server = Server(not_sent, httpx.Response(201, json={"id": "7"}))
    assert "7" == server.client().enqueue("add", [1])


@pytest.mark.parametrize(
    ("failing", "kind"),
    [
        (httpx.ReadError("x"), OwnerGoneError),
        (httpx.ReadTimeout("x"), OwnerSilentError),
        (problem(503, "StorageError"), StorageError),
        (problem(502), OwnerGoneError),
        (problem(429, "BacklogFullError"), BacklogFullError),
        (problem(429, **{"retry-after": "60"}), ServerRefusedError),
        (problem(404, "TaskNotFoundError"), TaskNotFoundError),
        (problem(422), InvalidCallError),
        (problem(409, "SomethingNewError"), ServerRefusedError),
        (problem(401, "AuthRequirementDeniedError"), ServerRefusedError),
        (httpx.Response(200, text="<html>"), StorageError),
        (httpx.Response(201, json=["id"]), StorageError),
    ],
    ids=repr,
)
def test_what_may_have_been_carried_out_or_will_not_be_is_sent_once(
    failing: httpx.Response | Exception, kind: type[WoprError]
) -> None:
    server = Server(failing)
    with pytest.raises(kind) as raised:
        server.client().enqueue("add", [1])
    assert kind is type(raised.value)
    assert 1 == len(server.asked)


def test_tries_come_to_an_end() -> None:
    server = Server(*(httpx.ConnectError("refused") for _ in range(3)))
    with pytest.raises(OwnerLeavingError, match="nothing was sent: refused"):
        server.client().stats()
    assert [] == server.answers


async def test_so_do_those_that_are_awaited() -> None:
    server = Server(httpx.ReadError("x"), stats(), *(httpx.ConnectError("x") for _ in range(3)))
    async with AsyncClient(HERE, transport=httpx.MockTransport(server)) as client:
        assert 1 == (await client.stats()).total
        with pytest.raises(OwnerLeavingError):
            await client.stats()


def test_a_pause_is_as_long_as_the_server_asks_but_not_longer_than_anybody_waits() -> None:
    full = of_answer(429, {"retry-after": "3"}, b"")
    assert 3.0 == pause_before(full, 0, reads=False)
    assert None is pause_before(full, 2, reads=True)
    long = Failure(full.error, again=True, carried_out=False, pause=6.0)
    assert None is pause_before(long, 0, reads=True)


@pytest.mark.parametrize(
    ("given", "url"),
    [
        (HERE, f"{HERE}/api/v1/stats"),
        (f"{HERE}/api/v1/", f"{HERE}/api/v1/stats"),
        ("https://:secret@queue.example/jobs/", "https://queue.example/jobs/api/v1/stats"),
    ],
)
def test_an_address_is_taken_as_people_have_it(given: str, url: str) -> None:
    server = Server(stats())
    client = Client(given, "other", transport=httpx.MockTransport(server))
    client.stats()
    assert url == str(server.asked[0].url)
    token = "secret" if "secret" in given else "other"
    assert f"Bearer {token}" == server.asked[0].headers["authorization"]
    assert token not in repr(client)


def test_the_token_is_that_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOPR_TASKS_TOKEN", "wopr_7")
    server = Server(stats())
    server.client().stats()
    assert "Bearer wopr_7" == server.asked[0].headers["authorization"]


@pytest.mark.parametrize("wrong", ["tasks.duckdb", "https://", "https://a.example/?x=1", "ftp://a"])
def test_an_address_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(InvalidCallError):
        Client(wrong)


def test_a_token_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidCallError, match="blanks, line breaks"):
        Client(HERE, "wopr_7\n")


def test_names_stand_in_paths_as_they_are() -> None:
    server = Server(*(httpx.Response(200, json={"resumed": True}) for _ in range(2)))
    client = server.client()
    client.resume_category("a/b?c d")
    client.resume_category("..")
    assert ["/api/v1/categories/a%2Fb%3Fc%20d/resume", "/api/v1/categories/%2E%2E/resume"] == [
        one.url.raw_path.decode() for one in server.asked
    ]


def test_an_answer_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wopr.client.now.LARGEST_ANSWER", 100)
    server = Server(httpx.Response(200, json=["x" * 200]))
    with pytest.raises(StorageError, match="are not kept"):
        server.client().stats()


TOLD = {
    "seq": 6,
    "task_id": "a",
    "name": "add",
    "category": "sums",
    "from_status": None,
    "to_status": "pending",
    "attempt": 0,
    "occurred_at": "2030-05-17T12:00:00Z",
    "worker": None,
    "reason": "add",
    "error": None,
}


class Cut(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer that breaks off after some parts."""

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts

    def __iter__(self) -> Iterator[bytes]:
        yield from self.parts
        raise httpx.ReadError("cut")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for part in self:
            yield part


def begun(number: int, *more: bytes) -> httpx.Response:
    return httpx.Response(
        200, stream=Cut(b"id: %d\nevent: begin\ndata: {}\n\n: still here\n\n" % number, *more)
    )


def told(seq: int) -> bytes:
    said = json.dumps({**TOLD, "seq": seq})
    return f"id: {seq}\nevent: transition\ndata: {said}\n\n".encode()


def answers() -> list[httpx.Response | Exception]:
    whole = told(6)
    cut = b'event: cut\ndata: {"detail": "slow"}\n\n'
    return [
        begun(5, whole[:30], whole[30:]),
        httpx.ConnectError("restarted"),
        begun(9, told(7) + cut),
        problem(403),
    ]


def after(server: Server) -> list[str | None]:
    return [request.url.params.get("after") for request in server.asked]


def test_events_go_on_where_they_were() -> None:
    server = Server(*answers())
    events = server.client().events(name=["add", "sub"])
    assert Notice("begin", {}) == next(events)
    found = [next(events), next(events)]
    assert [6, 7] == [one.seq for one in found if isinstance(one, Transition)]
    with pytest.raises(ServerRefusedError):
        next(events)
    assert [None, "6", "6", "7"] == after(server)
    assert ["add", "sub"] == server.asked[0].url.params.get_list("name")


async def test_so_do_those_of_the_other_client() -> None:
    server = Server(*answers())
    client = AsyncClient(HERE, transport=httpx.MockTransport(server))
    events = client.events()
    found = [await anext(events) for _ in range(3)]
    assert [6, 7] == [one.seq for one in found if isinstance(one, Transition)]
    with pytest.raises(ServerRefusedError):
        await anext(events)
    assert [None, "6", "6", "7"] == after(server)


def test_events_that_never_come_are_given_up() -> None:
    hearing = Hearing({}, None)
    assert [0.0, 0.0] == [hearing.pause(None), hearing.pause(OwnerGoneError("x"))]
    with pytest.raises(OwnerGoneError, match="3 times before one came"):
        hearing.pause(None)


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(StorageError, match="KiB"):
        list(Hearing({}, None).heard(b"x" * 2**21))
    with pytest.raises(StorageError, match="can't be read"):
        list(Hearing({}, None).heard(b"event: transition\ndata: {}\n\n"))


WHOLE = json.dumps(
    {
        "columns": ['"rows":[', "é"],
        "moment": "2030-05-17T12:00:00Z",
        "truncated": False,
        "rows": [[1, ']"['], [None, {"a": [2]}]],
    },
    ensure_ascii=False,
    separators=(",", ":"),
).encode()


@pytest.mark.parametrize("size", [1, 2, 7, 1_000])
def test_rows_are_read_however_they_are_cut(size: int) -> None:
    reader = RowReader()
    parts = [WHOLE[at : at + size] for at in range(0, len(WHOLE), size)]
    rows = [row for part in parts for row in reader.read(part)]
    assert [[1, ']"['], [None, {"a": [2]}]] == [*rows, *reader.end()]
    assert ['"rows":[', "é"] == reader.columns
    assert reader.moment is not None


def test_rows_that_end_too_early_are_not_taken_for_all() -> None:
    reader = RowReader()
    assert [[1, ']"[']] == list(reader.read(WHOLE[:-16]))
    with pytest.raises(StorageError, match="ended before"):
        list(reader.end())
    with (
        pytest.raises(StorageError, match="ended before"),
        Server(httpx.Response(200, content=WHOLE[:20])).client().stream_sql("select 1"),
    ):
        pass


def test_a_row_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wopr.client.sqlrows.LARGEST_ROW", 50)
    with pytest.raises(StorageError, match="not kept"):
        list(RowReader().read(WHOLE[:90] + b"x" * 100))
