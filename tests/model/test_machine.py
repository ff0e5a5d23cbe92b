"""Every legal and illegal move in random order, against a reference model, on a real file."""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import tempfile
from collections.abc import Callable, Coroutine
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tenacity import wait_fixed

from model.reference import MAX_CRASHES, RETRY_AFTER, WORKERS, Model, ModelTask
from support.audit import clean, doctor
from support.queues import PATIENCE, SteppableClock
from wopr import (
    OnConflict,
    TaskPriority,
    TaskQueue,
    TaskStatus,
    UniqueKeyConflictError,
    current_task,
)
from wopr.config.settings import Settings
from wopr.domain.status import CLAIMABLE
from wopr.queue.queue import inside

T = TypeVar("T")

NIGHTLY = bool(os.environ.get("WOPR_TEST_NIGHTLY"))
INDEX = st.integers(0, 10_000)
PRIORITIES = st.sampled_from(list(TaskPriority))
CATEGORIES = st.sampled_from(sorted(WORKERS))
KEYS = st.sampled_from([None, None, None, "k1", "k2"])


class Machine(RuleBasedStateMachine):
    """A queue on a file, a clock that stands still, and tasks that end when they are told."""

    def __init__(self) -> None:
        super().__init__()
        logging.getLogger("wopr").setLevel(logging.CRITICAL)
        self.folder = Path(tempfile.mkdtemp(prefix="wopr-model-"))
        self.path = self.folder / "tasks.duckdb"
        self.loop = asyncio.new_event_loop()
        self.accidents: list[str] = []
        self.loop.set_exception_handler(lambda _, what: self.accidents.append(str(what)))
        self.clock = SteppableClock()
        self.model = Model()
        self.number = 0
        self.steps = 0  # since the queue was opened
        self.gone: list[str] = []
        self.started: dict[str, list[tuple[str, int]]] = {name: [] for name in WORKERS}
        self.orders: dict[str, asyncio.Future[Callable[[], Any]]] = {}

    # -- the queue under test ---------------------------------------------------

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the machine's event loop."""
        return self.loop.run_until_complete(asyncio.wait_for(work, PATIENCE))

    @initialize()
    def open(self) -> None:
        self.queue = TaskQueue(
            enabled=True,
            database=self.path,
            clock=self.clock,
            settings=Settings(max_crashes=MAX_CRASHES, window=10),
        )
        for category in WORKERS:
            self._define(category)
        self.do(self._open())
        self.steps = 0
        self.model.working = True
        self._settle()

    async def _open(self) -> None:
        for category, count in WORKERS.items():
            await self.queue.start_workers(category, count)

    def _define(self, category: str) -> None:
        @self.queue.task(name=f"work-{category}", category=category, retry=wait_fixed(RETRY_AFTER))
        async def work(number: int) -> Any:
            me = current_task()
            self.started[category].append((me.id, me.attempt))
            order: asyncio.Future[Callable[[], Any]] = self.loop.create_future()
            self.orders[me.id] = order
            try:
                return (await order)()
            finally:
                if self.orders.get(me.id) is order:
                    del self.orders[me.id]

    def _settle(self) -> None:
        """Let the model start what is due, and wait until the queue has done the same."""
        self.model.pump(self.clock.now())
        expected = {task.id for task in self.model.running()} if self.model.working else set()

        async def same() -> None:
            while self.orders.keys() != expected:
                await asyncio.sleep(0.0005)

        try:
            self.do(same())
        except TimeoutError:
            raise AssertionError(f"runs {set(self.orders)}, should run {expected}") from None

    def _pick(self, index: int, *statuses: TaskStatus) -> ModelTask | None:
        found = [t for t in self.model.tasks.values() if not statuses or t.status in statuses]
        return found[index % len(found)] if found else None

    # -- adding --------------------------------------------------------------------

    @rule(
        category=CATEGORIES,
        priority=PRIORITIES,
        retries=st.integers(0, 2),
        delay=st.sampled_from([None, None, 0, 3, 10]),
        key=KEYS,
        conflict=st.sampled_from(list(OnConflict)),
    )
    def add(
        self,
        category: str,
        priority: TaskPriority,
        retries: int,
        delay: float | None,
        key: str | None,
        conflict: OnConflict,
    ) -> None:
        known = self.model.live_with(key)
        enqueue = self.queue.enqueue(
            f"work-{category}",
            (self.number,),
            priority=priority,
            max_retries=retries,
            delay=delay,
            unique_key=key,
            on_conflict=conflict,
        )
        if known is not None and conflict is OnConflict.RAISE:
            with pytest.raises(UniqueKeyConflictError, match=known.id):
                self.do(enqueue)
            return
        handle = self.do(enqueue)
        if known is not None and conflict is OnConflict.SKIP:
            assert known.id == handle.id
            return
        if known is not None:
            assert self.model.cancel(known)
        assert handle.id not in self.model.tasks
        run_at = None if delay is None else self.clock.now() + timedelta(seconds=delay)
        self._note(handle.id, category, priority, retries, run_at, key)
        self._settle()

    def _note(
        self,
        task_id: str,
        category: str,
        priority: TaskPriority,
        retries: int,
        run_at: Any = None,
        key: str | None = None,
    ) -> None:
        self.model.tasks[task_id] = ModelTask(
            task_id, self.number, category, priority, retries, run_at, key
        )
        self.number += 1

    @rule(category=CATEGORIES, priority=PRIORITIES, count=st.integers(2, 14))
    def add_many(self, category: str, priority: TaskPriority, count: int) -> None:
        ids = self.do(
            self.queue.enqueue_ids(
                f"work-{category}", [(n,) for n in range(count)], {"priority": priority}
            )
        )
        assert count == len(set(ids))
        for task_id in ids:
            self._note(task_id, category, priority, 0)
        self._settle()

    # -- ending ---------------------------------------------------------------------

    def _tell(self, task: ModelTask, order: Callable[[], Any]) -> None:
        self.orders[task.id].set_result(order)

        async def ended() -> None:
            while True:
                info = await self.queue.get_task_info(task.id)
                if info is not None and info.attempt > task.attempt:
                    raise AssertionError("it ran again")
                if info is not None and info.status is task.status:
                    return
                await asyncio.sleep(0.0005)

        self.do(ended())
        self._settle()

    @precondition(lambda self: self.model.running())
    @rule(index=INDEX)
    def succeed(self, index: int) -> None:
        task = self._pick(index, TaskStatus.STARTED)
        assert task is not None
        self.model.succeed(task, index)
        self._tell(task, lambda: index)

    @precondition(lambda self: self.model.running())
    @rule(index=INDEX, kind=st.sampled_from(["error", "error", "cancelled", "exit", "payload"]))
    def fail(self, index: int, kind: str) -> None:
        task = self._pick(index, TaskStatus.STARTED)
        assert task is not None

        def order() -> Any:
            if kind == "error":
                raise ValueError("as told")
            if kind == "cancelled":
                raise asyncio.CancelledError("by itself")
            if kind == "exit":
                raise SystemExit(3)
            return object()

        error = {"error": "ValueError", "cancelled": "CancelledError", "exit": "SystemExit"}
        self.model.fail(
            task, error.get(kind, "PayloadError"), self.clock.now(), for_good=kind != "error"
        )
        self._tell(task, order)

    # -- changing ----------------------------------------------------------------------

    @precondition(lambda self: self.model.tasks)
    @rule(index=INDEX, status=st.sampled_from([None, *TaskStatus]))
    def cancel(self, index: int, status: TaskStatus | None) -> None:
        task = self._pick(index, *([status] if status else []))
        if task is None:
            return
        assert self.model.cancel(task) is self.do(self.queue.cancel_task(task.id))
        self._settle()

    @precondition(lambda self: self.model.tasks)
    @rule(index=INDEX, status=st.sampled_from([None, TaskStatus.FAILED, TaskStatus.FAILED]))
    def retry(self, index: int, status: TaskStatus | None) -> None:
        task = self._pick(index, *([status] if status else []))
        if task is None:
            return
        other = self.model.live_with(task.key)
        if task.status is TaskStatus.FAILED and other is not None:
            with pytest.raises(UniqueKeyConflictError, match=other.id):
                self.do(self.queue.retry_task(task.id))
            return
        if other is not None and other is not task:
            return  # an illegal move of a task whose key is taken: either refusal is right
        assert self.model.renew(task) is self.do(self.queue.retry_task(task.id))
        self._settle()

    # -- verbs over a selection -----------------------------------------------------------

    @precondition(lambda self: self.model.tasks)
    @rule(category=CATEGORIES, priority=PRIORITIES)
    def set_priority(self, category: str, priority: TaskPriority) -> None:
        waiting = self._waiting(category)
        answer = self.do(self.queue.tasks.where(category=category).set_priority(priority))
        assert sum(task.priority is not priority for task in waiting) == answer.act.changed
        for task in waiting:
            task.priority = priority
        self._settle()

    @precondition(lambda self: self.model.tasks)
    @rule(start=CATEGORIES)
    def move_away_and_back(self, start: str) -> None:
        waiting = self._waiting(start)
        self.do(self.queue.tasks.where(category=start).move("elsewhere"))
        answer = self.do(self.queue.tasks.where(category="elsewhere").move(start))
        assert len(waiting) == answer.act.changed
        self._settle()

    @precondition(lambda self: self.model.tasks)
    @rule(category=CATEGORIES, seconds=st.sampled_from([0, 2, 7]))
    def delay(self, category: str, seconds: int) -> None:
        waiting = self._waiting(category)
        self.do(self.queue.tasks.where(category=category).delay(seconds))
        for task in waiting:
            task.run_at = self.clock.now() + timedelta(seconds=seconds)
        self._settle()

    @precondition(lambda self: self.model.tasks)
    @rule(category=CATEGORIES)
    def cancel_all_and_take_it_back(self, category: str) -> None:
        live = [
            task
            for task in self.model.tasks.values()
            if task.category == category and self.model.cancel(task)
        ]
        answer = self.do(self.queue.tasks.where(category=category).cancel())
        assert len(live) == answer.act.changed
        self._settle()
        restored = [task for task in live if self.model.restore(task)]
        assert len(restored) == self.do(self.queue.undo(answer.act.number)).act.changed
        self._settle()

    def _waiting(self, category: str) -> list[ModelTask]:
        return [
            task
            for task in self.model.tasks.values()
            if task.category == category and task.status in CLAIMABLE
        ]

    @precondition(lambda self: self.gone)
    @rule(index=INDEX)
    def touch_what_is_gone(self, index: int) -> None:
        task_id = self.gone[index % len(self.gone)]
        assert self.do(self.queue.get_task_info(task_id)) is None
        assert not self.do(self.queue.cancel_task(task_id))
        assert not self.do(self.queue.retry_task(task_id))

    @rule(seconds=st.sampled_from([1.0, 3.0, 5.0, 11.0]))
    def advance(self, seconds: float) -> None:
        self.clock.advance(seconds, self.queue)
        self._settle()

    @rule(keep_history=st.booleans())
    def cleanup(self, keep_history: bool) -> None:
        ended = {t.id for t in self.model.tasks.values()}
        deleted = self.do(self.queue.cleanup_old_tasks(days=0, keep_history=keep_history))
        assert self.model.cleanup() == deleted
        self.gone += sorted(ended - self.model.tasks.keys())

    @rule()
    def recover_again(self) -> None:
        assert 0 == self.do(self.queue.recover_tasks())

    # -- going down -------------------------------------------------------------------------

    # To go down twice in a row says little, and is by far the dearest of all steps.

    @precondition(lambda self: self.steps > 1)
    @rule()
    def restart(self) -> None:
        self.do(self.queue.shutdown(timeout=0))
        self.model.interrupt_all()
        self._check_file(whole=True)
        self.open()

    @precondition(lambda self: self.steps > 1)
    @rule()
    def crash(self) -> None:
        self._abandon()
        self._check_file(whole=False)
        self.model.crash()
        self.open()

    def _abandon(self) -> None:
        """End as a killed process does: nothing is settled, folded or moved into the file.

        The journal stays beside it. A copy of the open file would not do: closing it would
        give away the lock that DuckDB has on it.
        """
        access = inside(self.queue).access
        pools = list(access.pools.values())
        storage = self.queue.storage
        self.do(access._ownership.listen_no_more())  # the kernel does that to a killed process
        for pool in pools:
            pool.accepting = False
            pool.settling.settle = pool.runs._told = lambda *_: None

        async def gone() -> None:
            others = asyncio.all_tasks(self.loop) - {asyncio.current_task(self.loop)}
            for other in others:
                other.cancel()
            await asyncio.gather(*others, return_exceptions=True)

        self.loop.run_until_complete(gone())
        storage._journal.stop()
        storage._folding._finish = lambda: None
        storage._folding.stop()
        storage._reader.close()
        storage._people.let_go()
        storage._started.abandon()
        storage._started = None
        self.orders.clear()

    def _check_file(self, *, whole: bool) -> None:
        found = clean(self.path, whole=whole, deleted=set(self.gone))
        for task in self.model.tasks.values():
            record = found.folded[task.id]
            expected = task.status
            assert expected is record.status or (not whole and expected in record.status)
            assert task.attempt == record.attempt
        assert not [task_id for task_id in self.gone if task_id in found.rows]

    # -- what holds after every step -----------------------------------------------------------

    @invariant()
    def same_as_the_model(self) -> None:
        self.steps += 1
        for task in self.model.tasks.values():
            info = self.do(self.queue.get_task_info(task.id))
            assert info is not None, f"{task} is lost"
            got = (info.status, info.attempt, info.retry_count, info.crashes, info.result)
            assert (task.status, task.attempt, task.retry_count, task.crashes, task.result) == got
            assert (task.error or "") in (info.error or "")
            assert (task.error is None) is (info.error is None)
            assert info.elapsed_seconds >= 0

    @invariant()
    def starts_in_the_order_of_the_model(self) -> None:
        assert self.model.starts == self.started
        for starts in self.started.values():
            assert len(set(starts)) == len(starts)

    @invariant()
    def counts_are_exact(self) -> None:
        if self.number % 5 == 0 and hasattr(self, "queue"):
            stats = self.do(self.queue.get_task_stats())
            statuses = [task.status.value for task in self.model.tasks.values()]
            assert len(statuses) == stats["total"]
            for status, count in stats["by_status"].items():
                assert statuses.count(str(getattr(status, "value", status))) == count

    def teardown(self) -> None:
        try:
            if hasattr(self, "queue"):
                self.do(self.queue.shutdown(timeout=0))
                self.model.interrupt_all()
                self._check_file(whole=True)
                doctor(self.path)
            assert [] == self.accidents
        finally:
            self.loop.close()
            shutil.rmtree(self.folder)
            logging.getLogger("wopr").setLevel(logging.NOTSET)


class TestMachine(Machine.TestCase):
    settings = settings(
        max_examples=2_000 if NIGHTLY else 45,
        stateful_step_count=60 if NIGHTLY else 30,
        deadline=None,
        # A failure waits for its patience to end: shrinking one takes minutes.
        phases=list(Phase) if NIGHTLY else [Phase.explicit, Phase.generate],
        derandomize=not NIGHTLY,
        print_blob=True,
        suppress_health_check=list(HealthCheck),
    )


pytestmark = pytest.mark.timeout(36_000 if NIGHTLY else 240)
