"""Traces of tasks with OpenTelemetry: from the code that enqueues to each run."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Awaitable, Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from wopr.domain.errors import InvalidCallError
from wopr.domain.guarded import guarded, module_of, name_of, safe_text
from wopr.domain.masking import mask
from wopr.domain.task import TaskRecord
from wopr.domain.traces import traceback_of
from wopr.executors.context import CurrentTask
from wopr.queue.queue import TaskQueue, inside

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer, TracerProvider

SYSTEM = {"messaging.system": "wopr"}

_traced: weakref.WeakSet[TaskQueue] = weakref.WeakSet()


def instrument(queue: TaskQueue, tracer_provider: TracerProvider | None = None) -> bool:
    """Trace the tasks of a queue; return whether it is traced.

    A call that is made within a span gets a span of its own, ``enqueue <task>``, and takes the
    context along (with OpenTelemetry's propagator: ``traceparent``, ``tracestate``, ``baggage``).
    Each attempt is a span ``run <task>``, a child of it, and the current one inside the function.

    Args:
        queue: that enqueues or runs the tasks; both sides have to be traced.
        tracer_provider: ``None`` means the program's own. Without one, or with
            ``OTEL_SDK_DISABLED=true``, nothing is done, so that it costs nothing.

    Raises:
        InvalidCallError: opentelemetry-api is not installed.
    """
    try:
        from opentelemetry import trace
    except ImportError as error:
        raise InvalidCallError(
            "Traces need opentelemetry-api, which is not installed: pip install 'wopr[otel]'."
        ) from error
    if queue in _traced:
        return True
    if tracer_provider is None:
        tracer_provider = trace.get_tracer_provider()
        disabled = os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
        if disabled or isinstance(tracer_provider, trace.ProxyTracerProvider):
            return False
    tracing = Tracing(trace.get_tracer("wopr", version("wopr"), tracer_provider))
    registry = inside(queue).registry
    registry.carry(tracing)
    registry.middlewares.insert(0, tracing.run)  # around those of the application
    _traced.add(queue)
    return True


class Tracing:
    """Carries the context of a trace along, and puts a span around each run."""

    key = "trace"

    def __init__(self, tracer: Tracer) -> None:
        from opentelemetry import context, propagate, trace

        self._tracer = tracer
        self._trace = trace
        self._inject, self._extract = propagate.inject, propagate.extract
        self._attach = context.attach

    def pack(
        self, name: str, args: str, kwargs: str, results: object = None
    ) -> dict[str, str] | None:
        """Return the context of a span for this call; ``None`` outside of any span."""
        if not self._trace.get_current_span().get_span_context().is_valid:
            return None
        packed: dict[str, str] = {}
        with self._tracer.start_as_current_span(
            f"enqueue {name}",
            kind=self._trace.SpanKind.PRODUCER,
            attributes={
                **SYSTEM,
                "messaging.operation.name": "enqueue",
                "messaging.operation.type": "create",
                "wopr.task": name,
            },
        ):
            self._inject(packed)
        return packed or None

    async def unpack(self, record: TaskRecord, packed: Any | None) -> None:
        """Make the stored context the current one of the attempt, which has a context of its own.

        One that can't be read counts as none: a trace must not keep a task from running.
        """
        if isinstance(packed, dict):
            texts = {str(key): value for key, value in packed.items() if isinstance(value, str)}
            self._attach(self._extract(texts))

    async def run(self, task: CurrentTask, call_next: Callable[[], Awaitable[Any]]) -> Any:
        """Run an attempt within a span; what it raises ends the span with an error."""
        with self._tracer.start_as_current_span(
            f"run {task.name}",
            kind=self._trace.SpanKind.CONSUMER,
            attributes={
                **SYSTEM,
                "messaging.operation.name": "run",
                "messaging.operation.type": "process",
                "messaging.destination.name": task.category,
                "messaging.message.id": task.id,
                "wopr.task": task.name,
                "wopr.attempt": task.attempt,
            },
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                return await call_next()
            except asyncio.CancelledError as error:
                if task.cancelled:  # a timeout, a cancellation or a shutdown: the task's row tells
                    span.set_attribute("wopr.stopped", True)
                else:
                    self._failed(span, error)
                raise
            except BaseException as error:
                self._failed(span, error)
                raise

    def _failed(self, span: Span, error: BaseException) -> None:
        kind, text = type(error), mask(safe_text(error))
        name = name_of(kind, whole=True)
        span.set_attribute("error.type", f"{module_of(kind)}.{name}")
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR, f"{name}: {text}"))
        attributes = {"exception.message": text, "exception.stacktrace": mask(traceback_of(error))}
        guarded(lambda: span.record_exception(error, attributes), None)
