"""The shop's queue on a made-up clock: who waits, who runs, what fails, and what becomes of it.

The same rules as everywhere decide about each task (:mod:`wopr.domain.decide`), so its history is
one that an engine could have written; only the time is made up.
"""

from __future__ import annotations

import heapq
import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from wopr.demo.counter import Counter
from wopr.demo.ledger import Ledger
from wopr.demo.trade import BROKEN_FEED, FEEDS, KINDS, WORKERS, Trouble
from wopr.domain import decide
from wopr.domain.guarded import full_name
from wopr.domain.logline import LogLine
from wopr.domain.outcome import Failed, Outcome, Succeeded
from wopr.domain.status import TERMINAL, Move, TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition

AT_ONCE = 200
"""So many events happen before whoever carries them on is asked whether there is room for more."""
LOGGED = 0.08
"""So large a share of what succeeds has logged something."""
HOST = "shop-1"
_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as the records hold times


class Week:
    """Tasks, workers and a heap of what happens next."""

    def __init__(self, ledger: Ledger, rng: random.Random, begin: datetime) -> None:
        self.ledger = ledger
        self.rng = rng
        self.now = begin
        self.counters = {name: Counter(name, count) for name, count in WORKERS.items()}
        self.live: dict[str, TaskRecord] = {}
        self.failed: list[TaskRecord] = []
        self.slower: dict[str, float] = {}
        """By category: so many times as long an attempt takes just now."""
        self.worse: dict[str, float] = {}
        """By category: so many times as often one fails just now."""
        self.broken_feed = False
        self.on_failed: Callable[[TaskRecord], None] = lambda record: None
        """Is called with each task that failed for good."""
        self._children: dict[str, list[TaskRecord]] = defaultdict(list)
        self._heap: list[tuple[datetime, int, Callable[[], None]]] = []
        self._lost: dict[str, TaskRecord] = {}
        self._events = self._ids = 0
        self._pid = 1_000

    # -- time -----------------------------------------------------------------

    def at(self, moment: datetime, happens: Callable[[], None]) -> None:
        """Let something happen at a moment; what lies before the beginning does not."""
        if moment < self.now:
            return
        self._events += 1
        heapq.heappush(self._heap, (moment, self._events, happens))

    def until(self, end: datetime) -> Iterator[None]:
        """Let everything happen up to a moment; give a break now and then."""
        count = 0
        while self._heap and self._heap[0][0] <= end:
            self.now, _, happens = heapq.heappop(self._heap)
            happens()
            count += 1
            if count % AT_ONCE == 0:
                yield
        self.now = end

    # -- tasks ----------------------------------------------------------------

    def new_id(self) -> str:
        """Return the next id, as of this moment: a UUIDv7."""
        self._ids += 1
        millis = (self.now - _EPOCH) // timedelta(milliseconds=1)
        head = f"{millis:012x}"
        tail = f"{self.rng.getrandbits(62) | 1 << 63:016x}"
        return f"{head[:8]}-{head[8:]}-7{self._ids & 0xFFF:03x}-{tail[:4]}-{tail[4:]}"

    def add(
        self,
        name: str,
        *args: Any,
        parents: Sequence[TaskRecord] = (),
        flow: str | None = None,
        key: str | None = None,
        schedule: str | None = None,
        planned: datetime | None = None,
    ) -> TaskRecord:
        """Enqueue a task now."""
        kind = KINDS[name]
        options = None if key is None else json.dumps({"flow": {"key": key}})
        record = TaskRecord(
            self.new_id(),
            name,
            kind.category,
            int(kind.priority),
            kind.max_retries,
            json.dumps(args),
            "{}",
            self.now,
            options=options,
        )
        record.flow_id = flow
        record.schedule, record.scheduled_for = schedule, planned
        if parents:
            record.depends_on = json.dumps([one.id for one in parents], separators=(",", ":"))
            record.waiting = True
            for one in parents:
                self._children[one.id].append(record)
        self.live[record.id] = record
        self.ledger.add(record)
        if not parents:
            self._wait(record)
        return record

    def _wait(self, record: TaskRecord) -> None:
        self.counters[record.category].push(record, self.now)
        self.serve(record.category)

    def serve(self, category: str) -> None:
        """Let free workers take what waits."""
        counter = self.counters[category]
        while (found := counter.next()) is not None:
            worker, record = found
            claim = decide.claim(record, worker, self.now)
            assert claim is not None, "it waits"
            self.ledger.write(record, claim)
            self._plan_end(record)

    def _plan_end(self, record: TaskRecord) -> None:
        kind, category = KINDS[record.name], record.category
        seconds = kind.takes(self.rng) * self.slower.get(category, 1.0)
        trouble = kind.trouble(self.rng, self.worse.get(category, 1.0))
        if self.broken_feed and record.args == json.dumps([FEEDS[-1]]):
            trouble, seconds = BROKEN_FEED, 2.0
        if trouble is not None and trouble.error is TimeoutError:
            seconds = 10.0
        attempt = record.attempt
        outcome = self._outcome(record, trouble)
        end = self.now + timedelta(seconds=seconds)
        self.at(end, lambda: self._end(record, attempt, outcome, seconds))

    def _outcome(self, record: TaskRecord, trouble: Trouble | None) -> Outcome:
        if trouble is None:
            return Succeeded(json.dumps({"ok": True, "took": round(self.rng.random(), 3)}))
        said = f"{trouble.error.__name__}: {trouble.say(self.rng)}"
        kind = full_name(trouble.error)
        retries = record.retry_count
        delay, reason = 2.0 * 2**retries, "failed"
        over = retries >= record.max_retries
        if trouble.final or over:
            why = f"{trouble.error.__name__} is in dont_retry"
            delay, reason = None, why if trouble.final else "all retries used up"
        return Failed(said, kind, _traceback(record.name, said, kind), delay, reason)

    def _end(self, record: TaskRecord, attempt: int, outcome: Outcome, seconds: float) -> None:
        if record.id in self._lost:
            return  # its process is dead
        worker = record.worker
        made = decide.settle(record, attempt, outcome, seconds)
        if made is None:
            return  # it was cancelled, or went back to its queue
        self.ledger.write(record, made)
        self._log(record, attempt, outcome, seconds)
        self.counters[record.category].release(worker)
        self._follow(record)
        self.serve(record.category)

    def _follow(self, record: TaskRecord) -> None:
        """Let happen what follows from a change of status."""
        if record.status is TaskStatus.RETRY:
            due = record.run_at
            assert due is not None, "a retry has its time"
            self.at(due, lambda: self._wait(record) if record.status is TaskStatus.RETRY else None)
            return
        if record.status is TaskStatus.FAILED:
            self.failed.append(record)
            self.on_failed(record)
        if record.status in TERMINAL:
            self.live.pop(record.id, None)
            for child in self._children.pop(record.id, ()):
                self._release(child, record)

    def _release(self, child: TaskRecord, parent: TaskRecord) -> None:
        if child.status is not TaskStatus.PENDING or not child.waiting:
            return
        if parent.status is not TaskStatus.SUCCESS:
            made = decide.release(child, self.now, parent.id)
            assert made is not None, "it waits"
            self.ledger.write(child, made)
            self._follow(child)
        elif not any(one in self.live for one in json.loads(child.depends_on or "[]")):
            self._wait(child)

    def _log(self, record: TaskRecord, attempt: int, outcome: Outcome, seconds: float) -> None:
        if not isinstance(outcome, Failed) and self.rng.random() > LOGGED:
            return
        begun = self.now - timedelta(seconds=seconds)
        said = [(begun, "INFO", f"{record.name} {record.args}")]
        if isinstance(outcome, Failed):
            said.append((self.now, "WARNING", f"It goes wrong: {outcome.error}"))
        else:
            said.append((self.now, "INFO", f"Done after {seconds:.1f} s"))
        lines = [
            LogLine(record.id, attempt, number, moment, level, "shop", text)
            for number, (moment, level, text) in enumerate(said, 1)
        ]
        self.ledger.log(lines)

    def break_feed(self) -> None:
        """Let one supplier send what can't be read, from now on."""
        self.broken_feed = True

    # -- what operators and deploys do ----------------------------------------

    def change(self, record: TaskRecord, made: Transition | str | None) -> bool:
        """Write what somebody decided about a task; whether it was possible."""
        if made is None or isinstance(made, str):
            return False
        worker, category = record.worker, record.category
        running = record.status is TaskStatus.STARTED
        self.ledger.write(record, made)
        if running:
            self.counters[category].release(worker)
        if record.status is TaskStatus.PENDING and made.move in _ANEW:
            self.live[record.id] = record
            self._wait(record)
        self._follow(record)
        return True

    @property
    def works(self) -> bool:
        """Whether there is a process with workers."""
        return any(one.free or one.running for one in self.counters.values())

    def start(self) -> None:
        """Let a process with all workers begin, if none works; it finds what a dead one left."""
        if self.works:
            return
        self._pid += 113
        lost, self._lost = self._lost, {}
        for record in lost.values():
            self.change(record, decide.recover(record, 3, self.now))
        for category, counter in self.counters.items():
            counter.open(HOST, self._pid)
            self.serve(category)

    def stop(self, *, killed: bool) -> None:
        """End the process: what runs goes back to its queue at once, or when another begins."""
        left = [record for one in self.counters.values() for record in one.close()]
        if killed:
            self._lost = {record.id: record for record in left}
            return
        for record in left:
            self.change(record, decide.move(record, Move.INTERRUPT, self.now, reason="shutdown"))


_ANEW = frozenset({Move.RENEW, Move.RESTORE, Move.INTERRUPT, Move.RECOVER})
"""After these a task waits once more."""


def _traceback(name: str, said: str, kind: str) -> str:
    module, _, function = name.partition(".")
    text = said.partition(": ")[2]
    return (
        "Traceback (most recent call last):\n"
        f'  File "/srv/shop/{module}.py", line {40 + len(function) * 7}, in {function}\n'
        f"    return await client.{function}(order)\n"
        '  File "/srv/shop/client.py", line 118, in send\n'
        "    raise error\n"
        f"{kind}: {text}\n"
    )
