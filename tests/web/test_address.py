"""A queue at an address: the same calls, carried over HTTP to the machine that has the file."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.commands import call
from support.queues import PATIENCE
from support.restapp import rest_app, served
from support.webapp import bearer, browser, token_of
from wopr import (
    InvalidCallError,
    OnConflict,
    QueryError,
    Settings,
    StorageError,
    TaskFailedError,
    TaskNotFoundError,
    TaskQueue,
    TaskStatus,
    UniqueKeyConflictError,
    chain,
)
from wopr.client import Client
from wopr.core.accesstokens import access_tokens, create_token, revoke_token
from wopr.domain.accesstoken import new_token
from wopr.domain.address import Address
from wopr.domain.change import Change, Verb
from wopr.domain.errors import OwnerGoneError
from wopr.domain.rule import RuleKind
from wopr.domain.selection import Selection
from wopr.insights.queries import NEWEST_TRANSITION
from wopr.queue.queue import inside
from wopr.remote import http, protocol
from wopr.remote.acts import RemoteActs
from wopr.remote.http import HttpBackend
from wopr.remote.rules import rule_to_plain
from wopr.remote.size import MOST_LISTS
from wopr.web import create_app
from wopr.web.api import carrying
from wopr.web.guard.roles import Role


def declared(queue: TaskQueue) -> TaskQueue:
    @queue.task(name="add")
    async def add(a: int, b: int = 1) -> int:
        return a + b

    @queue.task(name="fail", max_retries=0)
    async def fail() -> None:
        raise ValueError("no")

    @queue.task(name="later", category="idle")
    async def later() -> None: ...

    return queue


@pytest.fixture
async def there(tmp_path: Path) -> AsyncIterator[TaskQueue]:
    """Return the queue that has the file, with a worker."""
    async with declared(TaskQueue(enabled=True, database=tmp_path / "q.duckdb")) as queue:
        await queue.start_workers()
        yield queue


@asynccontextmanager
async def at(there: TaskQueue, role: Role = Role.ADMIN) -> AsyncIterator[TaskQueue]:
    """Return a queue at the address where ``there`` is served."""
    async with (
        served(rest_app(there, role)) as url,
        declared(TaskQueue(enabled=True, database=url)) as queue,
    ):
        yield queue


async def test_what_a_queue_is_asked_is_answered_from_there(there: TaskQueue) -> None:
    async with at(there) as queue:
        handle = await queue.enqueue("add", (2,), {"b": 5})
        assert 7 == await handle.result(timeout=PATIENCE)
        assert TaskStatus.SUCCESS is (await handle.info()).status
        assert 3 == len(await queue.get_history(handle.id))
        with pytest.raises(TaskFailedError, match="no"):
            await (await queue.enqueue("fail")).result(timeout=PATIENCE)
        many = await queue.enqueue_ids("add", [(n,) for n in range(2_500)], {})
        assert 2_500 == len(set(many))
        assert many[-1] == (await queue.wait(many[-1], timeout=PATIENCE)).id
        there.task(name="plus")(increased)
        plus = queue.task(name="plus")(increased)
        flow = await queue.enqueue_flow(chain(plus.s(1), plus.s()))
        assert 3 == await flow.result(timeout=PATIENCE)
        assert 1 == (await queue.sql("select count(*) from tasks where name = 'fail'")).scalar()
        assert (await there.status()).state is (await queue.status()).state
        with pytest.raises(TaskNotFoundError):
            await queue.require_task_info("0190a0a0-0000-7000-8000-000000000000")


async def increased(number: int) -> int:
    return number + 1


async def test_acts_rules_and_schedules_are_there(there: TaskQueue) -> None:
    async with at(there) as queue:
        waiting = await queue.enqueue("later")
        assert 1 == (await queue.tasks.where(name="later").cancel()).act.changed
        assert TaskStatus.CANCELLED is (await waiting.info()).status
        [act] = await there.acts()
        assert ("cancel", "ada") == (act.verb, act.who)
        assert 1 == (await queue.undo(act.number)).act.changed
        await queue.pause("idle", reason="moving house")
        assert "moving house" == (await there.pauses())[0].reason
        await queue.set_limit("idle", concurrency=2)
        assert 2 == (await there.limits())[0].concurrency
        await queue.schedules.add("nightly", "later", at="03:00")
        assert ["nightly"] == [info.name for info in await there.schedules.list()]


async def test_workers_are_added_there(there: TaskQueue) -> None:
    async with at(there) as queue:
        backend = await inside(queue).access.backend()
        assert (2, 5) == (
            await backend.add_workers("default", 1),
            await backend.add_workers("x", 5),
        )
    assert {"default": 2, "x": 5} == {name: len(found) for name, found in there.workers.items()}


async def test_a_key_that_is_taken_is_taken_from_here_too(there: TaskQueue) -> None:
    async with at(there) as queue:
        await there.enqueue("later", unique_key="k")
        with pytest.raises(UniqueKeyConflictError):
            await queue.enqueue("later", unique_key="k", on_conflict=OnConflict.RAISE)


@pytest.mark.parametrize(
    "doing",
    [
        lambda queue: queue.start_workers(),
        lambda queue: queue.start_scheduler(),
        lambda queue: queue.backup("copy.duckdb"),
        lambda queue: queue.sql("select 1", limit=None),
    ],
    ids=["workers", "scheduler", "backup", "all rows"],
)
async def test_what_needs_the_file_is_refused_with_the_reason(
    there: TaskQueue, doing: Callable[[TaskQueue], Awaitable[Any]]
) -> None:
    async with at(there) as queue:
        with pytest.raises(InvalidCallError, match=r"machine that has|on another machine"):
            await doing(queue)


async def test_what_somebody_types_is_asked_there_of_a_copy(there: TaskQueue) -> None:
    await there.enqueue_ids("later", [() for _ in range(3)], {})
    async with at(there) as queue:
        found = await queue.typed_sql("select id, ? as two from tasks order by id", 2, limit=2)
        assert ["id", "two"] == list(found.columns)
        assert [2, 2] == [row["two"] for row in found]
        assert found.truncated
        assert found.moment is not None
        with pytest.raises(QueryError, match="nothing_such"):
            await queue.typed_sql("select * from nothing_such")
        wrong = [["select 1", [], 0], ["select 1", [], "5"], ["select 1"], [5], []]
        backend = await inside(queue).access.backend()
        for params in wrong:
            with pytest.raises(InvalidCallError):
                await backend.ask(5.0, "typed_sql", params)  # type: ignore[attr-defined]
    asked = [json.loads(act.detail) for act in await there.acts(5) if act.verb == "sql"]
    assert {"query": "select * from nothing_such"} in asked
    async with at(there, Role.OPERATE) as queue:
        with pytest.raises(StorageError, match="needs the role admin"):
            await queue.typed_sql("select 1")


@pytest.mark.parametrize("form", ["--csv", "--json", None])
async def test_the_command_asks_in_sql_at_an_address(there: TaskQueue, form: str | None) -> None:
    await there.enqueue_ids("later", [() for _ in range(3)], {})
    words = ["sql", "select count(*) as waiting from tasks", *([form] if form else [])]
    async with served(rest_app(there, Role.ADMIN)) as url:
        answer = await asyncio.to_thread(call, *words, "--database", url)
    assert (0, True) == (answer.code, "As of" in answer.err)
    assert "3" in answer.out


@pytest.mark.parametrize(
    "words",
    [
        *("doctor", "compact", "backup x.duckdb", "restore x.duckdb", "export x", "archive x"),
        *("db current", "db check", "db upgrade", "db accept", "web"),
    ],
)
def test_a_command_that_is_about_a_file_says_so_at_an_address(
    words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for given in (["--database", "https://queue.example"], []):
        monkeypatch.setenv("WOPR_TASKS_DATABASE", "" if given else "https://queue.example")
        answer = call(*words.split(), *given)
        assert (2, "") == (answer.code, answer.out)
        assert "https://queue.example is the address of a queue" in answer.err
        assert "the machine that has its file" in answer.err or "another machine has" in answer.err
    assert [] == list(tmp_path.iterdir())


async def test_a_question_in_sql_is_noted_and_one_of_wopr_is_not(there: TaskQueue) -> None:
    async with at(there) as queue:
        await queue.sql("select 1")
        await queue.sql(NEWEST_TRANSITION)
    [act] = await there.acts()
    assert ("sql", "ada", {"query": "select 1"}) == (act.verb, act.who, json.loads(act.detail))


async def test_who_may_not_ask_in_sql_is_told_so_and_may_operate(there: TaskQueue) -> None:
    async with at(there, Role.OPERATE) as queue:
        assert 3 == await (await queue.enqueue("add", (2,))).result(timeout=PATIENCE)
        with pytest.raises(StorageError, match="needs the role admin; ada has operate"):
            await queue.sql("select 1")
        with pytest.raises(StorageError, match="needs the role admin; ada has operate"):
            await queue.tasks.where("true").count()


async def test_only_an_admin_makes_a_token_from_elsewhere(there: TaskQueue) -> None:
    async with at(there, Role.OPERATE) as queue:
        core = inside(queue)
        rule = new_token("eve", Role.ADMIN, bytes(32), core.clock.now(), None)[1].to_rule()
        rules = (await core.writer()).rules
        for call in (
            lambda: create_token(core, "eve", Role.ADMIN, None),
            lambda: rules.save([rule]),
            lambda: rules.merge(rule),
            lambda: rules.all(RuleKind.TOKEN),
            lambda: revoke_token(core, "eve"),
        ):
            with pytest.raises(StorageError, match="Access tokens need the role admin"):
                await call()
        assert [] == await access_tokens(inside(there))
        await queue.set_limit("token", concurrency=1)  # a category of that name
    async with at(there) as queue:
        assert (await create_token(inside(queue), "eve", Role.READ, None))[0].startswith("wopr_")


@pytest.mark.parametrize(
    ("verb", "shaped"),
    [
        ("rules_merge", tuple),
        ("rules_save", lambda row: [tuple(row)]),
        ("rules_save", lambda row: [dict.fromkeys(row)]),
    ],
    ids=["merged", "saved", "keys"],
)
async def test_a_rule_of_another_form_is_none(
    there: TaskQueue, verb: str, shaped: Callable[[list[Any]], Any]
) -> None:
    async with at(there, Role.OPERATE) as queue:
        core = inside(queue)
        rule = new_token("eve", Role.ADMIN, bytes(32), core.clock.now(), None)[1].to_rule()
        backend = await core.writer()
        assert isinstance(backend, HttpBackend)
        with pytest.raises((InvalidCallError, StorageError)):
            await backend.ask(PATIENCE, verb, [shaped(rule_to_plain(rule))])
        assert [] == await access_tokens(inside(there))


@pytest.mark.parametrize(
    ("verb", "params"), [(["add"], []), ("sql", [["select 1"]]), ("sql", [{"a": 1}])]
)
async def test_what_is_no_verb_and_no_question_is_refused(
    there: TaskQueue, verb: Any, params: list[Any]
) -> None:
    async with at(there, Role.OPERATE) as queue:
        backend = await inside(queue).writer()
        assert isinstance(backend, HttpBackend)
        with pytest.raises((InvalidCallError, StorageError), match=r"There is no verb|role admin"):
            await backend.ask(PATIENCE, verb, params)


@pytest.mark.parametrize("form", ["list", "tuple", "dict", "frozenset"])
async def test_no_form_of_a_rule_makes_an_operator_an_admin(there: TaskQueue, form: str) -> None:
    core = inside(there)
    rule = new_token("eve", Role.ADMIN, bytes(32), core.clock.now(), None)[1].to_rule()
    row: list[Any] = [rule.kind.value, rule.name, rule.value]
    row.append({"$type": "datetime", "value": rule.updated_at.isoformat()})
    value = [[key, 0] for key in row] if form == "dict" else row
    sent = row if form == "list" else {"$type": form, "value": value}
    token = await token_of(there, role=Role.OPERATE)
    async with browser(create_app(there), headers=bearer(token)) as client:
        for verb, params in (("rules_save", [[sent]]), ("rules_merge", [sent])):
            said = {"verb": verb, "params": params}
            assert (await client.post("/api/v1/carry", json=said)).status_code in {403, 422}
        asked = {"verb": "sql", "params": [["select 1"], [], 1, 1.0]}
        assert 403 == (await client.post("/api/v1/carry", json=asked)).status_code
    assert ["ada"] == [one.name for one in await access_tokens(core)]


async def test_only_an_admin_deletes_what_happened(there: TaskQueue) -> None:
    message = {"verb": "cleanup", "params": [{"$type": "datetime", "value": "2030-01-01"}, False]}
    for role, status in ((Role.OPERATE, 403), (Role.ADMIN, 200)):
        headers = bearer(await token_of(there, role, role))
        async with browser(create_app(there), headers=headers) as client:
            assert status == (await client.post("/api/v1/carry", json=message)).status_code
            assert 422 == (await client.post("/api/v1/carry", json={"verb": []})).status_code


async def test_an_act_is_noted_as_of_the_token_whatever_is_said(there: TaskQueue) -> None:
    task = await there.enqueue("later")
    token = await token_of(there, role=Role.OPERATE)
    acts = RemoteActs(*[_carried(there, token)] * 3)
    change = Change(verb=Verb("set-priority"), priority=4)
    done = await acts.change(Selection(ids=(task.id,)), change, "key", "root", 30.0)
    undone = await acts.undo(done.act.number, "key2", "root")
    assert ["ada", "ada"] == [done.act.who, undone.act.who]


def _carried(there: TaskQueue, token: str) -> Callable[..., Awaitable[Any]]:
    async def call(verb: str, *params: Any) -> Any:
        async with browser(create_app(there), headers=bearer(token)) as client:
            message = protocol.encode({"verb": verb, "params": list(params)})
            answer = await client.post("/api/v1/carry", content=message)
            return protocol.decode(answer.content)["ok"]

    return call


async def test_a_message_of_too_many_parts_is_not_read(there: TaskQueue) -> None:
    token = await token_of(there, role=Role.OPERATE)
    async with browser(create_app(there), headers=bearer(token)) as client:
        many = b'{"verb":"hello","params":[' + b"[]," * MOST_LISTS + b"[]]}"
        answer = await client.post("/api/v1/carry", content=many)
    assert 413 == answer.status_code
    assert "was not read" in answer.text


async def test_who_may_only_read_carries_nothing(there: TaskQueue) -> None:
    with pytest.raises(StorageError, match=r"ada has read\. .* create NAME --role operate"):
        async with at(there, Role.READ):
            pass


@pytest.mark.parametrize("seconds", [None, 1e6])
async def test_one_request_waits_for_no_longer_than_a_minute(
    there: TaskQueue, monkeypatch: pytest.MonkeyPatch, seconds: float | None
) -> None:
    monkeypatch.setattr(carrying, "LONGEST_WAIT", 0.01)
    async with at(there) as queue:
        handle = await queue.enqueue("later")
        backend = await inside(queue).writer()
        assert isinstance(backend, HttpBackend)
        with pytest.raises(TimeoutError, match=r"did not end within 0\.01 s"):
            await backend.ask(PATIENCE, "wait", [handle.id, seconds])


async def test_a_wait_goes_on_in_the_next_request(
    there: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "WAIT_SECONDS", 0.01)
    async with at(there) as queue:
        handle = await queue.enqueue("later")
        with pytest.raises(TimeoutError, match=r"did not end within 0\.1 s"):
            await queue.wait(handle.id, timeout=0.1)
        waiting = asyncio.ensure_future(queue.wait(handle.id))
        await handle.cancel()
        assert TaskStatus.CANCELLED is (await waiting).status


async def test_a_call_whose_answer_was_lost_is_the_same_call_again(
    there: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PAUSES", (0.0, 0.0, 0.0))
    send, lost = httpx.AsyncHTTPTransport.handle_async_request, []

    async def cut(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        answer = await send(self, request)
        if b'"add"' in request.content and len(lost) < 2:
            lost.append(await answer.aread())
            raise httpx.RemoteProtocolError("the wire was cut")
        return answer

    async with at(there) as queue:
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", cut)
        handle = await queue.enqueue("add", (2,))
        assert 2 == len(lost)
        assert 3 == await handle.result(timeout=PATIENCE)
        assert 1 == (await there.get_task_stats())["total"]


@pytest.mark.parametrize("status", [502, 504])
async def test_an_act_that_a_proxy_lost_sight_of_is_not_done_twice(
    there: TaskQueue, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    monkeypatch.setattr(http, "PAUSES", (0.0, 0.0))
    send, lost = httpx.AsyncHTTPTransport.handle_async_request, []

    async def late(self: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        answer = await send(self, request)
        if b'"act_change"' in request.content or (b'"add"' in request.content and not lost):
            lost.append(await answer.aread())
            html = httpx.ByteStream(b"<html>whoever stands before it")
            return httpx.Response(status, stream=html)
        return answer

    async with at(there) as queue:
        monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", late)
        await (await queue.enqueue("later")).cancel()  # the same call, again
        with pytest.raises(OwnerGoneError, match=f"answers {status}.*not known whether"):
            await queue.tasks.where(name="later").run_again()
        assert 2 == (await there.get_task_stats())["total"]


async def test_who_waits_is_in_nobodys_way(
    there: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "WAIT_SECONDS", 45.0)
    monkeypatch.setattr(http, "MOST_CONNECTIONS", 1)
    monkeypatch.setattr(http, "MOST_WAITS", 1)
    monkeypatch.setattr(http, "CROWDED_SECONDS", 0.01)
    asked = asyncio.Event()
    wait = inside(there).access.local.wait  # type: ignore[union-attr]

    async def noticed(task_id: str, timeout: float | None) -> Any:
        asked.set()
        return await wait(task_id, timeout)

    monkeypatch.setattr(inside(there).access.local, "wait", noticed)
    async with at(there) as queue:
        first, second = [await queue.enqueue("later") for _ in range(2)]
        waiting = [asyncio.ensure_future(queue.wait(one.id)) for one in (first, second)]
        await asked.wait()
        await asyncio.wait_for(second.cancel(), PATIENCE)
        await first.cancel()
        assert {TaskStatus.CANCELLED} == {one.status for one in await asyncio.gather(*waiting)}


async def test_it_goes_on_when_who_serves_it_was_away(
    there: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "PAUSES", (0.0,))
    async with served(rest_app(there)) as url:
        queue = declared(TaskQueue(enabled=True, database=url))
        await queue.enqueue("later")
    with pytest.raises(StorageError, match="Nobody answers at http"):
        await queue.enqueue("later")
    with pytest.raises(StorageError, match="Nobody answers at http"):
        await TaskQueue(enabled=True, database=url).get_tasks()
    async with served(rest_app(there), int(url.rpartition(":")[2])):
        await queue.enqueue("later")
        await queue.shutdown()
    assert 2 == (await there.get_task_stats())["total"]


async def test_another_version_is_refused_by_name(
    there: TaskQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with served(rest_app(there)) as url:
        backend = HttpBackend(Address(url))
        ask = HttpBackend.ask

        async def older(self: HttpBackend, *asked: Any) -> Any:
            answer = await ask(self, *asked)
            return [4, *answer[1:]]

        monkeypatch.setattr(HttpBackend, "ask", older)
        with pytest.raises(StorageError, match=r"another version of wopr \(protocol 4, this one"):
            await backend.start()


@pytest.mark.parametrize("before", [":s3cret", "s3cret", "ada:s3cret"])
def test_an_address_shows_no_secret_and_sends_it(before: str) -> None:
    address = Address(f"https://{before}@queue.example/team?token=t0p")
    for text in (str(address), repr(address), f"{address}", str(address.absolute())):
        assert "s3cret" not in text
        assert "t0p" not in text
    assert "https://queue.example/team?token=***" == str(address)
    assert http._split(address.whole) == ("https://queue.example/team/api/v1/carry", "s3cret")
    assert address == Address(address.whole) != Address("https://queue.example/team")


async def test_an_answer_of_something_else_is_told_and_raises_nothing_else() -> None:
    backend = HttpBackend(Address("https://queue.example"))
    for text in (b'{"error": 5}', b'{"error": {"type": 5}}', b"[1]", b"<html>"):
        with pytest.raises(StorageError, match="refuses the call with 403"):
            await backend._read(httpx.Response(403), text, "get")


def answering(*answers: httpx.Response) -> Callable[..., httpx.AsyncClient]:
    """Return what makes clients that get these answers, one after the other."""
    left = list(answers)
    transport = httpx.MockTransport(lambda _: left.pop(0))
    return lambda *_: httpx.AsyncClient(transport=transport)


@pytest.mark.parametrize("said", ["5", "null", '["5", 7]', "[5]", '{"version": 5}'])
async def test_who_greets_otherwise_is_no_queue(monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    async def sent() -> AsyncIterator[bytes]:
        yield b'{"ok": %s}' % said.encode()

    greeting = httpx.Response(200, content=sent())
    monkeypatch.setattr(http, "_client", answering(greeting))
    with pytest.raises(StorageError, match="is no queue of wopr: it greets with"):
        await HttpBackend(Address("https://queue.example")).start()


async def test_no_more_is_read_of_an_answer_than_a_message_has(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while True:
            read += 1
            yield b" " * 1_000

    monkeypatch.setattr(protocol, "LONGEST_LINE", 10_000)
    packed = httpx.Response(200, headers={"content-encoding": "gzip"}, content=endless())
    long = httpx.Response(200, content=endless())
    monkeypatch.setattr(http, "_client", answering(packed, long))
    with pytest.raises(StorageError, match="answers in 'gzip', which was not asked for"):
        await HttpBackend(Address("https://queue.example")).start()
    assert 0 == read
    with pytest.raises(StorageError, match="more than 10,000 bytes"):
        await HttpBackend(Address("https://queue.example")).start()
    assert 11 == read


@pytest.mark.parametrize(
    ("address", "travels"),
    [
        ("https://queue.example", True),
        ("http://127.0.0.1:8800", True),
        ("http://[::1]:8800/team", True),
        ("http://localhost", True),
        ("http://queue.example", False),
        ("HTTP://10.0.0.5:8800", False),
        ("http://localhost.example", False),
    ],
)
def test_a_token_travels_to_another_machine_only_where_nobody_reads_it(
    monkeypatch: pytest.MonkeyPatch, address: str, travels: bool
) -> None:
    said = address.replace("://", "://:s3cret@")
    makers: list[Callable[[], object]] = [
        lambda: HttpBackend(Address(address), "s3cret"),
        lambda: HttpBackend(Address(said)),
        lambda: Client(address, "s3cret"),
        lambda: Client(said),
    ]
    for make in makers:
        if travels:
            make()
            continue
        with pytest.raises(InvalidCallError, match="WOPR_TASKS_TOKEN_OVER_HTTP=1") as refused:
            make()
        assert "s3cret" not in str(refused.value)
    HttpBackend(Address(address))  # without a token there is nothing to read
    HttpBackend(Address(said), token_over_http=True)
    monkeypatch.setenv("WOPR_TASKS_TOKEN_OVER_HTTP", "1")
    Client(said)


async def test_no_proxy_of_the_environment_stands_before_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # where nobody answers
    async with (
        TaskQueue(enabled=True, database=tmp_path / "tasks.duckdb") as queue,
        served(rest_app(queue)) as place,
        TaskQueue(enabled=True, database=place) as far,
    ):
        assert 0 == (await far.get_task_stats())["total"]
        with Client(place, "s3cret") as client:
            assert "Nothing is to be done." == (await asyncio.to_thread(client.status)).text


@pytest.mark.parametrize("user", [":s3cret", "s3cret", "ada:s3cret", "s3cret:", ""])
def test_a_token_in_an_address_is_sent_and_never_shown(user: str) -> None:
    address = Address(f"https://{user}@queue.example/team")
    assert "s3cret" not in f"{address} {address!r} {address.name} {address.parts}"
    token = http._split(address.whole)[1]
    assert (token or "s3cret") == "s3cret"


def test_the_setting_may_be_an_address_and_the_token_is_not_shown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WOPR_TASKS_DATABASE", "https://queue.example/team")
    monkeypatch.setenv("WOPR_TASKS_TOKEN", "s3cret")
    settings = Settings()
    assert Address("https://queue.example/team") == settings.database
    assert "s3cret" not in repr(settings)
    queue = TaskQueue(enabled=True, settings=settings)
    assert "https://queue.example/team" == str(queue.database)
    assert inside(queue).access.exists()


@pytest.mark.parametrize("text", ["http://127.0.0.1:8800.", "http://"])
async def test_an_address_of_no_server_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(StorageError, match=r"is no address of a server, so nothing was sent"):
        await TaskQueue(enabled=True, database=text).get_tasks()


async def test_an_empty_token_is_none(there: TaskQueue) -> None:
    async with served(rest_app(there)) as url:
        settings = Settings(enabled=True, token="")
        async with TaskQueue(database=url, settings=settings) as queue:
            assert 0 == (await queue.get_task_stats())["total"]


async def test_where_no_queue_is_served_it_is_said_so(there: TaskQueue) -> None:
    async with served(rest_app(there)) as url:
        with pytest.raises(StorageError, match=r"40[45].* No queue is served there: give the"):
            await TaskQueue(enabled=True, database=f"{url}/nowhere").get_tasks()
