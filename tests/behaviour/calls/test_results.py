"""What ``result()`` gives, and what it does for it: the result is decoded, nothing else."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest

from support.queues import PATIENCE, DuckDBHome, Home
from wopr import TaskQueue, chain
from wopr.domain.codec import CallCodec
from wopr.queue.queue import inside


def counting(queue: TaskQueue, name: str, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the list of the payloads of a task that are decoded from now on."""
    decoded: list[str] = []
    codec = inside(queue).registry.get(name).codec

    def watched(what: str) -> Any:
        original = getattr(CallCodec, what)

        def decode(self: CallCodec, *texts: str) -> Any:
            if self is codec:
                decoded.append(what)
            return original(self, *texts)

        return decode

    for what in ("decode_call", "decode_result"):
        monkeypatch.setattr(CallCodec, what, watched(what))
    return decoded


async def test_a_result_is_decoded_alone(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = home.queue()

    @queue.task
    async def tomorrow(day: date) -> date:
        return day.replace(day=day.day + 1)

    async with queue:
        await queue.start_workers()
        handle = await tomorrow.enqueue(date(2030, 1, 1))
        assert date(2030, 1, 2) == await handle.result(timeout=PATIENCE)

        decoded = counting(queue, "tomorrow", monkeypatch)
        assert date(2030, 1, 2) == await handle.result(timeout=PATIENCE)
        assert ["decode_result"] == decoded


async def test_the_results_of_a_flow_are_decoded_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = home.queue()

    @queue.task
    async def tomorrow(day: date) -> date:
        return day.replace(day=day.day + 1)

    async with queue:
        await queue.start_workers()
        flow = await queue.enqueue_flow(chain(tomorrow.s(date(2030, 1, 1)), tomorrow.s()))
        assert date(2030, 1, 3) == await flow.result(timeout=PATIENCE)

        decoded = counting(queue, "tomorrow", monkeypatch)
        assert date(2030, 1, 3) == await flow.result(timeout=PATIENCE)
        assert ["decode_result"] == decoded
        decoded.clear()
        assert {date(2030, 1, 2), date(2030, 1, 3)} == set((await flow.results()).values())
        assert ["decode_result"] * 2 == decoded


async def test_a_result_comes_even_if_the_arguments_no_longer_fit(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="double")
    async def double(number: int) -> int:
        return 2 * number

    async with queue:
        await queue.start_workers()
        handle = await double.enqueue(21)
        assert 42 == await handle.result(timeout=PATIENCE)

    after = home.queue()

    @after.task(name="double")
    async def doubled(numbers: list[int], scale: int) -> int:
        return scale * sum(numbers)

    async with after:
        assert 42 == await after.handle(handle.id).result(timeout=PATIENCE)


async def test_a_result_whose_function_is_not_here_comes_as_plain_json(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()

    @queue.task(name="pair")
    async def pair() -> tuple[int, date]:
        return 1, date(2030, 1, 1)

    async with queue:
        await queue.start_workers()
        handle = await pair.enqueue()
        assert (1, date(2030, 1, 1)) == await handle.result(timeout=PATIENCE)

    async with durable_home.queue() as after:
        plain = await after.handle(handle.id).result(timeout=PATIENCE)
        info = await after.require_task_info(handle.id)
        assert [1, "2030-01-01"] == plain == info.result
