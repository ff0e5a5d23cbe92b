"""What is set by hand is an act too: pauses, limits, revocations, schedules, cleanups."""

from __future__ import annotations

import json

from support.queues import Home
from wopr import TaskQueue


async def declared(queue: TaskQueue) -> None:
    """Declare a task, and enqueue two of it."""

    @queue.register_task("work")
    async def work(number: int = 0) -> int:
        return number

    for number in range(2):
        await queue.enqueue("work", (number,))


async def verbs(queue: TaskQueue) -> list[str]:
    """Return what was done, the oldest first."""
    return [act.verb for act in reversed(await queue.acts())]


async def test_settings_are_acts_with_what_was_before(home: Home) -> None:
    async with home.queue() as queue:
        await queue.pause("mail", reason="moving house")
        await queue.resume("mail")
        await queue.set_limit("mail", concurrency=2)
        await queue.set_limit("mail", concurrency=2)  # changes nothing
        await queue.set_limit("mail", concurrency=3)
        await queue.remove_limit("mail")
        await queue.remove_limit("mail")  # there is none
        assert ["pause", "resume", "limit", "limit", "remove-limit"] == await verbs(queue)
        acts = list(reversed(await queue.acts()))
        assert ("moving house", '{"pause": "category mail"}') == (acts[0].reason, acts[0].selection)
        said = json.loads(acts[3].detail)
        assert (2, 3) == (said["before"]["concurrency"], said["after"]["concurrency"])


async def test_settings_are_taken_back_unless_they_were_set_anew(home: Home) -> None:
    async with home.queue() as queue:
        await queue.set_limit("mail", concurrency=2)
        await queue.set_limit("mail", concurrency=3)
        await queue.pause("mail", reason="moving house")
        await queue.resume("mail")
        assert 0 == (await queue.undo(1)).act.changed  # it is 3 meanwhile
        assert [3] == [limit.concurrency for limit in await queue.limits()]
        assert 1 == (await queue.undo(2)).act.changed
        assert [2] == [limit.concurrency for limit in await queue.limits()]
        assert 1 == (await queue.undo(4)).act.changed
        assert ["moving house"] == [pause.reason for pause in await queue.pauses()]
        assert 1 == (await queue.undo(1)).act.changed
        assert [] == await queue.limits()


async def test_a_revocation_is_an_act_that_can_be_taken_back(home: Home) -> None:
    async with home.queue() as queue:
        await declared(queue)
        assert 1 == await queue.revoke(task="work", where={"number": 1}, reason="wrong price")
        [act] = await queue.acts()
        assert ("revoke-tasks", 1, "wrong price") == (act.verb, act.changed, act.reason)
        assert {"where": {"number": 1}} == json.loads(act.detail)
        assert 1 == (await queue.undo(act.number)).act.changed
        assert {"pending": 2} == (await queue.get_task_stats())["by_status"]


async def test_schedules_that_are_changed_by_hand_are_acts(home: Home) -> None:
    async with home.queue() as queue:
        await declared(queue)
        await queue.schedules.add("nightly", "work", at="02:00")
        await queue.schedules.pause("nightly", reason="moving house")
        await queue.schedules.resume("nightly")
        await queue.schedules.run_now("nightly")
        await queue.schedules.remove("nightly")
        expected = ["add", "pause", "resume", "run", "remove"]
        assert [f"{verb}-schedule" for verb in expected] == await verbs(queue)


async def test_a_cleanup_is_an_act_and_deletes_older_ones(home: Home) -> None:
    async with home.queue() as queue:
        await declared(queue)
        await queue.tasks.where(name="work").cancel()
        assert 2 == await queue.cleanup_old_tasks(days=0)
        [act] = await queue.acts()
        assert ("cleanup", 2) == (act.verb, act.changed)


async def test_acts_are_numbered_on_after_a_restart(home: Home) -> None:
    queue = home.queue()
    async with queue:
        await queue.pause("mail")
    if not home.keeps_history:
        return
    async with home.queue() as queue:
        await queue.resume("mail")
        assert [2, 1] == [act.number for act in await queue.acts()]
