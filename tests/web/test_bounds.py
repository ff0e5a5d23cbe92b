"""What a request may cost, and how often somebody may ask."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from wopr.web.guard.receiving import Bounded
from wopr.web.guard.sending import HEADERS, Sending
from wopr.web.guard.throttle import MOST_KEYS, Throttle


def sender(*parts: bytes) -> Any:
    """Return what a server receives of a body in parts; then the client is gone."""
    messages = [
        {"type": "http.request", "body": part, "more_body": at < len(parts) - 1}
        for at, part in enumerate(parts)
    ] + [{"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    return receive


async def test_a_body_is_handed_on_up_to_its_bound_and_refused_past_it() -> None:
    bounded = Bounded(sender(b"abc", b"de"), 5)
    assert [b"abc", b"de"] == [(await bounded())["body"] for _ in range(2)]
    assert "http.disconnect" == (await bounded())["type"]
    large = Bounded(sender(b"abc", b"def"), 5)
    await large()
    with pytest.raises(HTTPException, match="more than 5 bytes") as caught:
        await large()
    assert 413 == caught.value.status_code


async def test_a_body_that_does_not_come_is_not_waited_for() -> None:
    never = asyncio.Event()

    async def receive() -> Any:
        await never.wait()

    with pytest.raises(HTTPException, match="did not come within 0 s") as caught:
        await Bounded(receive, 5, seconds=0)()
    assert 408 == caught.value.status_code


async def test_a_form_is_read_and_handed_on_all_the_same() -> None:
    bounded = Bounded(sender(b"a=1&cs", b"rf=x%20y"), 100)
    assert "x y" == await bounded.field("csrf")
    assert ["1", ""] == [await bounded.field("a"), await bounded.field("other")]
    assert b"a=1&csrf=x%20y" == b"".join([(await bounded())["body"] for _ in range(2)])
    assert "" == await Bounded(sender(b"&".join([b"a=1"] * 2_000)), 10_000).field("a")
    assert "" == await Bounded(sender("ä=1".encode()), 100).field("ä")


async def test_an_application_hears_that_its_caller_may_no_more() -> None:
    never = asyncio.Event()
    messages = [{"type": "http.request", "body": b""}]

    async def receive() -> Any:
        if not messages:
            await never.wait()
        return messages.pop(0)

    bounded = Bounded(receive, 5)
    await bounded()
    waiting = asyncio.ensure_future(bounded())
    bounded.gone.set()
    assert {"type": "http.disconnect"} == await waiting


async def test_an_answer_that_goes_on_ends_when_its_caller_may_no_more() -> None:
    sent: list[Any] = []
    may = [True, False]
    ended: list[str] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def still() -> bool:
        return may.pop(0)

    sending = Sending(send, still, lambda: ended.append("ended"))
    await sending({"type": "http.response.start", "status": 200, "headers": []})
    for part in (b"1", b"2", b"3", b"4"):
        await sending({"type": "http.response.body", "body": part, "more_body": True})
    assert [b"1", b"2", b""] == [one["body"] for one in sent[1:]]
    assert not sent[-1]["more_body"]
    assert ["ended"] == ended


async def test_every_answer_says_what_no_page_may_do_with_it() -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    own = [(b"cache-control", b"immutable"), (b"content-type", b"text/html")]
    sending = Sending(send)
    sending.cookies.append("a=b")
    await sending({"type": "http.response.start", "status": 200, "headers": own})
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    assert {name.lower() for name in HEADERS} <= set(headers)
    assert ("immutable", "a=b") == (headers["cache-control"], headers["set-cookie"])
    assert "unsafe" not in headers["content-security-policy"]


def test_so_many_at_once_and_then_as_many_as_come_back() -> None:
    now = [0.0]
    throttle = Throttle(3, 0.5, lambda: now[0])
    assert [0, 0, 0, 2, 2] == [throttle.take("ada") for _ in range(5)]
    assert 0 == throttle.take("bob")
    now[0] = 1.0
    assert 1 == throttle.take("ada")
    now[0] = 4.0
    assert [0, 0] == [throttle.take("ada") for _ in range(2)]


def test_what_is_remembered_of_callers_has_a_bound() -> None:
    throttle = Throttle(1, 1, lambda: 0.0)
    for number in range(MOST_KEYS + 10):
        throttle.take(number)
    assert MOST_KEYS == len(throttle)
    assert 1 == throttle.take(MOST_KEYS + 9)
