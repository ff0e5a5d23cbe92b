"""Apprise URLs against a real HTTP server."""

from __future__ import annotations

import logging
import sys

import pytest
from tenacity import wait_none

from behaviour.notifications.conftest import Inbox
from behaviour.notifications.receiver import Receiver
from support.queues import NOON, SteppableClock, ended
from wopr import DeliveryFailedError, InvalidCallError, TaskQueue, TaskStatus
from wopr.notifications import (
    CATEGORY,
    AppriseHandler,
    NotificationEvent,
    NotificationLevel,
    NotificationService,
)


def event(level: str = "error", message: str = "rack 3") -> NotificationEvent:
    return NotificationEvent(
        id="7",
        category="a",
        level=NotificationLevel(level),
        title="on fire",
        message=message,
        created_at=NOON,
    )


@pytest.fixture
def handler(receiver: Receiver) -> AppriseHandler:
    return AppriseHandler(f"json://me:geheim@127.0.0.1:{receiver.port}/geheim", name="ops")


@pytest.mark.parametrize(
    ("level", "kind"),
    [("info", "info"), ("warning", "warning"), ("error", "failure"), ("critical", "failure")],
)
async def test_the_event_is_delivered_as_title_and_body(
    level: str, kind: str, handler: AppriseHandler, receiver: Receiver
) -> None:
    await handler(event(level))
    (request,) = receiver.requests
    assert ("on fire", "rack 3", kind) == (
        request.json["title"],
        request.json["message"],
        request.json["type"],
    )


async def test_an_event_without_message_is_its_title(
    handler: AppriseHandler, receiver: Receiver
) -> None:
    await handler(event(message=""))
    assert ("", "on fire") == (
        receiver.requests[0].json["title"],
        receiver.requests[0].json["message"],
    )


async def test_a_service_that_fails_is_tried_again_and_others_are_not_repeated(
    handler: AppriseHandler,
    receiver: Receiver,
    queue: TaskQueue,
    clock: SteppableClock,
    inbox: Inbox,
) -> None:
    receiver.answers.extend([500, 403, 200])
    service = NotificationService(queue, clock=clock, retry=wait_none())
    service.route(handler)
    service.route(inbox)
    async with queue, service:
        await service.emit("a", "error", "on fire", "rack 3")
        await receiver.wait(3)
        infos = await ended(queue, *(one.id for one in await queue.get_tasks(category=CATEGORY)))
    assert {("ops", TaskStatus.SUCCESS, 3), ("inbox", TaskStatus.SUCCESS, 1)} == {
        (info.args[0], info.status, info.attempt) for info in infos
    }


async def test_the_url_is_shown_nowhere(
    handler: AppriseHandler, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    receiver.answers.append(403)
    with pytest.raises(DeliveryFailedError) as caught:
        await handler(event())
    logging.getLogger("apprise").warning("what others log is left alone")
    text = f"{caught.value!r} {handler!r} {caplog.text}"
    assert "Apprise handler 'ops' (json) did not deliver" in text
    assert "what others log is left alone" in text
    assert caught.value.__cause__ is None
    assert "geheim" not in text


@pytest.mark.parametrize(
    "url", ["", "geheim", "nosuch://geheim", "tgram://", "json://a json://geheim"]
)
def test_a_url_that_can_not_be_used_is_refused_without_showing_it(
    url: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    with pytest.raises(InvalidCallError, match="can't be used") as caught:
        AppriseHandler(url, name="ops")
    assert "geheim" not in f"{caught.value}{caplog.text}"


def test_a_url_is_a_text() -> None:
    with pytest.raises(InvalidCallError, match="must be a str"):
        AppriseHandler(["json://localhost"])  # type: ignore[arg-type]


def test_without_apprise_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(InvalidCallError, match=r"pip install 'wopr\[notify\]'"):
        AppriseHandler("json://localhost")
