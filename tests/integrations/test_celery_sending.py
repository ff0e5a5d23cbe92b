"""What is sent to a Celery cluster, and what is made of the word that comes back."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from tenacity import wait_none

from support import celery_shop as shop
from support.identities import ADA, auth_with
from support.postgres import empty_database, need_server
from support.queues import DuckDBHome, PostgresHome, SteppableClock, running, until
from wopr import (
    InvalidCallError,
    ProcessDiedError,
    TaskCancelledError,
    TaskFailedError,
    TaskQueue,
    TaskStatus,
)
from wopr.auth import auth_context
from wopr.executors.told import tell
from wopr.integrations.celery import CeleryExecutor, ResultBackend
from wopr.integrations.celery.mailbox import Kind, Word

SECONDS = 60.0


class Box:
    """A mailbox in memory that the test writes into."""

    def __init__(self) -> None:
        self.words: dict[str, Word] = {}
        self.stops: list[str] = []
        self.forgotten: list[str] = []
        self.broken: Exception | None = None

    def look(self, ids: Sequence[str]) -> Mapping[str, Word]:
        if self.broken is not None:
            raise self.broken
        return {id: self.words[id] for id in ids if id in self.words}

    def begun(self, id: str, text: str) -> None:
        self.words[id] = Word(Kind.BEGUN, text)

    def done(self, id: str, text: str) -> None:
        self.words[id] = Word(Kind.DONE, text)

    def raised(self, id: str, text: str) -> None:
        self.words[id] = Word(Kind.RAISED, text)

    def stop(self, id: str) -> None:
        self.stops.append(id)

    def stopped(self, id: str) -> bool:
        return id in self.stops

    def forget(self, id: str) -> None:
        self.forgotten.append(id)


class Control:
    """What is told to all workers."""

    def __init__(self) -> None:
        self.revoked: list[tuple[str, dict[str, Any]]] = []
        self.pongs: list[Any] = []
        self.heard = threading.Semaphore(0)

    def revoke(self, id: str, **options: Any) -> None:
        self.revoked.append((id, options))
        self.heard.release()

    def ping(self, timeout: float) -> list[Any]:
        return self.pongs


class Cluster(Celery):
    """An app whose messages go nowhere; ``answer`` says at once what becomes of each."""

    def __init__(self, box: Box) -> None:
        super().__init__(
            "shop", broker="memory://", backend="cache+memory://", set_as_current=False
        )
        self.box = box
        self.sent: list[dict[str, Any]] = []
        self.told = Control()
        self.answer: Callable[[dict[str, Any]], Word | None] = lambda message: None
        self.broken: Exception | None = None
        self.refused = threading.Event()

    @property
    def control(self) -> Control:
        return self.told

    def send_task(self, name: str, **options: Any) -> None:
        if self.broken is not None:
            self.refused.set()
            raise self.broken
        self.sent.append({"name": name, **options})
        word = self.answer(self.sent[-1])
        if word is not None:
            self.box.words[options["task_id"]] = word


@pytest.fixture
def home(tmp_path: Path) -> DuckDBHome:
    return DuckDBHome(tmp_path / "q.duckdb")


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
def cluster(box: Box) -> Iterator[Cluster]:
    app = Cluster(box)
    yield app
    app.close()


def queue_on(
    home: DuckDBHome, cluster: Cluster, *, clock: Any = None, **options: Any
) -> tuple[TaskQueue, CeleryExecutor]:
    queue = shop.stocked(home.queue(auth=auth_with()))
    executor = CeleryExecutor(cluster, mailbox=cluster.box, clock=clock, **options)
    queue.category("shop", executor=executor)
    return queue, executor


def done(value: object) -> Callable[[dict[str, Any]], Word]:
    return lambda message: Word(Kind.DONE, json.dumps(value))


async def test_a_call_goes_by_its_name_with_plain_arguments_and_what_it_is_in_its_headers(
    home: DuckDBHome, cluster: Cluster
) -> None:
    cluster.answer = done([70, "2030-01-31"])
    queue, _ = queue_on(home, cluster)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.price, (7,), {"day": date(2030, 1, 31)})
        assert (70, date(2030, 1, 31)) == await handle.result(SECONDS)
    [sent] = cluster.sent
    assert "support.celery_shop.price" == sent["name"]
    assert ([7], {"day": "2030-01-31"}) == (sent["args"], sent["kwargs"])
    assert "json" == sent["serializer"]
    assert "shop" == sent["queue"]  # the category
    assert sent["task_id"].startswith(f"{handle.id}.1.")
    assert {
        "wopr-id": handle.id,
        "wopr-attempt": "1",
        "wopr-category": "shop",
        "wopr-lease": "15",
    } == sent["headers"]
    assert [sent["task_id"]] == cluster.box.forgotten


async def test_an_identity_and_context_variables_go_along_and_no_credential(
    home: DuckDBHome, cluster: Cluster
) -> None:
    cluster.answer = done("5 by ada")
    queue, _ = queue_on(home, cluster)
    async with running(queue, shop=1):
        shop.tenant.set("engines")
        with auth_context(ADA):
            await (await queue.enqueue(shop.refund, (5,))).result(SECONDS)
    headers = cluster.sent[0]["headers"]
    assert 3 == len(headers["wopr-identity"].split("."))  # a signed token
    assert {"tenant": "engines"} == json.loads(headers["wopr-context"])
    assert all(isinstance(value, str) for value in headers.values())
    assert "raw-credential" not in json.dumps(cluster.sent)


async def test_a_trace_goes_along_if_there_is_one(home: DuckDBHome, cluster: Cluster) -> None:
    from opentelemetry.sdk.trace import TracerProvider

    from wopr.service.tracing import instrument

    cluster.answer = done(1)
    queue, _ = queue_on(home, cluster)
    provider = TracerProvider()
    instrument(queue, provider)
    async with running(queue, shop=1):
        with provider.get_tracer("test").start_as_current_span("request") as span:
            await (await queue.enqueue(shop.price_async, (1,))).result(SECONDS)
        await (await queue.enqueue(shop.price_async, (1,))).result(SECONDS)
    trace = f"{span.get_span_context().trace_id:032x}"
    first, second = (sent["headers"]["traceparent"] for sent in cluster.sent)
    assert trace in first
    assert trace not in second  # a root of its own: the run of the attempt


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        (lambda task: "fast", {"queue": "fast"}),
        (lambda task: {"queue": task.category, "priority": 3}, {"queue": "shop", "priority": 3}),
        (lambda task: None, {}),
    ],
)
async def test_a_function_may_say_where_a_task_goes(
    home: DuckDBHome, cluster: Cluster, route: Any, expected: dict[str, Any]
) -> None:
    cluster.answer = done(1)
    queue, _ = queue_on(home, cluster, queue_of=route)
    async with running(queue, shop=1):
        await (await queue.enqueue(shop.price_async, (1,))).result(SECONDS)
    [sent] = cluster.sent
    assert expected == {key: sent[key] for key in ("queue", "priority") if key in sent}


async def test_a_route_that_is_none_fails_the_attempt_with_a_word_about_it(
    home: DuckDBHome, cluster: Cluster
) -> None:
    queue, _ = queue_on(home, cluster, queue_of=lambda task: 3)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.price_async, (1,))
        with pytest.raises(TaskFailedError, match="queue_of= of <CeleryExecutor shop> said 3"):
            await handle.result(SECONDS)
    assert [] == cluster.sent


async def test_a_timeout_is_known_there_too_and_what_waits_for_long_expires_there(
    home: DuckDBHome, cluster: Cluster
) -> None:
    cluster.answer = done(1)
    queue, _ = queue_on(home, cluster, begin_within=120)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.price_async, (1,), timeout=30)
        await handle.result(SECONDS)
    assert (35.0, 120.0) == (cluster.sent[0]["time_limit"], cluster.sent[0]["expires"])


async def test_an_error_there_is_the_tasks_own(home: DuckDBHome, cluster: Cluster) -> None:
    told = json.dumps(tell(shop.ShopError("order 9 has no price")))
    cluster.answer = lambda message: Word(Kind.RAISED, told)
    queue, _ = queue_on(home, cluster)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.broken, (9,))
        with pytest.raises(TaskFailedError, match="order 9 has no price"):
            await handle.result(SECONDS)
        assert "support.celery_shop.ShopError" == (await handle.info()).error_type


async def test_the_next_attempt_stops_what_may_be_left_of_the_last_one(
    home: DuckDBHome, cluster: Cluster
) -> None:
    told = json.dumps(tell(shop.ShopError("order 9 has no price")))
    cluster.answer = lambda message: Word(Kind.RAISED, told)
    queue, _ = queue_on(home, cluster)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.broken, (9,), max_retries=1, retry=wait_none())
        with pytest.raises(TaskFailedError):
            await handle.result(SECONDS)
    assert ["1", "2"] == [sent["headers"]["wopr-attempt"] for sent in cluster.sent]
    assert [f"{handle.id}.1"] == cluster.box.stops


# -- word that comes, and word that does not --------------------------------------


class Attempt:
    """One call on its way, without a queue."""

    def __init__(self, cluster: Cluster, clock: SteppableClock, **options: Any) -> None:
        from support.calls import call

        self.executor = CeleryExecutor(cluster, mailbox=cluster.box, clock=clock, **options)
        self.call = call(shop.price_async.function, 1, name="price")
        self.clock, self.cluster = clock, cluster
        self.sending = self.executor.send(self.call)

    def seen(self, kind: Kind = Kind.NOTHING, text: str = "") -> bool:
        return self.sending.seen(Word(kind, text), self.clock.monotonic())

    def error(self) -> BaseException:
        error = self.sending.future.exception(SECONDS)
        assert error is not None
        return error


@pytest.fixture
def clock() -> SteppableClock:
    return SteppableClock()


def attempt(cluster: Cluster, clock: SteppableClock, **options: Any) -> Attempt:
    """Return a call that was sent, and that nobody but the test looks after."""
    there = threading.Event()
    cluster.answer = lambda message: there.set()  # type: ignore[assignment,return-value]
    made = Attempt(cluster, clock, **options)
    assert there.wait(SECONDS)
    return made


def told_to_stop(cluster: Cluster) -> list[tuple[str, dict[str, Any]]]:
    """Return what was revoked, once it was: that goes through a thread of its own."""
    assert cluster.told.heard.acquire(timeout=SECONDS)
    return cluster.told.revoked


def test_silence_of_a_worker_is_measured_from_its_last_sign_of_life(
    cluster: Cluster, clock: SteppableClock
) -> None:
    one = attempt(cluster, clock, lease=10)
    assert one.seen(Kind.BEGUN, '{"beat": 1}')
    clock.advance(9)
    assert one.seen(Kind.BEGUN, '{"beat": 2}')
    clock.advance(9)
    assert not one.seen(Kind.BEGUN, '{"beat": 2}')
    clock.advance(2)
    assert one.seen(Kind.BEGUN, '{"beat": 2}')
    assert isinstance(one.error(), ProcessDiedError)
    assert "gave no sign of life for 10 s" in str(one.error())
    [(id, how)] = told_to_stop(cluster)
    assert (one.sending.id, {"terminate": True, "signal": "SIGTERM"}) == (id, how)


def test_silence_does_not_count_while_nobody_can_look(
    cluster: Cluster, clock: SteppableClock
) -> None:
    one = attempt(cluster, clock, lease=10)
    one.seen(Kind.BEGUN, '{"beat": 1}')
    clock.advance(60)
    one.sending.excuse(clock.monotonic())
    assert not one.seen(Kind.BEGUN, '{"beat": 1}')


def test_a_message_that_does_not_begin_is_taken_back_and_costs_no_retry(
    cluster: Cluster, clock: SteppableClock
) -> None:
    one = attempt(cluster, clock, begin_within=30)
    clock.advance(29)
    assert not one.seen()
    clock.advance(2)
    assert one.seen()
    assert "no worker began it within 30 s" in str(one.error())
    assert "RunnerRefusedError" == type(one.error()).__name__
    assert [(one.sending.id, {})] == told_to_stop(cluster)


@pytest.mark.parametrize(
    ("kind", "text", "error", "words"),
    [
        (
            Kind.UNKNOWN,
            "price",
            "RunnerRefusedError",
            "its worker has no task 'price'. Do register",
        ),
        (Kind.REVOKED, "expired", "RunnerRefusedError", "was revoked before it began (expired)"),
        (
            Kind.LOST,
            "WorkerLostError: gone.",
            "ProcessDiedError",
            "not known: WorkerLostError: gone.",
        ),
    ],
)
def test_what_celery_itself_says_of_a_message(
    cluster: Cluster, clock: SteppableClock, kind: Kind, text: str, error: str, words: str
) -> None:
    one = attempt(cluster, clock)
    one.seen(kind, text)
    assert (error, True) == (type(one.error()).__name__, words in str(one.error()))


async def test_word_that_makes_no_sense_is_the_end_of_one_call(
    home: DuckDBHome, cluster: Cluster
) -> None:
    def answer(message: dict[str, Any]) -> Word:
        odd = message["args"] == [1]
        return Word(Kind.RAISED, "{") if odd else Word(Kind.DONE, "20")

    cluster.answer = answer
    queue, _ = queue_on(home, cluster)
    async with running(queue, shop=2):
        odd = await queue.enqueue(shop.price_async, (1,))
        good = await queue.enqueue(shop.price_async, (2,))
        with pytest.raises(TaskFailedError, match="what its worker left can't be read"):
            await odd.result(SECONDS)
        assert 20 == await good.result(SECONDS)


async def test_a_queue_on_postgresql_sends_as_well(cluster: Cluster) -> None:
    need_server()
    cluster.answer = done(10)
    queue = shop.stocked(PostgresHome(empty_database()).queue(auth=auth_with()))
    queue.category("shop", executor=CeleryExecutor(cluster, mailbox=cluster.box))
    async with running(queue, shop=1):
        cluster.broken = ConnectionError("no broker")
        handle = await queue.enqueue(shop.price_async, (1,))
        assert await asyncio.to_thread(cluster.refused.wait, SECONDS)
        cluster.broken = None
        assert 10 == await handle.result(SECONDS)
        assert 0 == (await handle.info()).retry_count


def test_a_running_message_that_somebody_else_revokes_is_lost(
    cluster: Cluster, clock: SteppableClock
) -> None:
    one = attempt(cluster, clock)
    one.seen(Kind.BEGUN, '{"beat": 1}')
    one.seen(Kind.REVOKED, "terminated")
    assert isinstance(one.error(), ProcessDiedError)


def test_a_stopped_message_is_revoked_once_and_nothing_is_heard_of_it_any_more(
    cluster: Cluster, clock: SteppableClock
) -> None:
    one = attempt(cluster, clock, terminate=False)
    one.seen(Kind.BEGUN, '{"beat": 1}')
    one.sending.stop()
    one.sending.stop()
    assert [(one.sending.id, {})] == told_to_stop(cluster)
    assert ["17.1", one.sending.id] == cluster.box.stops
    assert one.sending.over


async def test_a_cancelled_task_is_revoked(home: DuckDBHome, cluster: Cluster) -> None:
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()

    def answer(message: dict[str, Any]) -> Word:
        loop.call_soon_threadsafe(begun.set)
        return Word(Kind.BEGUN, '{"beat": 1}')

    cluster.answer = answer
    queue, _ = queue_on(home, cluster)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.price_async, (1,))
        async with asyncio.timeout(SECONDS):
            await begun.wait()
        assert await handle.cancel()
        with pytest.raises(TaskCancelledError):
            await handle.result(SECONDS)
    assert cluster.sent[0]["task_id"] == (await asyncio.to_thread(told_to_stop, cluster))[0][0]


async def test_a_broker_that_is_away_holds_the_tasks_and_they_go_on_once_it_is_back(
    home: DuckDBHome,
    cluster: Cluster,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("wopr.engine.refusals.FIRST_WAIT", 0.001)
    monkeypatch.setattr("wopr.engine.refusals.LONGEST_WAIT", 0.01)
    cluster.broken = ConnectionError("no broker")
    queue, executor = queue_on(home, cluster)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.price_async, (1,))
        stats = await until(queue.get_task_stats, lambda seen: bool(seen["held"]))
        assert "<CeleryExecutor shop> takes no work" in stats["held"][0]["text"]
        assert "did not take its message: ConnectionError: no broker" in caplog.text
        assert TaskStatus.PENDING is await handle.status()
        cluster.broken, cluster.answer = None, done(10)
        cluster.told.pongs.append({"worker": "pong"})
        assert 10 == await handle.result(SECONDS)
        assert 0 == (await handle.info()).retry_count
    assert executor.refusal() is None
    cluster.told.pongs.clear()
    assert "no Celery worker answers" in str(executor.refusal())


async def test_a_result_backend_that_is_away_is_told_once_and_loses_nothing(
    home: DuckDBHome, cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.answer = done(10)
    cluster.box.broken = ConnectionError("no backend")
    queue, _ = queue_on(home, cluster)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.price_async, (1,))
        with caplog.at_level(logging.INFO, "wopr.celery"):
            async with asyncio.timeout(SECONDS):
                while not caplog.records:
                    await asyncio.sleep(0)
            cluster.box.broken = None
            assert 10 == await handle.result(SECONDS)
    said = [record.getMessage() for record in caplog.records if record.name == "wopr.celery"]
    assert ["can't be asked", "answers again"] == [
        next(part for part in ("can't be asked", "answers again") if part in line) for line in said
    ]


async def test_reports_of_a_function_are_those_of_its_task(
    home: DuckDBHome, cluster: Cluster
) -> None:
    said = {"beat": 1, "report": [40, "half way", {"rows": 3}]}
    cluster.answer = lambda message: Word(Kind.BEGUN, json.dumps(said))
    queue, _ = queue_on(home, cluster)
    async with running(queue, shop=1):
        handle = await queue.enqueue(shop.price_async, (1,))
        async with asyncio.timeout(SECONDS):
            while (info := await handle.info()).progress != 40:
                await asyncio.sleep(0)
        assert ("half way", {"rows": 3}) == (info.progress_message, info.progress_data)
        cluster.box.done(cluster.sent[0]["task_id"], "10")
        assert 10 == await handle.result(SECONDS)


# -- what is refused before anything is sent --------------------------------------


@pytest.mark.parametrize("backend", [None, "rpc://", "disabled://"])
def test_a_result_backend_that_tells_nobody_else_is_refused(backend: str | None) -> None:
    app = Celery("shop", broker="memory://", backend=backend, set_as_current=False)
    with pytest.raises(InvalidCallError, match="needs a result backend"):
        CeleryExecutor(app)
    with pytest.raises(InvalidCallError, match="needs a result backend"):
        ResultBackend.check(app)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"lease": 0}, "lease must be more than 0"),
        ({"lease": 100_000}, "more than a day"),
        ({"begin_within": "soon"}, "begin_within must be a number of seconds"),
        ({"queue_of": "fast"}, "queue_of= is a function of a task"),
    ],
)
def test_what_an_executor_is_told_is_checked(
    cluster: Cluster, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(InvalidCallError, match=words):
        CeleryExecutor(cluster, mailbox=cluster.box, **options)
    with pytest.raises(InvalidCallError, match="takes a Celery app, not 'shop'"):
        CeleryExecutor("shop")  # type: ignore[arg-type]


def test_a_soft_timeout_is_refused_where_it_is_declared(cluster: Cluster) -> None:
    queue = TaskQueue(enabled=False)
    executor = CeleryExecutor(cluster, mailbox=cluster.box)

    def slow() -> None: ...

    with pytest.raises(InvalidCallError, match=r"slow has soft_timeout=3.*<CeleryExecutor shop>"):
        queue.task(executor=executor, soft_timeout=3)(slow)
