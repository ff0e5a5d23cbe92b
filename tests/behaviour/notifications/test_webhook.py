"""Webhooks against a real HTTP server: signed, patient, and silent about their URL."""

from __future__ import annotations

import hashlib
import hmac
import logging
import socket
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tenacity import wait_none

from behaviour.notifications.receiver import Receiver
from support.queues import NOON, PATIENCE, SteppableClock, ended, until_status
from wopr import DeliveryFailedError, DeliveryRefusedError, InvalidCallError, TaskQueue, TaskStatus
from wopr.notifications import (
    CATEGORY,
    NotificationEvent,
    NotificationLevel,
    NotificationService,
    Webhook,
    verify_signature,
)

SECRET = "s3cret"
EVENT = NotificationEvent(
    id="7",
    category="a",
    level=NotificationLevel.ERROR,
    title="Gerät brennt",
    metadata={"rack": 3},
    created_at=NOON,
)


@pytest.fixture
def webhook(receiver: Receiver, clock: SteppableClock) -> Webhook:
    return Webhook(receiver.url("/hook?token=geheim"), SECRET, name="ops", clock=clock)


@pytest.mark.parametrize("timestamp", ["9" * 5_000, "9" * 16, "١٢٣", "-1", "", "1e9"])
def test_a_signed_timestamp_that_is_none_is_refused(timestamp: str) -> None:
    text = timestamp.encode() + b".{}"
    signed = "sha256=" + hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    headers = {"X-Wopr-Timestamp": timestamp, "X-Wopr-Signature": signed}
    assert not verify_signature(SECRET, headers, b"{}", NOON)


async def test_a_webhook_posts_the_event_signed(webhook: Webhook, receiver: Receiver) -> None:
    await webhook(EVENT)
    (request,) = receiver.requests
    assert "/hook?token=geheim" == request.path
    assert EVENT.to_dict() == request.json
    assert "application/json" == request.headers["Content-Type"]
    assert str(int(NOON.timestamp())) == request.headers["X-Wopr-Timestamp"]
    assert request.headers["X-Wopr-Signature"].startswith("sha256=")
    assert verify_signature(SECRET, request.headers, request.body, NOON)
    assert verify_signature(SECRET.encode(), request.headers, request.body, NOON)


async def test_the_signature_is_hmac_sha256_over_timestamp_and_body(
    webhook: Webhook, receiver: Receiver
) -> None:
    await webhook(EVENT)
    (request,) = receiver.requests
    text = request.headers["X-Wopr-Timestamp"].encode() + b"." + request.body
    digest = hmac.new(SECRET.encode(), text, hashlib.sha256).hexdigest()
    assert f"sha256={digest}" == request.headers["X-Wopr-Signature"]


async def test_what_was_altered_or_is_old_does_not_verify(
    webhook: Webhook, receiver: Receiver
) -> None:
    await webhook(EVENT)
    (request,) = receiver.requests
    headers, body = request.headers, request.body

    def good(**changed: str) -> bool:
        return verify_signature(SECRET, {**headers, **changed}, body, NOON)

    assert good()
    assert verify_signature(SECRET, {k.lower(): v for k, v in headers.items()}, body, NOON)
    assert not verify_signature("other", headers, body, NOON)
    assert not verify_signature(SECRET, headers, body.replace(b"3", b"4"), NOON)
    assert not verify_signature(SECRET, headers, b"", NOON)
    later = {"X-Wopr-Timestamp": str(int(NOON.timestamp()) + 1)}
    assert not good(**later)
    assert not good(**{"X-Wopr-Signature": "sha256=é"})
    assert not verify_signature(SECRET, {}, body, NOON)

    for seconds, expected in ((299, True), (301, False), (-299, True), (-301, False)):
        now = NOON.replace(microsecond=0) + timedelta(seconds=seconds)
        assert expected is verify_signature(SECRET, headers, body, now)
    assert verify_signature(SECRET, headers, body, NOON + timedelta(hours=1), tolerance=3700)
    assert not verify_signature(SECRET, headers, body)  # now: the tests' noon is years away
    with pytest.raises(InvalidCallError, match="secret of a webhook must be"):
        verify_signature("", headers, body)


async def test_the_timestamp_is_that_of_the_attempt(
    receiver: Receiver, queue: TaskQueue, clock: SteppableClock
) -> None:
    receiver.answers.append(503)
    service = NotificationService(queue, clock=clock)
    service.route(Webhook(receiver.url(), SECRET, clock=clock))
    async with queue, service:
        await service.emit("a", "error", "t")
        await receiver.wait(1)
        (info,) = await queue.get_tasks(category=CATEGORY)
        await until_status(queue, info.id, TaskStatus.RETRY)
        clock.advance(3_600, queue)
        first, second = await receiver.wait(2)
    assert first.body == second.body
    assert 3_600 == int(second.headers["X-Wopr-Timestamp"]) - int(first.headers["X-Wopr-Timestamp"])
    assert verify_signature(SECRET, second.headers, second.body, clock.now())


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_success_is_a_delivery(status: int, webhook: Webhook, receiver: Receiver) -> None:
    receiver.answers.append(status)
    await webhook(EVENT)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 422])
async def test_a_refusal_is_final(status: int, webhook: Webhook, receiver: Receiver) -> None:
    receiver.answers.append(status)
    with pytest.raises(DeliveryRefusedError, match=f"'ops' answered {status}: the receiver"):
        await webhook(EVENT)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(
    status: int, webhook: Webhook, receiver: Receiver
) -> None:
    receiver.answers.append(status)
    with pytest.raises(DeliveryRefusedError, match=f"answered {status}, a redirect"):
        await webhook(EVENT)
    assert 1 == len(receiver.requests)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503])
async def test_other_answers_may_be_tried_again(
    status: int, webhook: Webhook, receiver: Receiver
) -> None:
    receiver.answers.append(status)
    with pytest.raises(DeliveryFailedError, match=f"Webhook 'ops' answered {status}") as caught:
        await webhook(EVENT)
    assert not isinstance(caught.value, DeliveryRefusedError)


async def test_a_delivery_is_retried_until_it_arrives(
    receiver: Receiver, queue: TaskQueue, clock: SteppableClock
) -> None:
    receiver.answers.extend([500, 429, 200])
    service = NotificationService(queue, clock=clock, retry=wait_none())
    service.route(Webhook(receiver.url(), SECRET, clock=clock))
    async with queue, service:
        await service.emit("a", "error", "t")
        await receiver.wait(3)
        (info,) = await queue.get_tasks(category=CATEGORY)
        (info,) = await ended(queue, info.id)
    assert (TaskStatus.SUCCESS, 3) == (info.status, info.attempt)
    assert 1 == len({request.json["id"] for request in receiver.requests})


async def test_a_receiver_that_is_not_there_is_tried_again(receiver: Receiver) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    webhook = Webhook(f"http://127.0.0.1:{port}/geheim", SECRET, name="ops")
    with pytest.raises(DeliveryFailedError) as caught:
        await webhook(EVENT)
    assert "Webhook 'ops' could not be reached (ConnectError)." == str(caught.value)
    assert caught.value.__cause__ is None


async def test_a_receiver_that_does_not_answer_is_given_up(receiver: Receiver) -> None:
    receiver.silence = threading.Event()
    webhook = Webhook(receiver.url(), SECRET, timeout=0.05)
    try:
        with pytest.raises(DeliveryFailedError, match=r"did not answer within 0\.05 s"):
            await webhook(EVENT)
    finally:
        receiver.silence.set()


async def test_an_answer_without_an_end_is_not_read(webhook: Webhook, receiver: Receiver) -> None:
    receiver.endless = True
    await webhook(EVENT)
    assert receiver.given_up.wait(PATIENCE)


async def test_the_url_and_the_secret_are_shown_nowhere(
    receiver: Receiver, queue: TaskQueue, clock: SteppableClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    receiver.answers.extend([500, 302])
    webhook = Webhook(
        receiver.url("/geheim"), SECRET, clock=clock, headers={"Authorization": "geheim"}
    )
    service = NotificationService(queue, clock=clock, retry=wait_none())
    service.route(webhook)
    async with queue, service:
        await service.emit("a", "error", "t")
        (info,) = await queue.get_tasks(category=CATEGORY)
        await ended(queue, info.id)
        rows = [
            *await queue.sql("select * from tasks"),
            *await queue.sql("select * from transitions"),
        ]
    assert 2 == len(receiver.requests)
    assert "Webhook 'webhook' answered 302" in repr(rows)
    assert "receive_response_headers" in caplog.text
    for text in (repr(webhook), repr(rows), caplog.text):
        assert "geheim" not in text
        assert SECRET not in text


def test_what_can_not_be_a_webhook_is_refused_without_showing_it() -> None:
    wrong: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
        (("ftp://example.org/geheim", SECRET), {}, "is no absolute http or https URL"),
        (("/geheim", SECRET), {}, "is no absolute http or https URL"),
        (("http://[geheim", SECRET), {}, "is no absolute http or https URL"),
        (("https://me:geheim@example.org", SECRET), {}, "holds a user or password"),
        ((7, SECRET), {}, "must be a str"),
        (("https://example.org", ""), {}, r"token_urlsafe\(32\)"),
        (("https://example.org", None), {}, "must be a str or bytes"),
        (("https://example.org", SECRET), {"timeout": 0}, "timeout must be more than 0"),
        (("https://example.org", SECRET), {"name": ""}, "name of a webhook must have"),
        (("https://example.org", SECRET), {"headers": {"X": "geheim\udc00"}}, "can't be sent"),
    ]
    for arguments, options, said in wrong:
        with pytest.raises(InvalidCallError, match=said) as caught:
            Webhook(*arguments, **options)
        assert "geheim" not in str(caught.value)


def test_without_httpx_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    with pytest.raises(InvalidCallError, match=r"pip install 'wopr\[notify\]'"):
        Webhook("https://example.org", SECRET)


def test_the_default_of_now_is_now() -> None:
    now = datetime.now(UTC)
    stamp = str(int(now.timestamp()))
    digest = hmac.new(b"k", f"{stamp}.".encode() + b"{}", hashlib.sha256).hexdigest()
    headers = {"x-wopr-timestamp": stamp, "x-wopr-signature": f"sha256={digest}"}
    assert verify_signature("k", headers, b"{}")
