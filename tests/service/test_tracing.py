"""Traces that go from the code that enqueues to each run of the task."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from tenacity import wait_none

from support.queues import PATIENCE, DuckDBHome, Gate, ended, running
from wopr import CurrentTask, InvalidCallError, TaskQueue, current_task
from wopr.queue.queue import inside
from wopr.service.tracing import instrument


class Traces:
    """A program's own provider, and what it exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer = self.provider.get_tracer("application")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Return those that have ended, in that order."""
        return list(self._exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        """Return those of one name."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """Return the only one of a name."""
        [span] = self.named(name)
        return span


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.provider.shutdown()


@pytest.fixture
def home(tmp_path: Path) -> DuckDBHome:
    return DuckDBHome(tmp_path / "tasks.duckdb")


@pytest.fixture
def queue(home: DuckDBHome, traces: Traces) -> TaskQueue:
    queue = home.queue()
    assert instrument(queue, traces.provider)
    return queue


def parent_of(span: ReadableSpan) -> tuple[int, int]:
    assert span.parent is not None
    return span.parent.trace_id, span.parent.span_id


def is_child(child: ReadableSpan, parent: ReadableSpan) -> bool:
    found = parent.get_span_context()
    return parent_of(child) == (found.trace_id, found.span_id)


async def test_a_run_is_a_child_of_the_call_that_enqueued_it(
    queue: TaskQueue, traces: Traces
) -> None:
    @queue.task(name="send", category="mail")
    async def send() -> None: ...

    async with running(queue, mail=1):
        with traces.tracer.start_as_current_span("request"):
            handle = await send.enqueue()
        await ended(queue, handle.id)

    request, enqueue, run = map(traces.one, ("request", "enqueue send", "run send"))
    assert is_child(enqueue, request)
    assert is_child(run, enqueue)
    assert (SpanKind.PRODUCER, SpanKind.CONSUMER) == (enqueue.kind, run.kind)
    assert {
        "messaging.system": "wopr",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "create",
        "wopr.task": "send",
    } == enqueue.attributes
    assert {
        "messaging.system": "wopr",
        "messaging.operation.name": "run",
        "messaging.operation.type": "process",
        "messaging.destination.name": "mail",
        "messaging.message.id": handle.id,
        "wopr.task": "send",
        "wopr.attempt": 1,
    } == run.attributes
    assert StatusCode.UNSET is run.status.status_code


async def test_coroutines_and_threads_run_within_the_span(queue: TaskQueue, traces: Traces) -> None:
    @queue.task(name="coroutine", category="c")
    async def coroutine() -> None:
        traces.tracer.start_span(f"inside {current_task().name}").end()

    @queue.task(name="thread", category="c")
    def thread() -> None:
        traces.tracer.start_span(f"inside {current_task().name}").end()

    async with running(queue, c=2):
        await ended(queue, (await coroutine.enqueue()).id, (await thread.enqueue()).id)

    for name in ("coroutine", "thread"):
        assert is_child(traces.one(f"inside {name}"), traces.one(f"run {name}"))


async def test_every_call_of_many_has_a_context_of_its_own(
    queue: TaskQueue, traces: Traces
) -> None:
    @queue.task(name="send", category="c")
    async def send(n: int) -> None: ...

    async with running(queue, c=2):
        with traces.tracer.start_as_current_span("request"):
            handles = await send.enqueue_many([(n,) for n in range(3)])
        await ended(queue, *(handle.id for handle in handles))

    enqueued = {span.get_span_context().span_id for span in traces.named("enqueue send")}
    assert 3 == len(enqueued)
    assert enqueued == {parent_of(span)[1] for span in traces.named("run send")}
    assert 1 == len({span.get_span_context().trace_id for span in traces.spans})


async def test_outside_of_any_span_nothing_is_stored_and_a_run_begins_a_trace(
    queue: TaskQueue, traces: Traces
) -> None:
    @queue.task(name="send", category="c")
    async def send() -> None: ...

    async with running(queue, c=1):
        handle = await send.enqueue()
        [info] = await ended(queue, handle.id)
    assert "trace" not in info.options
    assert [] == traces.named("enqueue send")
    assert traces.one("run send").parent is None


async def test_a_flow_is_one_trace(queue: TaskQueue, traces: Traces) -> None:
    from wopr import chain

    @queue.task(name="first", category="c")
    async def first() -> int:
        return 1

    @queue.task(name="second", category="c")
    async def second(n: int) -> None: ...

    async with running(queue, c=1):
        with traces.tracer.start_as_current_span("request"):
            flow = await queue.enqueue_flow(chain(first.s(), second.s()))
        await flow.result(timeout=PATIENCE)
    assert 1 == len({span.get_span_context().trace_id for span in traces.spans})
    for name in ("first", "second"):
        assert is_child(traces.one(f"run {name}"), traces.one(f"enqueue {name}"))


async def test_each_attempt_is_a_span_and_a_failed_one_an_error(
    queue: TaskQueue, traces: Traces
) -> None:
    @queue.task(name="moody", category="c", max_retries=1, retry=wait_none())
    async def moody() -> None:
        if current_task().attempt == 1:
            raise LookupError("not yet")

    async with running(queue, c=1):
        with traces.tracer.start_as_current_span("request"):
            handle = await moody.enqueue()
        await ended(queue, handle.id)

    failed, succeeded = traces.named("run moody")
    assert [1, 2] == [span.attributes["wopr.attempt"] for span in (failed, succeeded)]
    assert parent_of(failed) == parent_of(succeeded)
    assert (StatusCode.ERROR, "LookupError: not yet") == (
        failed.status.status_code,
        failed.status.description,
    )
    assert "builtins.LookupError" == failed.attributes["error.type"]
    [event] = failed.events
    assert "exception" == event.name
    assert "not yet" == event.attributes["exception.message"]
    assert (StatusCode.UNSET, ()) == (succeeded.status.status_code, succeeded.events)


@pytest.mark.parametrize("kind", ["coroutine", "thread"])
async def test_an_error_without_a_text_ends_the_span_and_stays_the_error(
    queue: TaskQueue, traces: Traces, kind: str
) -> None:
    class MuteError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def fail() -> None:
        raise MuteError

    async def fail_too() -> None:
        raise MuteError

    queue.task(name="mute", category="c")(fail if kind == "thread" else fail_too)
    async with running(queue, c=1):
        [info] = await ended(queue, (await queue.enqueue("mute")).id)
    assert (info.error_type or "").endswith("MuteError")
    assert StatusCode.ERROR is traces.one("run mute").status.status_code


async def test_a_stopped_attempt_is_no_error(queue: TaskQueue, traces: Traces) -> None:
    gate = Gate()
    queue.task(name="wait", category="c")(gate.wait)
    async with running(queue, c=1):
        handle = await queue.enqueue("wait")
        await gate.arrivals()
        await handle.cancel()
        await ended(queue, handle.id)
    span = traces.one("run wait")
    assert True is span.attributes["wopr.stopped"]
    assert StatusCode.UNSET is span.status.status_code


async def test_a_cancellation_of_its_own_making_is_an_error(
    queue: TaskQueue, traces: Traces
) -> None:
    @queue.task(name="quit", category="c")
    async def quit_by_itself() -> None:
        raise asyncio.CancelledError

    async with running(queue, c=1):
        await ended(queue, (await quit_by_itself.enqueue()).id)
    assert StatusCode.ERROR is traces.one("run quit").status.status_code


async def test_the_context_outlives_the_process(home: DuckDBHome, traces: Traces) -> None:
    queue = home.queue()
    queue.task(name="send", category="c")(int)
    instrument(queue, traces.provider)
    async with queue:
        with traces.tracer.start_as_current_span("request"):
            handle = await queue.enqueue("send")

    queue = home.queue()
    queue.task(name="send", category="c")(int)
    instrument(queue, traces.provider)
    async with running(queue, c=1):
        await ended(queue, handle.id)
    assert is_child(traces.one("run send"), traces.one("enqueue send"))


async def test_baggage_goes_along(queue: TaskQueue, traces: Traces) -> None:
    found: list[object] = []

    @queue.task(name="look", category="c")
    def look() -> None:
        found.append(baggage.get_baggage("tenant"))

    async with running(queue, c=1):
        with traces.tracer.start_as_current_span("request"):
            token = context.attach(baggage.set_baggage("tenant", "ada"))
            handle = await look.enqueue()
            context.detach(token)
        await ended(queue, handle.id)
    assert ["ada"] == found


@pytest.mark.parametrize(
    "stored", ["text", 7, [1], {"traceparent": "garbage"}, {"traceparent": 7}, {"": ""}]
)
async def test_a_context_that_cannot_be_read_keeps_no_task_from_running(
    home: DuckDBHome, traces: Traces, stored: Any
) -> None:
    class Other:
        """Another program, that stores something else under the same key."""

        key = "trace"

        def pack(self, *_: object) -> Any:
            return json.loads(json.dumps(stored))

        async def unpack(self, *_: object) -> None: ...

    queue = home.queue()
    queue.task(name="send", category="c")(int)
    inside(queue).registry.carry(Other())
    async with queue:
        handle = await queue.enqueue("send")

    queue = home.queue()
    queue.task(name="send", category="c")(int)
    instrument(queue, traces.provider)
    async with running(queue, c=1):
        [info] = await ended(queue, handle.id)
    assert info.error is None
    assert traces.one("run send").parent is None


async def test_middlewares_of_the_application_run_within_the_span(
    home: DuckDBHome, traces: Traces
) -> None:
    queue = home.queue()

    @queue.middleware
    async def mine(task: CurrentTask, call_next: Any) -> Any:
        traces.tracer.start_span("middleware").end()
        return await call_next()

    queue.task(name="send", category="c")(int)
    instrument(queue, traces.provider)
    async with running(queue, c=1):
        await ended(queue, (await queue.enqueue("send")).id)
    assert is_child(traces.one("middleware"), traces.one("run send"))


async def test_a_queue_is_traced_once(queue: TaskQueue, traces: Traces) -> None:
    assert instrument(queue, traces.provider)
    queue.task(name="send", category="c")(int)
    async with running(queue, c=1):
        with traces.tracer.start_as_current_span("request"):
            handle = await queue.enqueue("send")
        await ended(queue, handle.id)
    assert 1 == len(traces.named("run send")) == len(traces.named("enqueue send"))


def test_without_a_provider_nothing_is_done(home: DuckDBHome) -> None:
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    queue = home.queue()
    assert not instrument(queue)
    assert ([], []) == (inside(queue).registry.carriers, inside(queue).registry.middlewares)


@pytest.mark.parametrize(("value", "traced"), [("true", False), (" TRUE", False), ("false", True)])
def test_the_switch_of_opentelemetry_counts(
    home: DuckDBHome, traces: Traces, monkeypatch: pytest.MonkeyPatch, value: str, traced: bool
) -> None:
    monkeypatch.setenv("OTEL_SDK_DISABLED", value)
    monkeypatch.setattr(trace, "get_tracer_provider", lambda: traces.provider)
    assert traced is instrument(home.queue())


def test_a_missing_package_is_named_with_what_installs_it(
    home: DuckDBHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(InvalidCallError, match=r"pip install 'wopr\[otel\]'"):
        instrument(home.queue())


async def test_an_exception_in_a_span_has_no_secrets(queue: TaskQueue, traces: Traces) -> None:
    @queue.task(name="telling", category="c")
    async def telling() -> None:
        raise LookupError("password=hunter2xQ9")

    async with running(queue, c=1):
        await ended(queue, (await telling.enqueue()).id)

    [span] = traces.named("run telling")
    [event] = span.events
    assert "LookupError: password=***" == span.status.description
    assert "in telling" in event.attributes["exception.stacktrace"]
    assert "hunter2" not in str(event.attributes)
