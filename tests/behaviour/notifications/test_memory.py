"""A service without a queue: the form that programs of the Korean trading app have."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

import pytest

from support.queues import NOON, PATIENCE, SteppableClock
from wopr import InvalidCallError, TaskQueue
from wopr.background import NotificationQueueTask
from wopr.notifications import NotificationEvent, NotificationLevel, NotificationService


class Category(str, Enum):
    TRADE = "TRADE"
    SYSTEM = "SYSTEM"


@pytest.fixture
def service(clock: SteppableClock) -> NotificationService:
    return NotificationService(clock=clock)


async def test_emit_returns_the_event(service: NotificationService) -> None:
    event = await service.emit(
        Category.TRADE, NotificationLevel.CRITICAL, "bought", "10 at 72,000", {"code": "005930"}
    )
    assert ("TRADE", NotificationLevel.CRITICAL, "bought", "10 at 72,000", {"code": "005930"}) == (
        event.category,
        event.level,
        event.title,
        event.message,
        event.metadata,
    )
    assert NOON == event.created_at
    assert NOON.isoformat() == event.timestamp
    other = await service.emit("TRADE", "info", "sold")
    assert ("", {}) == (other.message, other.metadata)
    assert event.id < other.id


async def test_an_event_as_json_has_its_time_under_both_names(service: NotificationService) -> None:
    event = await service.emit("TRADE", "info", "sold")
    for found in (event.to_dict(), service.get_recent(1)[0]):
        assert NOON.isoformat() == found["timestamp"] == found["created_at"]


def test_an_event_can_be_made_with_a_timestamp() -> None:
    made = NotificationEvent(
        id="a1b2",
        timestamp="2030-01-31T21:00:00+09:00",
        category=Category.TRADE,
        level=NotificationLevel.INFO,
        title="bought",
        message="10 at 72,000",
    )
    same = datetime(2030, 1, 31, 12, tzinfo=UTC)
    assert (same, same.isoformat(), {}) == (made.created_at, made.timestamp, made.metadata)
    again = NotificationEvent(
        id="a1b2",
        created_at=same,
        category="TRADE",
        level=NotificationLevel.INFO,
        title="bought",
        message="10 at 72,000",
    )
    assert made == again
    with pytest.raises(AttributeError):
        made.title = "sold"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("times", "hint"),
    [
        ({}, "created_at= or timestamp=, one of them"),
        ({"timestamp": NOON.isoformat(), "created_at": NOON}, "one of them"),
        ({"timestamp": "noon"}, "not 'noon'"),
        ({"timestamp": "2030-01-31T12:00:00"}, "has no time zone"),
        ({"created_at": "2030-01-31T12:00:00"}, "is an aware datetime"),
        ({"created_at": NOON.replace(tzinfo=None)}, "has no time zone"),
    ],
)
def test_the_time_of_an_event_is_an_aware_moment(times: dict[str, Any], hint: str) -> None:
    with pytest.raises(InvalidCallError, match=hint):
        NotificationEvent(id="1", category="a", level=NotificationLevel.INFO, title="t", **times)


async def test_the_newest_200_are_kept_and_given_newest_first(service: NotificationService) -> None:
    for number in range(210):
        category = Category.SYSTEM if number % 2 else Category.TRADE
        await service.emit(category, "info", f"number {number}")
    found = service.get_recent(1_000)
    assert 200 == len(found)
    assert ("number 209", "number 10") == (found[0]["title"], found[-1]["title"])
    assert ["number 208", "number 206"] == [
        one["title"] for one in service.get_recent(2, Category.TRADE)
    ]
    assert 50 == len(service.get_recent())
    json.dumps(found)


async def test_a_subscriber_gets_json_and_a_full_queue_loses_its_oldest(
    service: NotificationService,
) -> None:
    first, second = service.create_subscriber_queue(), service.create_subscriber_queue()
    service.remove_subscriber_queue(second)
    service.remove_subscriber_queue(second)
    for number in range(103):
        await service.emit("a", "info", f"überzahl {number}")
    assert second.empty()
    assert 100 == first.qsize()
    assert "überzahl 3" == json.loads(first.get_nowait())["title"]


async def test_events_are_put_in_the_external_queue_only_for_a_handler(
    service: NotificationService,
) -> None:
    async def handler(event: NotificationEvent) -> None: ...

    await service.emit("a", "info", "before")
    assert service.external_handler_queue.empty()
    service.register_external_handler(handler)
    service.external_handlers.clear()
    assert [handler] == service.external_handlers
    event = await service.emit("a", "info", "after")
    assert event is service.external_handler_queue.get_nowait()


async def test_a_full_external_queue_loses_its_oldest_and_can_still_be_joined(
    service: NotificationService,
) -> None:
    async def handler(event: NotificationEvent) -> None: ...

    service.register_external_handler(handler)
    for number in range(505):
        await service.emit("a", "info", f"{number}")
    queue = service.external_handler_queue
    titles = []
    while not queue.empty():
        titles.append(queue.get_nowait().title)
        queue.task_done()
    assert (500, "5", "504") == (len(titles), titles[0], titles[-1])
    async with asyncio.timeout(PATIENCE):
        await queue.join()


async def test_events_with_the_same_dedup_key_and_level_are_put_in_once_in_five_seconds(
    service: NotificationService, clock: SteppableClock
) -> None:
    async def handler(event: NotificationEvent) -> None: ...

    async def emit(level: str = "error", key: str | None = "disk") -> int:
        before = service.external_handler_queue.qsize()
        await service.emit("a", level, "same", "", {"dedup_key": key} if key else None)
        return service.external_handler_queue.qsize() - before

    service.register_external_handler(handler)
    assert [1, 0, 1, 1] == [
        await emit(),
        await emit(),
        await emit("critical"),
        await emit(key="other"),
    ]
    assert [1, 1] == [await emit(key=None), await emit(key=None)]
    clock.advance(4.9)
    assert 0 == await emit()
    clock.advance(0.1)
    assert 1 == await emit()
    assert 8 == len(service.get_recent())


async def test_a_notification_queue_task_delivers_what_is_emitted(
    service: NotificationService,
) -> None:
    got: list[str] = []
    done = asyncio.Event()

    async def broken(event: NotificationEvent) -> None:
        raise ValueError("no")

    async def handler(event: NotificationEvent) -> None:
        got.append(event.title)
        if event.title == "second":
            done.set()

    service.register_external_handler(broken)
    service.register_external_handler(handler)
    worker = NotificationQueueTask(service, poll_interval=0)
    await worker.start()
    await service.emit("a", "info", "first")
    await service.emit("a", "info", "second")
    async with asyncio.timeout(PATIENCE):
        await done.wait()
        await service.external_handler_queue.join()
    await worker.stop()
    assert ["first", "second"] == got


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((7, "info", "t"), "category must be a str, not int 7"),
        (("", "info", "t"), "category must have 1 to 200 characters"),
        (
            ("a", "fatal", "t"),
            "level must be one of info, warning, error, critical, not 'fatal'",
        ),
        (("a", [], "t"), "level must be one of"),
        (("a", "info", ""), "title must have 1 to 500 characters"),
        (("a", "info", "x" * 501), "title must have 1 to 500 characters"),
        (("a", "info", "t", None), "message must be a str, not None"),
        (("a", "info", "t", "", ["x"]), "metadata must be a dict"),
        (("a", "info", "t", "", {"x": object()}), "can't be stored as JSON: Object of type object"),
        (("a", "info", "t", "", {"x": float("nan")}), "can't be stored as JSON"),
    ],
)
async def test_what_is_no_event_is_refused_and_not_kept(
    service: NotificationService, arguments: tuple[Any, ...], said: str
) -> None:
    with pytest.raises(InvalidCallError) as caught:
        await service.emit(*arguments)
    assert said in str(caught.value)
    assert [] == service.get_recent()


async def test_metadata_is_a_copy(service: NotificationService) -> None:
    metadata = {"codes": ("a", "b")}
    event = await service.emit("a", "info", "t", "", metadata)
    assert {"codes": ["a", "b"]} == event.metadata
    event.metadata["codes"].append("c")
    assert ("a", "b") == metadata["codes"]


async def test_without_a_queue_nothing_can_be_routed_or_watched(
    service: NotificationService,
) -> None:
    async def handler(event: NotificationEvent) -> None: ...

    with pytest.raises(InvalidCallError, match="Routes need a queue: NotificationService"):
        service.route(handler)
    with pytest.raises(InvalidCallError, match="Alerts need a queue"):
        await service.add_alert("a", when="failure")
    with pytest.raises(InvalidCallError, match="Alerts need a queue"):
        await service.remove_alert("a")
    assert ([], {}) == (await service.alerts(), service.counts())
    async with service:
        await service.look()


async def test_a_clock_is_no_queue() -> None:
    with pytest.raises(InvalidCallError, match=r"takes a TaskQueue or nothing.*clock="):
        NotificationService(SteppableClock())  # type: ignore[arg-type]


async def test_with_a_queue_that_is_switched_off_events_stay_in_memory(tmp_path: Any) -> None:
    got: list[NotificationEvent] = []

    async def handler(event: NotificationEvent) -> None:
        got.append(event)

    path = tmp_path / "tasks.duckdb"
    service = NotificationService(TaskQueue(enabled=False, database=path))
    service.route(handler)
    async with service:
        await service.emit("a", "error", "t")
    assert (["t"], []) == ([one["title"] for one in service.get_recent()], got)
    assert [] == await service.alerts()
    assert not path.exists()


async def test_repeats_are_forgotten_after_their_time_and_those_that_wait_in_between_stay(
    service: NotificationService, clock: SteppableClock
) -> None:
    async def handler(event: NotificationEvent) -> None: ...

    service.register_external_handler(handler)
    for at, key in ((0, "a"), (3, "b"), (6, "a"), (7, "b"), (8, "b"), (-1, "b")):
        clock.time = NOON + timedelta(seconds=at)
        await service.emit("SYSTEM", "info", key, f"at {at}", {"dedup_key": key})
    queue = service.external_handler_queue
    taken = [queue.get_nowait().message for _ in range(queue.qsize())]
    assert ["at 0", "at 3", "at 6", "at 8", "at -1"] == taken
