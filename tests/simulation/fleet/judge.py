"""What must always hold in a simulated fleet: looked at in the tables, and around each function."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from simulation.fleet.tables import Row, Tables
from support.audit import EDGES
from wopr.executors.context import CurrentTask
from wopr.fleet.owner import LEASE_SECONDS
from wopr.simulation.clock import VirtualClock
from wopr.simulation.trace import Trace

if TYPE_CHECKING:
    from simulation.fleet.world import Host

LIVE = {"pending", "started", "retry"}


class Judge:
    """Notes what is wrong.

    Args:
        clock: the virtual time.
        tables: of the server.
    """

    def __init__(self, clock: VirtualClock, tables: Tables) -> None:
        self.trace = Trace()
        self.limits: dict[str, int] = {}
        """By category: so many of its tasks run at once, at most."""
        self.starts = 0
        self.begins: list[tuple[float, str, str]] = []
        """When which task began on which host."""
        self.live: set[str] = set()
        self._clock, self._tables = clock, tables
        self._wrong: list[str] = []
        self._last: dict[str, Row] = {}
        self._settled: set[tuple[str, int]] = set()
        self._begun: set[tuple[str, int]] = set()
        self._ends: dict[str, set[str]] = defaultdict(set)
        self._keys: dict[str, str] = {}
        self._planned: set[tuple[str, Any]] = set()
        self._running: dict[str, set[str]] = defaultdict(set)
        self._here: dict[str, set[tuple[str, int]]] = defaultdict(set)
        """Attempts whose functions run, by the name of their host."""
        tables.on_commit.append(self._committed)

    def _that(self, text: str) -> None:
        self._wrong.append(text)
        self._note(f"WRONG {text}")

    def _note(self, text: str) -> None:
        self.trace.add(self._clock.seconds, text)

    def look(self) -> None:
        """Raise what is wrong."""
        if self._wrong:
            raise AssertionError(self._wrong[0])

    # -- commits ----------------------------------------------------------------------

    def _committed(self, written: dict[str, dict[Any, Row | None]]) -> None:
        for _, row in sorted(written.get("transitions", {}).items()):
            assert row is not None, "history stays"
            self._transition(row)
        for task_id, row in written.get("tasks", {}).items():
            assert row is not None, "tasks stay"
            self._task(task_id, row)

    def _transition(self, made: Row) -> None:
        task_id, name = made["task_id"], self.trace.name(made["task_id"])
        last = self._last.get(task_id)
        before = None if last is None else last["to_status"]
        move = f"{name} {made['reason']} {made['from_status']}-{made['to_status']}"
        self._note(f"{move} {made['attempt']}")
        if made["from_status"] != before or (before, made["to_status"]) not in EDGES:
            self._that(f"{move}, and it was {before}")
        expected = 0 if last is None else last["attempt"] + (made["reason"] == "claim")
        if made["attempt"] != expected:
            self._that(f"{move} is of attempt {made['attempt']}, not {expected}")
        if last is not None and made["seq"] <= last["seq"]:
            self._that(f"{move} has the number {made['seq']} after {last['seq']}")
        if before == "started":
            if (task_id, made["attempt"]) in self._settled:
                self._that(f"{name}: attempt {made['attempt']} is settled twice")
            self._settled.add((task_id, made["attempt"]))
        if made["to_status"] not in LIVE:
            self._ends[task_id].add(made["to_status"])
        self._last[task_id] = made

    def _task(self, task_id: str, row: Row) -> None:
        name, last = self.trace.name(task_id), self._last.get(task_id)
        stands = row["status"], row["version"], row["attempt"]
        if last is None or stands != (last["to_status"], last["seq"], last["attempt"]):
            self._that(f"{name} is {stands}, and its history says {last}")
        alive = row["status"] in LIVE
        (self.live.add if alive else self.live.discard)(task_id)
        running = self._running[row["category"]]
        (running.add if row["status"] == "started" else running.discard)(task_id)
        most = self.limits.get(row["category"])
        if most is not None and len(running) > most:
            self._that(f"{len(running)} of {row['category']} run, and its limit is {most}")
        if (key := row["unique_key"]) is not None:
            holder = self._keys.get(key)
            if alive and holder not in {None, task_id}:
                self._that(f"{name} and {self.trace.name(str(holder))} live with key {key!r}")
            if alive:
                self._keys[key] = task_id
            elif holder == task_id:
                del self._keys[key]
        if last is not None and last["reason"] == "add" and row["scheduled_for"] is not None:
            plan = row["schedule"], row["scheduled_for"]
            if plan in self._planned:
                self._that(f"{plan} has been fired twice")
            self._planned.add(plan)

    # -- functions ----------------------------------------------------------------------

    def began(self, host: Host, task: CurrentTask) -> None:
        """Look at a function that begins."""
        one, name = (task.id, task.attempt), self.trace.name(task.id)
        self.starts += 1
        self.begins.append((self._clock.seconds, task.id, host.name))
        self._note(f"{name} begins {task.attempt} on {host.name}")
        if one in self._begun:
            self._that(f"{name} runs attempt {task.attempt} for the second time")
        last = self._last.get(task.id)
        if last is None or last["attempt"] < task.attempt:
            self._that(f"{name} runs attempt {task.attempt}, and its claim is not durable")
        self._begun.add(one)
        self._here[host.name].add(one)

    def ended(self, host: Host, task: CurrentTask) -> None:
        """Note that a function has ended."""
        self._here[host.name].discard((task.id, task.attempt))

    # -- hosts --------------------------------------------------------------------------

    def died(self, host: Host) -> None:
        """Note that a host is dead."""
        self._note(f"{host.name} dies")
        self._here.pop(host.name, None)

    def froze(self, host: Host) -> None:
        """Note that a host sleeps."""
        self._note(f"{host.name} sleeps until {host.frozen_until:.3f}")

    def left(self, host: Host, owner: int, *, calm: bool) -> None:
        """Look at what a host leaves that has said goodbye: nothing, if nobody disturbed it."""
        self._note(f"{host.name} has left")
        held = [
            row
            for row in self._tables.committed["tasks"].values()
            if row["status"] == "started" and row["owner"] == owner
        ]
        if calm and held:
            names = [self.trace.name(row["id"]) for row in held]
            self._that(f"{host.name} has left, and still holds {names}")

    def accident(self, host: Host, said: dict[str, Any]) -> None:
        """Note what an event loop complains about."""
        self._that(f"{host.name}: {said.get('message')}: {said.get('exception')!r}")

    # -- answers ------------------------------------------------------------------------

    def acknowledged(self, task_id: str) -> None:
        """Look at a task that somebody was told is enqueued."""
        if task_id not in self._last:
            self._that(f"{self.trace.name(task_id)} was acknowledged, and is not there")

    def told_end(self, task_id: str, status: str) -> None:
        """Look at an end that somebody was told."""
        if status not in self._ends[task_id]:
            self._that(f"{self.trace.name(task_id)} was told to be {status}, and never was")

    # -- the end ------------------------------------------------------------------------

    def nobody_is_lost(self) -> None:
        """Look whether something runs on a host that is not there any more."""
        committed = self._tables.committed
        now = self._clock.now()
        late = {
            one["id"]
            for one in committed["owners"].values()
            if (now - one["lease_until"]).total_seconds() < LEASE_SECONDS
        }
        for row in committed["tasks"].values():
            if row["status"] == "started" and row["owner"] not in late:
                self._that(f"{self.trace.name(row['id'])} runs nowhere, and nobody puts it back")

    def last_look(self) -> None:
        """Look at what is left: nothing waits for what has ended."""
        committed = self._tables.committed
        for one in committed["awaits"].values():
            self._that(f"a row says that {self.trace.name(one['child'])} waits")
        for running in self._here.values():
            if running:
                self._that(f"functions still run: {running}")
        self.look()
