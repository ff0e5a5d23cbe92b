"""A Django project with a few tasks and views."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

import integrations.django_settings as project
from wopr import TaskQueue

if project.BUILT_IN:
    from django.tasks import task
else:
    from django_tasks import task

folder = project.FOLDER
queue = TaskQueue(enabled=True, database=folder / "tasks.duckdb")

seen: list[Any] = []


@task
def double(number: int) -> int:
    return 2 * number


@task(queue_name="mail", priority=60)
async def send(to: str, *, subject: str = "") -> list[str]:
    return [to, subject]


@task
def fail(text: str) -> None:
    raise ValueError(text)


@task(takes_context=True)
def tell(context: Any, *, word: str) -> list[Any]:
    return [context.attempt, context.task_result.id, word]


@task(takes_context=True, backend="patient")
def second_time_lucky(context: Any) -> int:
    if context.attempt == 1:
        raise OSError("not yet")
    return int(context.attempt)


@task(backend="open", queue_name="images")
def resize(path: str) -> str:
    return path


@task
def look(value: Any) -> str:
    seen.append(value)
    return type(value).__name__


@task
def unstorable() -> Any:
    return lambda: 1


@task
def leave() -> None:
    raise SystemExit("bye")


@task(backend="brief")
async def hang() -> None:
    await asyncio.Event().wait()


begun = threading.Event()


@task(takes_context=True)
async def outlast(context: Any) -> str:
    begun.set()
    await queue.shutdown_event.wait()
    return str(context.task_result.id)


@task(backend="apart")
def process_id(wanted: str) -> Any:
    return {"pid": os.getpid(), "wanted": wanted}


@task(backend="apart", takes_context=True)
async def tell_apart(context: Any) -> Any:
    result = context.task_result
    return [os.getpid(), result.id, context.attempt, result.enqueued_at.isoformat()]


@task(takes_context=True)
def show_context(context: Any, word: str) -> None:
    seen.append(context.task_result)


@task(takes_context=True)
async def fail_later(context: Any) -> None:
    raise LookupError(str(context.attempt))


@task
def chained(number: int) -> str:
    return str(double.enqueue(number).id)


@task
async def chained_later(number: int) -> str:
    return str((await double.aenqueue(number)).id)


async def start(request: HttpRequest, number: int) -> HttpResponse:
    result = await double.aenqueue(number)
    return JsonResponse({"id": result.id})


def end(request: HttpRequest, result_id: str) -> HttpResponse:
    result = double.get_result(result_id)
    value = result.return_value if result.is_finished else None
    return JsonResponse({"status": result.status, "value": value})


urlpatterns = [path("start/<int:number>", start), path("end/<result_id>", end)]
