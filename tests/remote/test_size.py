"""Large messages are read beside the event loop, and those of too many parts not at all."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.queues import PATIENCE
from support.wire import NEW, wire
from wopr import PayloadTooLargeError, QueryError, TaskQueue
from wopr.remote import protocol, size
from wopr.remote import verbs as verbs_module
from wopr.remote.verbs import Verbs

ODD = st.text(alphabet='ab"\\\\,[]{}\\n\u00e9', max_size=8)
VALUES = st.recursive(
    st.none() | st.integers() | ODD,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(ODD, inner, max_size=5),
    max_leaves=40,
)


def parts(value: Any) -> tuple[int, int]:
    """Return how many commas, lists and objects the JSON of a value has, and lists and objects."""
    if not isinstance(value, list | dict):
        return 0, 0
    inner = [parts(one) for one in (value.values() if isinstance(value, dict) else value)]
    lists = 1 + sum(one[1] for one in inner)
    return max(0, len(value) - 1) + 1 + sum(one[0] for one in inner), lists


@given(VALUES, st.integers(1, 30))
def test_parts_are_counted_without_what_stands_in_texts(value: Any, piece: int) -> None:
    line = json.dumps(json.dumps(value)).encode() + json.dumps(value).encode()
    every, lists = parts(value)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(size, "_SLICE", piece)
        patch.setattr(size, "MOST_PARTS", every)
        patch.setattr(size, "MOST_LISTS", lists)
        size.check_parts(line)
        if every:
            patch.setattr(size, "MOST_PARTS", every - 1)
            with pytest.raises(PayloadTooLargeError, match="nothing was carried out"):
                size.check_parts(line)


def queue_of(path: Path) -> TaskQueue:
    queue = TaskQueue(enabled=True, database=path)
    queue.register_task("double")(lambda number: 2 * number)
    return queue


async def test_a_message_of_many_small_parts_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop serves another client while one message is read."""
    reads, may_go_on = threading.Event(), threading.Event()
    decode = protocol.decode

    def slowly(line: bytes) -> dict[str, Any]:
        if len(line) > size.LARGE:
            reads.set()
            assert may_go_on.wait(PATIENCE)
        return decode(line)

    monkeypatch.setattr(protocol, "decode", slowly)
    async with queue_of(tmp_path / "queue.duckdb") as queue:
        await queue.get_task_stats()
        async with wire(queue.database) as client, wire(queue.database) as other:
            client.send("get", [[]] * 100_000)
            while not reads.is_set():
                assert "ok" in await other.ask("stats")
            assert "ok" in await other.ask("stats")
            may_go_on.set()
            assert (await client.answer())["error"]["type"] == "InvalidCallError"


async def test_a_message_of_too_many_parts_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    async with queue_of(tmp_path / "queue.duckdb") as queue:
        await queue.get_task_stats()
        async with wire(queue.database) as client:
            for many in ([[]] * (size.MOST_LISTS + 1), [1] * (size.MOST_PARTS + 1)):
                number = client.send("add_flow", many)
                answer = await client.answer()
                assert (number, "PayloadTooLargeError") == (answer["id"], answer["error"]["type"])
            assert "ok" in await client.ask("add", NEW)


async def test_many_tasks_of_one_message_are_checked_in_a_thread(tmp_path: Path) -> None:
    async with queue_of(tmp_path / "queue.duckdb") as queue:
        await queue.get_task_stats()
        async with wire(queue.database) as client:
            many = [NEW] * (size.MANY + 1)
            assert len((await client.ask("add_flow", many))["ok"]) == len(many)
            assert len((await client.ask("add_many", many))["ok"]) == len(many)
            answer = await client.ask("add_flow", [*many, {**NEW, "name": None}])
            assert "nothing was carried out" in answer["error"]["message"]
            assert (await queue.get_task_stats())["by_status"] == {"pending": 2 * len(many)}


async def test_a_call_that_is_given_up_while_it_is_checked_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks, may_go_on = threading.Event(), threading.Event()

    class Checked:
        closed = False

        def close(self) -> None:
            self.closed = True
            loop.call_soon_threadsafe(ended.set)

    call, loop, ended = Checked(), asyncio.get_running_loop(), asyncio.Event()

    def verb(*_: Any) -> Any:
        checks.set()
        assert may_go_on.wait(PATIENCE)
        return call

    monkeypatch.setattr(verbs_module, "_checked", lambda name: verb)
    verbs = Verbs(None, bool, 1_000, None)  # type: ignore[arg-type]
    asked = asyncio.create_task(verbs.carry_out("add_many", [[NEW] * (size.MANY + 1)]))
    while not checks.is_set():
        await asyncio.sleep(0)
    asked.cancel()
    await asyncio.wait({asked})
    may_go_on.set()
    async with asyncio.timeout(PATIENCE):
        await ended.wait()
    assert call.closed


@pytest.mark.parametrize(
    "params",
    [
        [list(range(100_001))],
        [list(range(50_001)), list(range(50_001))],
        [[list(range(1_000))] * 101],
        [{str(n): n for n in range(100_001)}],
    ],
)
async def test_a_query_with_too_many_values_is_refused_at_once(
    tmp_path: Path, params: list[Any]
) -> None:
    async with queue_of(tmp_path / "queue.duckdb") as queue:
        with pytest.raises(QueryError, match=r"values are more than 100,000.*string_split"):
            await queue.sql("select ?", *params)
        many = ",".join("ab" * 200_000)
        found = await queue.sql("select unnest(string_split(?, ',')) as one limit 3", many)
        assert ["a", "b", "a"] == [row["one"] for row in found]
