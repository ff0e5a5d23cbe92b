"""What a Celery worker does with a message: of a queue, and of anybody else.

Each topic that the suite of an earlier bridge from task handlers to Celery has is answered:

========================================  ==========================================================
name, arguments and headers of a message  test_celery_sending: a_call_goes_by_its_name…
result, its value, waiting, many at once  test_celery_cluster, test_dispatch: a_plain_method_…
a call inside of a worker is direct       test_dispatch; here: a_method_calls_another_one…
methods without a mark, schedules only    test_dispatch: other_methods_and_those_that_only…
order of checks and dispatch              test_dispatch: who_calls_goes_along…
a trace: sent, none without one           test_celery_sending: a_trace_goes_along…
a trace: child, root, nothing left        here: the_context_of_a_run…
identity: sent, only if switched on       test_celery_sending: an_identity…; behaviour/auth
identity: no raw credential               test_celery_sending: an_identity…
identity: wrong type, no signer           behaviour/auth/test_snapshots
registration of tasks and schedules       here: all_tasks_of_a_queue…
async functions                           here: functions_of_both_kinds…
each decision about a protected task      here: who_may_not_run_it…; retry_of_a_check…
headers that are missing or no texts      here: headers_that_can_not_be_read…
tenant= of requirements                   behaviour/auth
eager tasks                               here: eager…
intervals, times of day, crontabs         test_celery_beat
weekdays (Monday went out as Sunday)      test_celery_beat: each_weekday…
settings and their defaults               test_celery_beat: the_settings…
a real broker                             test_celery_cluster
========================================  ==========================================================
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.backends.cache import _DUMMY_CLIENT_CACHE
from celery.exceptions import Ignore, Retry

from support import celery_shop as shop
from support.identities import ADA, BOB, auth_with
from support.queues import DuckDBHome, running
from wopr import InvalidCallError, TaskFailedError, TaskQueue
from wopr.auth import (
    AuthContext,
    AuthorizationDecision,
    Requirement,
    auth_context,
    require_permission,
)
from wopr.auth.snapshot import Call
from wopr.domain.errors import TaskRefusedError
from wopr.executors.context import running_task
from wopr.executors.told import remade
from wopr.integrations.celery import CeleryExecutor, register
from wopr.integrations.celery.mailbox import CallFailedError, Kind, ResultBackend, attempt_id

SECONDS = 60.0


@pytest.fixture
def app() -> Iterator[Celery]:
    made = Celery("shop", broker="memory://", backend="cache+memory://", set_as_current=False)
    yield made
    made.close()
    _DUMMY_CLIENT_CACHE.clear()


@pytest.fixture
def shopping(app: Celery) -> TaskQueue:
    queue = shop.stocked(TaskQueue(enabled=False, auth=auth_with()))
    register(app, queue)
    return queue


def name(what: str) -> str:
    return f"support.celery_shop.{what}"


HEADERS = {"wopr-id": "17", "wopr-attempt": "2", "wopr-category": "shop", "wopr-lease": "15"}


def deliver(app: Celery, what: str, *args: Any, id: str = "m1", **headers: Any) -> Any:
    """Run a message as a worker does, without one."""
    found = app.tasks[name(what)]
    found.push_request(id=id, headers={**HEADERS, **headers}, retries=0, is_eager=False)
    try:
        return found.run(*args)
    finally:
        found.pop_request()


def plain(app: Celery, what: str, *args: Any, **headers: Any) -> Any:
    """Run a message of anybody else."""
    found = app.tasks[name(what)]
    found.push_request(id="m2", headers=headers or None, retries=0, called_directly=False)
    try:
        return found.run(*args)
    finally:
        found.pop_request()


def signed(queue_auth: Any, who: AuthContext, *args: Any) -> str:
    call = Call(name("refund"), json.dumps(args), "{}")
    return str(queue_auth.snapshots.sign(who, call))


def left(app: Celery, id: str = "m1") -> tuple[Kind, Any]:
    """Return what a worker left word of."""
    word = ResultBackend(app).look([id]).get(id)
    assert word is not None
    return word.kind, json.loads(word.text)


# -- registration -----------------------------------------------------------------


def test_all_tasks_of_a_queue_are_celery_tasks_under_their_names(app: Celery) -> None:
    queue = shop.stocked(TaskQueue(enabled=False, auth=auth_with()))
    names = register(app, queue)
    assert {name("price"), name("Till.receipt"), name("Till.both")} <= set(names)
    assert set(names) <= set(app.tasks)
    price = app.tasks[name("price")]
    assert (True, False) == (price.acks_late, price.reject_on_worker_lost)
    queue.task(name="one more")(other)
    assert "one more" in register(app, queue)


def test_what_can_not_be_registered_is_said(app: Celery) -> None:
    with pytest.raises(InvalidCallError, match="found no task in the queue"):
        register(app, TaskQueue(enabled=False))
    queue = TaskQueue(enabled=False)
    app.task(name="theirs")(other)
    queue.task(name="theirs")(other)
    with pytest.raises(InvalidCallError, match="has a task 'theirs' that is not of this queue"):
        register(app, queue)
    with pytest.raises(InvalidCallError, match="takes a Celery app, not 'shop'"):
        register("shop", TaskQueue(enabled=False))  # type: ignore[arg-type]
    with pytest.raises(InvalidCallError, match="takes a TaskQueue, not 'shop'"):
        register(app, "shop")  # type: ignore[arg-type]


# -- messages of a queue ----------------------------------------------------------


def test_functions_of_both_kinds_run_and_leave_their_results(
    app: Celery, shopping: TaskQueue
) -> None:
    assert deliver(app, "price", 7, "2030-01-31", id="a") is None
    assert (Kind.DONE, [70, "2030-01-31"]) == left(app, "a")
    deliver(app, "price_async", 3, id="b")
    assert (Kind.DONE, 30) == left(app, "b")
    deliver(app, "Till.receipt", 4, id="c")
    assert (Kind.DONE, "receipt 4") == left(app, "c")


def test_a_method_calls_another_one_directly(app: Celery, shopping: TaskQueue) -> None:
    deliver(app, "Till.both", 4)
    assert (Kind.DONE, "both: receipt 4") == left(app)


def test_a_function_knows_its_task(app: Celery, shopping: TaskQueue) -> None:
    deliver(app, "who", **{"wopr-context": '{"tenant": "engines"}'})
    kind, me = left(app)
    assert (Kind.DONE, ["17", name("who"), "shop", 2]) == (kind, me[:4])
    assert "engines" == me[5]


def test_the_context_of_a_run_is_its_own_and_nothing_is_left_of_it(
    app: Celery, shopping: TaskQueue
) -> None:
    token = shop.tenant.set("of the worker")
    deliver(app, "who", id="a")
    assert left(app, "a")[1][5] is None  # not the worker's
    deliver(app, "who", id="b", **{"wopr-context": '{"tenant": "engines"}'})
    deliver(app, "who", id="c")
    assert left(app, "c")[1][5] is None  # nor that of the run before
    assert ("of the worker", None) == (shop.tenant.get(), running_task())
    with pytest.raises(CallFailedError):
        deliver(app, "broken", 9, id="d", **{"wopr-context": '{"tenant": "engines"}'})
    assert "of the worker" == shop.tenant.get()
    shop.tenant.reset(token)


def test_a_trace_is_that_of_the_message_or_a_new_one(app: Celery) -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider

    from wopr.service.tracing import instrument

    queue, provider = TaskQueue(enabled=False), TracerProvider()
    tracer = provider.get_tracer("test")

    def traced() -> list[str]:
        with tracer.start_as_current_span("inside") as span:
            context, parent = span.get_span_context(), span.parent  # type: ignore[attr-defined]
        return [f"{context.trace_id:032x}", "" if parent is None else f"{parent.span_id:016x}"]

    queue.task(name=name("traced"))(traced)
    instrument(queue, provider)
    register(app, queue)
    header = f"00-{'ab' * 16}-{'cd' * 8}-01"
    deliver(app, "traced", id="a", traceparent=header)
    assert ["ab" * 16, "cd" * 8] == left(app, "a")[1]  # a child
    deliver(app, "traced", id="b")
    found = left(app, "b")[1]
    assert (True, "") == (found[0] != "ab" * 16, found[1])  # a root
    assert not trace.get_current_span().get_span_context().is_valid


def test_an_error_travels_as_text_with_its_type(app: Celery, shopping: TaskQueue) -> None:
    with pytest.raises(CallFailedError, match="ShopError: order 9 has no price") as caught:
        deliver(app, "broken", 9)
    again = remade(json.loads(caught.value.args[1]), "broken")
    assert (shop.ShopError, ("order 9 has no price",)) == (type(again), again.args)


def test_an_exit_of_a_function_is_an_error_and_one_of_the_worker_is_none(app: Celery) -> None:
    queue = TaskQueue(enabled=False)

    def leave(code: int) -> None:
        raise SystemExit(code)

    queue.task(name=name("leave"))(leave)
    register(app, queue)
    with pytest.raises(CallFailedError, match="SystemExit: 3"):
        deliver(app, "leave", 3, id="a")
    with pytest.raises(SystemExit):
        deliver(app, "leave", -241, id="b")


@pytest.mark.parametrize("before", ["begun", "done", "stop", "next attempt"])
def test_a_message_that_was_delivered_before_or_is_taken_back_is_dropped(
    app: Celery, shopping: TaskQueue, before: str
) -> None:
    box = ResultBackend(app)
    if before == "stop":
        box.stop("m1")
    elif before == "next attempt":
        box.stop(attempt_id("17", 2))  # by a process that does not know of this message
    else:
        getattr(box, before)("m1", "{}")
    with pytest.raises(Ignore):
        deliver(app, "price_async", 3)


@pytest.mark.parametrize("what", ["m1", attempt_id("17", 2)])
def test_a_function_gives_signs_of_life_reports_and_learns_that_it_is_to_stop(
    app: Celery, tmp_path: Any, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    monkeypatch.setattr("wopr.integrations.celery.pulse.LOOK_SECONDS", 0.01)
    beats: list[dict[str, Any]] = []
    stopped = threading.Event()

    class Box(ResultBackend):
        def begun(self, id: str, text: str) -> None:
            beats.append(json.loads(text))

        def stopped(self, id: str) -> bool:
            if len(beats) > 3 and beats[-1]["report"]:
                stopped.set()
            return stopped.is_set() and id == what

    queue = shop.stocked(TaskQueue(enabled=False, auth=auth_with()))
    register(app, queue, mailbox=Box(app))
    deliver(app, "until_told", str(tmp_path), **{"wopr-lease": "0.03"})
    assert (tmp_path / "stopped").exists()
    assert [1, 2, 3] == [one["beat"] for one in beats[:3]]
    assert [40, "half way"] == beats[-1]["report"][:2]


def test_a_resource_is_refused_there(app: Celery) -> None:
    queue = TaskQueue(enabled=False)

    class Connection: ...

    @queue.resource(provides=Connection)
    def connection() -> Iterator[Connection]:
        yield Connection()

    def use(connection: Connection) -> None: ...

    use.__annotations__["connection"] = Connection
    queue.task(name=name("use"))(use)
    register(app, queue)
    with pytest.raises(CallFailedError, match="needs a resource"):
        deliver(app, "use")


# -- who may run it ---------------------------------------------------------------


def test_who_may_run_it_runs_it(app: Celery, shopping: TaskQueue) -> None:
    auth = shopping.auth
    deliver(app, "refund", 5, **{"wopr-identity": signed(auth, ADA, 5)})
    assert (Kind.DONE, "5 by ada") == left(app)


@pytest.mark.parametrize(
    ("who", "args", "words"),
    [
        (None, (5,), "CHALLENGE"),
        (ADA, (6,), "made for another call"),
        (BOB, (5,), "DENY"),
    ],
)
def test_who_may_not_run_it_is_refused_and_that_is_not_retried(
    app: Celery, shopping: TaskQueue, who: AuthContext | None, args: tuple[int], words: str
) -> None:
    headers = {} if who is None else {"wopr-identity": signed(shopping.auth, who, *args)}
    with pytest.raises(CallFailedError) as caught:
        deliver(app, "refund", 5, **headers)
    refused = remade(json.loads(caught.value.args[1]), "refund")
    assert isinstance(refused, TaskRefusedError)
    assert not refused.retryable
    assert words.lower() in str(refused).lower()
    with pytest.raises(TaskRefusedError):
        plain(app, "refund", 5, **headers)


def test_an_identity_that_nobody_set_is_none(app: Celery, shopping: TaskQueue) -> None:
    with auth_context(ADA), pytest.raises(CallFailedError):  # of the worker's own process
        deliver(app, "refund", 5)


def other(order: int) -> int:
    return order


@require_permission("refund")
def permitted(order: int) -> int:
    return order


def test_a_check_that_got_no_answer_is_worth_a_retry(app: Celery) -> None:
    async def away(requirement: Requirement, who: AuthContext) -> AuthorizationDecision:
        raise OSError("the policy service is away")

    auth = auth_with(decide=away)
    queue = shop.stocked(TaskQueue(enabled=False, auth=auth))
    queue.task(name=name("permitted"))(permitted)
    register(app, queue)
    call = Call(name("permitted"), "[5]", "{}")
    headers = {"wopr-identity": str(auth.snapshots.sign(BOB, call))}
    with pytest.raises(CallFailedError) as caught:
        deliver(app, "permitted", 5, **headers)
    refused = remade(json.loads(caught.value.args[1]), "permitted")
    assert isinstance(refused, TaskRefusedError)
    assert refused.retryable
    with pytest.raises(Retry):  # of Celery, where no queue waits
        plain(app, "permitted", 5, **headers)


# -- messages of anybody else -----------------------------------------------------


def test_a_message_of_anybody_else_is_a_plain_celery_task(app: Celery, shopping: TaskQueue) -> None:
    assert [70, "2030-01-31"] == plain(app, "price", 7, "2030-01-31")
    assert 30 == plain(app, "price_async", 3)
    with pytest.raises(shop.ShopError):
        plain(app, "broken", 9)
    assert {} == ResultBackend(app).look(["m2"])


@pytest.mark.parametrize(
    "headers",
    [
        {"wopr-id": 17, "wopr-lease": 15},
        {"wopr-id": "17", "wopr-lease": "for ever"},
        {"wopr-id": "17", "wopr-lease": "1e9"},
        {"wopr-context": "{", "wopr-holes": "[]", "traceparent": 3},
    ],
)
def test_headers_that_can_not_be_read_are_not_there(
    app: Celery, shopping: TaskQueue, headers: dict[str, Any]
) -> None:
    assert 30 == plain(app, "price_async", 3, **headers)


async def test_eager_tasks_run_in_the_queues_own_process(app: Celery, tmp_path: Any) -> None:
    app.conf.task_always_eager = True
    queue = shop.stocked(DuckDBHome(tmp_path / "q.duckdb").queue(auth=auth_with()))
    queue.category("shop", executor=CeleryExecutor(app))
    register(app, queue)
    async with running(queue, shop=1):
        shop.tenant.set("engines")
        handle = await queue.enqueue(shop.who)
        me = await handle.result(SECONDS)
        assert (handle.id, "engines") == (me[0], me[5])
        with auth_context(ADA):
            assert "5 by ada" == await (await queue.enqueue(shop.refund, (5,))).result(SECONDS)
            after = await queue.enqueue_flow(shop.price_async.s(4) | shop.refund.s())
        assert "40 by ada" == await after.result(SECONDS)  # what a parent left is no part of a mark
        failed = await queue.enqueue(shop.broken, (9,))
        with pytest.raises(TaskFailedError, match="order 9 has no price"):
            await failed.result(SECONDS)
