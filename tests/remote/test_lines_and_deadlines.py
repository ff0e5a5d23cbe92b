"""What the two sides of a socket read and wait with, and how messages travel."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from wopr.domain.errors import PayloadError
from wopr.domain.newtask import NewTask
from wopr.remote import protocol
from wopr.remote.deadlines import Deadlines
from wopr.remote.lines import Lines
from wopr.remote.size import LARGE


def lines_of(*, wanted: str) -> tuple[Lines, list[tuple[bytes, bool]]]:
    """Return lines of which those that contain a text are taken first, and what was taken."""
    taken: list[tuple[bytes, bool]] = []
    lines = Lines()

    def first(line: bytes, alone: bool) -> bool:
        if wanted.encode() in line:
            taken.append((line, alone))
            return True
        return False

    lines.first = first
    return lines, taken


async def test_lines_are_taken_in_the_turn_in_which_they_come() -> None:
    lines, taken = lines_of(wanted="a")
    lines.data_received(b"a1\n")
    lines.data_received(b"a2\na3\n")
    assert [(b"a1", True), (b"a2", False), (b"a3", False)] == taken


async def test_what_follows_a_line_that_nobody_took_stays_behind_it() -> None:
    lines, taken = lines_of(wanted="a")
    lines.data_received(b"a1\nb\na2\na")
    lines.data_received(b"3\na4\n")
    assert [b"a1"] == [line for line, _ in taken]
    read = [await lines.reader.readline() for _ in range(4)]
    assert [b"b\n", b"a2\n", b"a3\n", b"a4\n"] == read
    for line in read[:-1]:
        lines.done(len(line))
    lines.data_received(b"a5\n")
    assert 1 == len(taken)
    lines.done(len(read[-1]) + len(await lines.reader.readline()))
    lines.data_received(b"a6\n")
    assert (b"a6", True) == taken[-1]


async def test_a_part_of_a_line_and_a_large_one_go_to_the_stream() -> None:
    lines, taken = lines_of(wanted="a")
    large = b"a" * (LARGE + 1) + b"\n"
    lines.data_received(large)
    assert large == await lines.reader.readline()
    lines.done(len(large))
    lines.data_received(b"a")
    lines.data_received(b"\n")
    assert b"a\n" == await lines.reader.readline()
    assert not taken


async def test_answers_are_given_up_each_at_its_time() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines()
    never, there, soon, next_ = (loop.create_future() for _ in range(4))
    deadlines.set(never, 3600.0)
    deadlines.set(there, 0.0)
    there.set_result(1)
    deadlines.set(soon, 0.001)  # before the timer that was set
    with pytest.raises(TimeoutError):
        await soon
    deadlines.set(next_, 0.001)
    with pytest.raises(TimeoutError):
        await next_
    assert 1 == there.result()
    assert not never.done()
    deadlines.stop()


async def test_an_answer_that_is_there_needs_no_deadline() -> None:
    loop = asyncio.get_running_loop()
    deadlines = Deadlines()
    dropped, last = loop.create_future(), loop.create_future()
    deadlines.set(dropped, 0.0)
    deadlines.drop(dropped)
    deadlines.drop(dropped)
    deadlines.set(last, 0.001)
    with pytest.raises(TimeoutError):
        await last
    assert not dropped.done()


MESSAGES: list[Any] = [
    {"id": 1, "verb": "get", "params": ["x", None, True, -1]},
    {"id": 1, "ok": 'ä\u2028\U0001f600\\u0041"'},
    {"id": 1, "ok": {"$type": "tuple", "value": [1]}},
    {"id": 1, "ok": ["$type", {"a": "$type"}]},
    {"id": 1, "ok": {"a": {"b": {"c": {"d": {"e": [1]}}}}}},
    {"id": 1, "ok": (1, ("a", None), [2.5])},
    {"id": 1, "ok": {1: "one", "two": 2}},
    {"id": 1, "ok": ["x" * 100_000, 10**300]},
]


@pytest.mark.parametrize("message", MESSAGES, ids=range(len(MESSAGES)))
def test_a_message_arrives_as_it_was(message: dict[str, Any]) -> None:
    line = protocol.encode(message)
    assert 1 == line.count(b"\n")
    assert message == protocol.decode(line)


def test_a_tag_that_is_written_in_another_way_is_one() -> None:
    assert {"ok": (1,)} == protocol.decode(b'{"ok": {"\\u0024type": "tuple", "value": [1]}}')


@pytest.mark.parametrize("text", ["\ud800", 10**5_000], ids=["surrogate", "digits"])
def test_what_has_no_json_is_refused_by_name(text: object) -> None:
    with pytest.raises(PayloadError, match="message"):
        protocol.encode({"id": 1, "ok": [text]})


def test_a_new_task_is_understood_by_an_owner_of_before() -> None:
    new = NewTask(name="n", category="c", priority=2, max_retries=0, args="[]", kwargs="{}")
    plain = protocol.new_task_to_plain(new)
    assert new == protocol.new_task_from_plain(plain)
    line = protocol.encode({"id": 1, "verb": "add", "params": [plain]})
    assert b"$type" not in line
    before = {**plain, "depends_on": ()}  # as they sent it, and still do
    assert new == protocol.new_task_from_plain(before)
