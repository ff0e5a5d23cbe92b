"""What all other statements do, and all that a simulated server understands."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from simulation.fleet import taskverbs
from simulation.fleet.asked import (
    LIVE,
    Now,
    Rows,
    Verb,
    expires,
    is_due,
    is_free,
    is_later,
    task_row,
)
from simulation.fleet.tables import KEY_SHARE, NO_KEY, UPDATE, Row
from wopr.domain.schedule import COLUMNS as SCHEDULE
from wopr.storage.postgres import (
    looks,
    newtasks,
    retirement,
    schedules,
    selecting,
    statements,
)
from wopr.storage.postgres.moving import marks

# -- owners ---------------------------------------------------------------------------


def register(now: Now) -> Rows:
    """See ``statements.REGISTER``."""
    number = now.tx.tables.next("numbers")
    row = {"id": number, "lease_until": now.until(), "seen_at": now.at, "slots": "{}"}
    now.tx.put("owners", number, row)
    return [(number,)]


def renew(now: Now) -> Rows:
    """See ``statements.RENEW``."""
    number = now.v["owner"]
    row = now.tx.get("owners", number)
    if row is None or row["lease_until"] <= now.at:
        return []
    now.tx.lock(NO_KEY, ("owners", number))
    seen = {"lease_until": now.until(), "seen_at": now.at, "slots": now.v["slots"]}
    now.tx.put("owners", number, {**row, **seen})
    return [(number,)]


def leave(now: Now) -> Rows:
    """See ``statements.LEAVE``."""
    number = now.v["owner"]
    if now.tx.get("owners", number) is not None:
        now.tx.lock(UPDATE, ("owners", number))
        now.tx.put("owners", number, None)
    return []


def _gone(now: Now) -> list[int]:
    running = {row["owner"] for row in now.tasks if row["status"] == "started"}
    return [
        one["id"]
        for one in now.tx.all("owners")
        if one["lease_until"] <= now.at and one["id"] not in running
    ]


def forget(now: Now) -> Rows:
    """See ``statements.FORGET_EXPIRED``."""
    gone = _gone(now)
    now.tx.lock(UPDATE, *(("owners", number) for number in gone))
    for number in gone:
        now.tx.put("owners", number, None)
    return []


def held(now: Now) -> Rows:
    """See ``statements.HOLDS``."""
    if now.v["owner"] not in now.leases() or not now.is_known():
        return []
    now.tx.lock(KEY_SHARE, ("owners", now.v["owner"]))
    return [()]


# -- looks -----------------------------------------------------------------------------


def stale(now: Now) -> Rows:
    """See ``looks.STALE``."""
    asked = zip(now.v["ids"], now.v["versions"], strict=True)
    return [(one,) for one, version in asked if (now.task(one) or {}).get("version") != version]


def look(now: Now) -> Rows:
    """See ``looks.LOOK``."""
    rules = now.tx.get("meta", "rules")
    fires = [one["next_fire_at"] for one in now.tx.all("schedules") if one["paused_at"] is None]
    next_fire = min((one for one in fires if one is not None), default=None)
    first = (now.at, rules and rules["value"], next_fire, [one for (one,) in stale(now)])
    found = []
    for category in now.v["categories"] or [None]:
        free = [row for row in now.tasks if row["category"] == category and is_free(row)]
        later = [row["run_at"] for row in free if is_later(row) and not is_due(row, now.v["now"])]
        due = any(is_due(row, now.v["now"]) for row in free)
        found.append((*first, category, due, min(later, default=None)))
    return found


def look_around(now: Now) -> Rows:
    """See ``looks.LOOK_AROUND``."""
    v, leases = now.v, now.leases()
    running = [row for row in now.tasks if row["status"] == "started"]
    left = any(row["owner"] not in leases for row in running)
    mine = sorted((row["id"], row["version"]) for row in running if row["owner"] == v["owner"])
    late = {
        row["category"]
        for row in now.tasks
        if row["category"] in v["categories"]
        and is_due(row, v["now"])
        and (end := expires(row)) is not None
        and end < v["now"]
    }
    return [
        (
            left and now.started < now.at - timedelta(seconds=v["lease"]),
            bool(_gone(now)),
            [one for one, _ in mine],
            [version for _, version in mine],
            sorted(late),
        )
    ]


def selected(
    which: Callable[[Now, Row], bool], columns: Callable[[Row], tuple[Any, ...]] = task_row
) -> Verb:
    """Return a statement that selects tasks."""
    return lambda now: [columns(row) for row in now.tasks if which(now, row)]


def history(now: Now) -> Rows:
    """See ``statements.HISTORY``."""
    names = ("seq", "task_id", "attempt", "from_status", "to_status", "occurred_at", "worker")
    return [
        tuple(one[name] for name in (*names, "reason", "error", "data"))
        for one in sorted(now.tx.all("transitions"), key=lambda one: one["seq"])
        if one["task_id"] == now.v["id"]
    ]


def starts(now: Now) -> Rows:
    """See ``statements.STARTS``."""
    return [
        (row["name"], row["args"], row["kwargs"], row["keys"], one["occurred_at"])
        for one in sorted(now.tx.all("transitions"), key=lambda one: one["seq"])
        if one["to_status"] == "started"
        and one["occurred_at"] > now.v["since"]
        and (row := now.task(one["task_id"])) is not None
        and row["category"] == now.v["category"]
    ]


def counts(now: Now) -> Rows:
    """See ``statements.COUNTS``."""
    found: dict[tuple[str, str], int] = {}
    for row in now.tasks:
        key = row["category"], row["status"]
        found[key] = found.get(key, 0) + 1
    return [(*key, count) for key, count in found.items()]


def unfit(now: Now) -> Rows:
    """See ``statements.UNFIT``."""
    found = [
        row
        for row in now.tasks
        if row["status"] == "pending"
        and row["waiting"]
        and row["error_type"] == "DoesNotFit"
        and row["name"] in now.v["names"]
        and row["seq"] > now.v["after"]
    ]
    return [*map(task_row, sorted(found, key=lambda row: row["seq"])[: now.v["most"]])]


# -- rules, and other rows -----------------------------------------------------------------


def rules(now: Now) -> Rows:
    """See ``statements.RULES``."""
    version = now.tx.get("meta", "rules")
    names = ("kind", "name", "value", "updated_at")
    found = [tuple(one[name] for name in names) for one in now.tx.all("rules")]
    return [(None, version and version["value"], None, None), *sorted(found)]


def rules_changed(now: Now) -> Rows:
    """See ``statements.RULES_CHANGED``."""
    now.tx.lock(NO_KEY, ("meta", "rules"))
    row = now.tx.get("meta", "rules")
    assert row is not None
    now.tx.put("meta", "rules", {**row, "value": str(int(row["value"]) + 1)})
    return []


def save_rule(now: Now) -> Rows:
    """See ``statements.SAVE_RULE``."""
    now.tx.lock(UPDATE, "table rules")
    now.tx.put("rules", (now.v["kind"], now.v["name"]), dict(now.v))
    return []


def delete_rules(now: Now) -> Rows:
    """See ``statements.DELETE_RULES``."""
    now.tx.lock(UPDATE, "table rules")
    for name in now.v["names"]:
        now.tx.put("rules", (now.v["kind"], name), None)
    return []


def locks(key: Callable[[Now], Any]) -> Verb:
    """Return a statement that locks something that is no row."""

    def lock(now: Now) -> Rows:
        now.tx.lock(UPDATE, key(now))
        return [("",)]

    return lock


def fired(now: Now) -> Rows:
    """See ``statements.FIRED``."""
    asked = set(zip(now.v["schedules"], now.v["times"], strict=True))
    found: Rows = []
    for row in now.tasks:
        plan = now.tx.get("schedules", row["schedule"])
        if (row["schedule"], row["scheduled_for"]) not in asked:
            continue
        if plan is None or row["created_at"] >= plan["updated_at"]:
            found.append((row["schedule"], row["scheduled_for"], row["id"]))
    return found


def save_schedule(now: Now) -> Rows:
    """See ``schedules._SAVE``."""
    now.tx.lock(NO_KEY, ("schedules", now.v["name"]))
    now.tx.put("schedules", now.v["name"], {one: now.v[one] for one in SCHEDULE})
    return []


def all_schedules(now: Now) -> Rows:
    """Return all schedules, by name."""
    rows = sorted(now.tx.all("schedules"), key=lambda one: one["name"])
    return [tuple(one[name] for name in SCHEDULE) for one in rows]


def progress(now: Now) -> Rows:
    """See ``schedules._PROGRESS``."""
    found: Rows = []
    for plan in now.tx.all("schedules"):
        mine = [row for row in now.tasks if row["schedule"] == plan["name"]]
        mine.sort(key=lambda row: row["seq"])
        present = [
            row
            for row in mine
            if row["scheduled_for"] is not None and row["created_at"] >= plan["updated_at"]
        ]
        newest = max(present, key=lambda row: row["scheduled_for"], default=None)
        done = [row for row in mine if row["status"] == "success"]
        last = max(done, key=lambda row: row["completed_at"], default=None)
        live = [row["id"] for row in mine if row["status"] in LIVE]
        if mine:
            found.append(
                (
                    plan["name"],
                    newest and newest["scheduled_for"],
                    newest and newest["id"],
                    live or None,
                    last and last["id"],
                )
            )
    return found


def is_fired(now: Now) -> Rows:
    """See ``schedules._DUE``."""
    fires = [one["next_fire_at"] for one in now.tx.all("schedules") if one["paused_at"] is None]
    return [(any(one is not None and one <= now.v["now"] for one in fires),)]


def acts(now: Now) -> Rows:
    """Return the newest acts before a number."""
    rows = sorted(now.tx.all("acts"), key=lambda one: -one["number"])
    found = [one for one in rows if one["number"] < now.v["before"]][: now.v["limit"]]
    return [tuple(one[name] for name in selecting.COLUMNS) for one in found]


def begin_act(now: Now) -> Rows:
    """See ``selecting.BEGIN_ACT``."""
    number = now.v["number"]
    now.tx.lock(UPDATE, ("acts", number))
    row = now.tx.get("acts", number)
    if row is None:
        now.tx.put("acts", number, dict(now.v))
    names = ("began_at", "origin", "verb", "selection")
    same = row is None or all(row[name] == now.v[name] for name in names)
    return [(number,)] if same else []


VERBS: dict[str, Verb] = {
    newtasks.ADD: taskverbs.add,
    newtasks.ADD_NEW: taskverbs.add_new,
    newtasks.ADD_ALIKE: taskverbs.add_alike,
    newtasks.ADD_ONE: taskverbs.add_one,
    statements.CHANGE: taskverbs.change,
    statements.SUCCEED: taskverbs.succeed,
    statements.MADE: taskverbs.made,
    statements.PROMOTE: taskverbs.promote,
    statements.CLAIM: taskverbs.claim,
    statements.CANDIDATES: taskverbs.candidates,
    statements.OWN: taskverbs.own,
    statements.ADOPT: taskverbs.adopt,
    statements.ORPHANS: taskverbs.orphans,
    statements.TOUCH: taskverbs.touch,
    statements.LOCKED: taskverbs.locked,
    statements.PARENTS: taskverbs.parents,
    statements.AWAIT: taskverbs.wait_for,
    statements.FREED: taskverbs.freed,
    statements.GIVEN_UP: taskverbs.given_up,
    statements.REGISTER: register,
    statements.RENEW: renew,
    statements.LEAVE: leave,
    statements.FORGET_EXPIRED: forget,
    statements.HOLDS: held,
    looks.STALE: stale,
    looks.LOOK: look,
    looks.LOOK_AROUND: look_around,
    statements.HISTORY: history,
    statements.STARTS: starts,
    statements.COUNTS: counts,
    statements.UNFIT: unfit,
    statements.RULES: rules,
    statements.RULES_CHANGED: rules_changed,
    statements.SAVE_RULE: save_rule,
    statements.DELETE_RULES: delete_rules,
    statements.LOCK_RULES: locks(lambda _: "table rules"),
    statements.MEASURED: locks(lambda now: ("advisory", now.v["what"])),
    statements.FIRED: fired,
    schedules._SAVE: save_schedule,
    schedules._PROGRESS: progress,
    schedules._DUE: is_fired,
    f"select {schedules._NAMES} from wopr.schedules order by name": all_schedules,
    f"select pg_advisory_xact_lock({schedules._LOCK})": locks(lambda _: ("advisory", 0)),
    statements.GET: selected(lambda now, row: row["id"] in now.v["ids"]),
    statements.ENDED: selected(
        lambda now, row: row["id"] in now.v["ids"] and row["status"] not in LIVE
    ),
    statements.STANDING: selected(
        lambda now, row: row["id"] in now.v["ids"], lambda row: (row["id"], row["status"])
    ),
    statements.HOLDER: selected(
        lambda now, row: row["unique_key"] == now.v["key"] and row["status"] in LIVE,
        lambda row: (row["id"],),
    ),
    statements.RUNS: selected(
        lambda now, row: row["category"] == now.v["category"] and row["status"] == "started",
        lambda row: (row["name"], row["args"], row["kwargs"], row["keys"]),
    ),
    selecting.BEGIN_ACT: begin_act,
    f"{selecting._ACTS} where number < %(before)s order by number desc limit %(limit)s": acts,
    "select last_value from wopr.numbers": lambda now: [(now.tx.tables.last("numbers"),)],
    retirement.DELETE_OVER: lambda now: [(0,)],  # no task asks to be kept for a while only
    statements.NOW: lambda now: [(now.at,)],
    marks._META: lambda now: [(one["key"], one["value"]) for one in now.tx.all("meta")],
    "select value from wopr.meta where key = 'version'": lambda now: [
        (row["value"],) for row in [now.tx.get("meta", "version")] if row is not None
    ],
    "select value from wopr.meta where key = 'identity'": lambda now: [
        (row["value"],) for row in [now.tx.get("meta", "identity")] if row is not None
    ],
    "select 1": lambda now: [(1,)],
}
"""All that a simulated server understands."""
