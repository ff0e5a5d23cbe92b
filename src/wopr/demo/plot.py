"""What happens in the shop's week: visitors by day and night, campaigns, trouble, and operators."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from wopr.demo.trade import FEEDS
from wopr.demo.week import Week
from wopr.domain.act import Act
from wopr.domain.change import Change, Verb, decision, take_back
from wopr.domain.controls import Pause
from wopr.domain.schedule import Schedule, decide, settle
from wopr.domain.selection import Selection
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.domain.transition import Transition

PHOTOS, LETTERS, ORDERS = 0.08, 0.12, 0.62
"""Shares of all tasks: the photos of the nights, the newsletters, and what visitors order."""
PLANNED = 312
"""So many tasks the schedules enqueue in a day."""
TOLD = frozenset({"payments.charge", "imports.feed"})
"""Somebody is told of their failures."""
EVERY = timedelta(hours=1)
_HOUR = timedelta(hours=1)


class Plot:
    """Puts a week together.

    Args:
        week: that it happens in.
        end: when the week is over, naive UTC.
        days: how long it is.
        tasks: about so many.
        schedules: the rows of those that fire.
    """

    def __init__(
        self, week: Week, end: datetime, days: int, tasks: int, schedules: Iterable[Schedule]
    ) -> None:
        self._week = week
        self._schedules = list(schedules)
        self._rng = week.rng
        self._end = end
        self._begin = end - timedelta(days=days)
        self._days = days
        self.pauses: dict[str, Pause] = {}
        """What is paused at the end, by the name of the pause."""
        self._told: dict[str, datetime] = {}
        week.on_failed = self._notify
        self._fill(tasks)

    def _ago(self, hours: float) -> datetime:
        return self._end - hours * _HOUR

    def _day(self, ago: int, hour: float) -> datetime:
        """Return a moment of one of the days before the end, by its hour."""
        return self._end.replace(hour=0, minute=0, second=0) + (hour - 24 * ago) * _HOUR

    def _fill(self, tasks: int) -> None:
        self._week.at(self._begin, self._week.start)
        for row in self._schedules:
            self._plan(row)
        self._visits(tasks)
        self._nights(int(tasks * PHOTOS / self._days))
        self._campaigns(int(tasks * LETTERS / 3))
        self._deploys()
        self._troubles()
        self._operators()

    # -- what comes in --------------------------------------------------------

    def _visits(self, tasks: int) -> None:
        """Spread visits over the days: few at night, most before noon and in the evening."""
        wanted = max(0.0, tasks * (1 - PHOTOS - LETTERS) - PLANNED * self._days)
        orders = int(wanted * ORDERS / 4)  # each is a flow of four tasks
        others = int(wanted * (1 - ORDERS))
        for _ in range(orders):
            self._week.at(self._moment(), self._order)
        for _ in range(others):
            self._week.at(self._moment(), self._visit)

    def _moment(self) -> datetime:
        span = (self._end - self._begin).total_seconds()
        while True:
            found = self._begin + timedelta(seconds=self._rng.uniform(0, span))
            if self._rng.random() < busy(found):
                return found

    def _order(self) -> None:
        week, rng = self._week, self._rng
        order, amount = rng.randrange(100_000, 999_999), round(rng.uniform(9, 250), 2)
        flow = week.new_id()
        paid = week.add("payments.charge", order, amount, flow=flow, key="charge")
        bill = week.add("reports.invoice", order, parents=[paid], flow=flow, key="invoice")
        label = week.add("shipping.label", order, parents=[paid], flow=flow, key="label")
        to = f"customer{order % 5000}@example.org"
        week.add("mail.receipt", order, to, parents=[bill, label], flow=flow, key="receipt")

    def _visit(self) -> None:
        week, rng = self._week, self._rng
        what, number = rng.random(), rng.randrange(1_000, 40_000)
        if what < 0.55:
            week.add("search.update", number)
        elif what < 0.8:
            week.add("images.resize", f"/srv/photos/{number}.jpg", rng.choice([320, 800, 1600]))
        elif what < 0.95:
            week.add("mail.password", f"customer{number % 5000}@example.org")
        else:
            week.add("payments.refund", number, round(rng.uniform(9, 99), 2))

    def _nights(self, count: int) -> None:
        """Each night somebody uploads the photos of the day, all at once."""
        for day in range(self._days + 1):
            moment = self._day(day, 2.2)
            self._burst(moment, count, self._photo)

    def _photo(self, number: int) -> None:
        self._week.add("images.resize", f"/srv/photos/night-{number}.jpg", 1600)

    def _campaigns(self, count: int) -> None:
        """Newsletters: all of one are enqueued at once, and the last is half sent."""
        for moment, name in (
            (self._day(5, 10.0), "spring"),
            (self._day(2, 10.0), "garden"),
            (self._ago(count * 0.5 / 3_600 / 5), "autumn"),
        ):
            self._burst(moment, count, partial(self._letter, name))

    def _letter(self, name: str, number: int) -> None:
        self._week.add("mail.newsletter", name, f"customer{number}@example.org")

    def _burst(self, moment: datetime, count: int, add: Callable[[int], None]) -> None:
        if not self._begin <= moment < self._end:
            return
        for number in range(count):
            self._week.at(moment + timedelta(milliseconds=number), partial(add, number))

    def _plan(self, row: Schedule) -> None:
        if row.next_fire_at is not None:
            moment = row.next_fire_at.replace(tzinfo=None)
            self._week.at(max(moment, self._week.now), lambda: self._fire(row))

    def _fire(self, row: Schedule) -> None:
        """Do what the scheduler does about a schedule that is due, if a process has one."""
        week = self._week
        if not week.works:
            week.at(week.now + timedelta(seconds=30), lambda: self._fire(row))
            return
        live = [one.id for one in week.live.values() if one.schedule == row.name]
        decision = decide(row, week.now.replace(tzinfo=UTC), live)
        made = [
            week.add(
                row.task,
                *json.loads(row.args),
                schedule=row.name,
                planned=moment.replace(tzinfo=None),
            )
            for moment in decision.fire
        ]
        settle(row, decision, made[-1].id if made else None)
        self._plan(row)

    # -- what goes wrong ------------------------------------------------------

    def _deploys(self) -> None:
        """Deploys end the process in order, once it is killed: each while much is going on."""
        for day, hour, killed in (
            (5, 10.005, False),
            (3, 9.3, False),
            (3, 2.21, True),
            (1, 15.3, False),
        ):
            moment, pause = self._day(day, hour), timedelta(seconds=1_500 if killed else 12)
            self._week.at(moment, partial(self._week.stop, killed=killed))
            self._week.at(moment + pause, self._week.start)

    def _troubles(self) -> None:
        week, day = self._week, self._day
        self._between(day(4, 13.0), day(4, 15.2), week.worse, "payments", 60.0)
        self._between(day(2, 9.8), day(2, 12.0), week.slower, "mail", 4.0)
        self._between(self._ago(7.0), self._ago(6.2), week.worse, "search", 60.0)
        week.at(self._ago(26.0), week.break_feed)

    def _between(
        self, begin: datetime, end: datetime, what: dict[str, float], category: str, factor: float
    ) -> None:
        self._week.at(begin, lambda: what.update({category: factor}))
        self._week.at(end, lambda: what.update({category: 1.0}))

    def _notify(self, record: TaskRecord) -> None:
        """Tell somebody of a failure, as an alert does: once in a while for each name."""
        week, name = self._week, record.name
        told = self._told.get(name)
        if name not in TOLD or (told is not None and week.now - told < EVERY):
            return
        self._told[name] = week.now
        event = {
            "id": week.new_id(),
            "category": "alerts",
            "level": "error",
            "title": f"{name} failed for good",
            "message": record.error,
            "metadata": {"task_id": record.id, "task_name": name},
            "created_at": f"{week.now.isoformat()}Z",
        }
        week.add("wopr.notify", "ops", event)

    # -- what operators do ----------------------------------------------------

    def _operators(self) -> None:
        at = self._week.at
        day = self._day
        at(day(4, 14.0), lambda: self._pause("payments", "mara", "the gateway is down"))
        at(day(4, 15.3), lambda: self._resume("payments", "mara"))
        at(day(4, 15.4), lambda: self._retry("payments.charge", "mara"))
        at(day(2, 10.02), lambda: self._cancel_letters("jonas"))
        at(self._ago(0.7), lambda: self._pause("imports", "jonas", "globex sends another schema"))
        at(self._ago(0.5), lambda: self._import(FEEDS[:1]))
        at(self._ago(0.45), lambda: self._cancel_imports("jonas"))
        at(self._ago(0.4), lambda: self._import(FEEDS[:2]))  # which so wait

    def _import(self, feeds: Sequence[str]) -> None:
        for feed in feeds:
            self._week.add("imports.feed", feed)

    def _cancel_imports(self, who: str) -> None:
        change = Change(verb=Verb.CANCEL, reason="the old schema")
        which, chosen = self._waiting("imports.feed")
        self._act(change, which, chosen, who)

    def _waiting(self, name: str) -> tuple[Selection, list[TaskRecord]]:
        which = Selection(name=(name,), status=(TaskStatus.PENDING,))
        live = self._week.live.values()
        return which, [one for one in live if one.name == name and one.status is TaskStatus.PENDING]

    def _pause(self, category: str, who: str, reason: str) -> None:
        since = self._week.now.replace(tzinfo=UTC)
        pause = Pause(category=category, reason=reason, since=since, by=who, origin="wopr web")
        self.pauses[pause.name] = pause
        self._week.counters[category].paused = True
        self._note("pause", who, pause, before=None, after=json.loads(pause.to_rule().value))

    def _resume(self, category: str, who: str) -> None:
        pause = self.pauses.pop(f"category {category}", None)
        if pause is None:
            return  # it lies before the beginning
        self._week.counters[category].paused = False
        self._note("resume", who, pause, before=json.loads(pause.to_rule().value), after=None)
        self._week.serve(category)

    def _note(self, verb: str, who: str, pause: Pause, **values: Any) -> None:
        reason = pause.reason if verb == "pause" else ""
        self._week.ledger.begin(
            verb,
            who,
            self._week.now,
            selection=json.dumps({"pause": pause.name}),
            detail=json.dumps({"kind": "pause", "name": pause.name, **values}),
            reason=reason,
            changed=1,
        )

    def _retry(self, name: str, who: str) -> None:
        which = Selection(name=(name,), status=(TaskStatus.FAILED,))
        chosen = [one for one in self._week.failed if one.name == name]
        change = Change(verb=Verb.RETRY, reason="the gateway is back")
        self._act(change, which, chosen, who)
        self._week.failed = [one for one in self._week.failed if one.name != name]

    def _cancel_letters(self, who: str) -> None:
        """Cancel a campaign, and take that back two minutes later."""
        which, chosen = self._waiting("mail.newsletter")
        change = Change(verb=Verb.CANCEL, reason="wrong picture in it")
        if made := self._act(change, which, chosen, who):
            later = self._week.now + timedelta(minutes=2)
            self._week.at(later, lambda: self._undo(made, chosen, who))

    def _act(
        self, change: Change, which: Selection, chosen: Iterable[TaskRecord], who: str
    ) -> list[Transition]:
        week = self._week
        act = week.ledger.begin(
            change.verb.value,
            who,
            week.now,
            selection=which.to_json(),
            detail=json.dumps(change.detail),
            reason=change.reason or "",
        )
        decided, done = decision(change, act.number), list[Transition]()
        for record in chosen:
            made = decided(record, week.now)
            if week.change(record, made) and isinstance(made, Transition):
                done.append(made)
        self._ended(act, len(done))
        return done

    def _undo(self, made: list[Transition], chosen: list[TaskRecord], who: str) -> None:
        week = self._week
        records = {one.id: one for one in chosen}
        number = (made[0].data or {}).get("act")
        act = week.ledger.begin(
            "undo", who, week.now, selection=json.dumps({"act": number}), undoes=number
        )
        count = 0
        for one in made:
            record = records[one.task_id]
            count += week.change(record, take_back(one, act.number)(record, week.now))
        self._ended(act, count)

    def _ended(self, act: Act, changed: int) -> None:
        ledger = self._week.ledger
        ledger.acts[act.number - 1] = replace(act, changed=changed, last_seq=ledger.newest)


def busy(moment: datetime) -> float:
    """Return how busy the shop is at a moment, from 0 to 1."""
    hour = moment.hour + moment.minute / 60
    noon = math.exp(-(((hour - 11) / 2.8) ** 2))
    evening = 0.9 * math.exp(-(((hour - 20) / 2.2) ** 2))
    weekend = 0.7 if moment.weekday() >= 5 else 1.0
    return (0.08 + 0.9 * max(noon, evening)) * weekend
