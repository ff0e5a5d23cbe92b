"""What the statements that change tasks do to the tables, in plain words of Python.

A statement takes all of its locks before it writes anything: one that has to wait is begun anew.
``test_fleet_model`` compares them with a real server.
"""

from __future__ import annotations

import re

import psycopg

from simulation.fleet.asked import (
    LIVE,
    Now,
    Rows,
    array,
    expires,
    given,
    holds,
    in_turn,
    is_later,
    is_prompt,
    task_row,
)
from simulation.fleet.tables import NO_KEY, UPDATE, Row
from wopr.domain.task import COLUMNS, MUTABLE_COLUMNS
from wopr.storage.postgres import newtasks, statements

# -- new tasks ------------------------------------------------------------------


def _new(row: Row, seq: int) -> Row:
    front = re.search(r'"at_front": ?true', row.get("options") or "")
    whole: Row = dict.fromkeys(COLUMNS)
    whole |= {"status": "pending", "attempt": 0, "retry_count": 0, "crashes": 0, "progress": 0.0}
    whole |= {"progress_message": "", "waiting": False, "owner": None, "awaited": False}
    whole |= {"keys": None}
    known = {one: value for one, value in row.items() if one in COLUMNS}
    run_at = row.get("run_at")
    whole["ready_at"] = run_at if run_at is not None and run_at <= row["created_at"] else None
    return whole | known | {"seq": seq, "version": seq, "place": -seq if front else seq}


def _insert(now: Now, rows: list[Row], *, skip: bool) -> list[Row]:
    """Add tasks; return those that were not there."""
    for row in rows:
        now.tx.lock(UPDATE, ("tasks", row["id"]))
        if row.get("unique_key") is not None:
            now.tx.lock(UPDATE, ("key", row["unique_key"]))
    keys = {one["unique_key"] for one in now.tasks if holds(one)}
    made = []
    for row in rows:
        seq = now.tx.tables.next("numbers")
        new = _new(row, seq)
        if now.task(new["id"]) is not None or (holds(new) and new["unique_key"] in keys):
            if not skip:
                raise psycopg.errors.UniqueViolation("it is there already")
            continue
        keys.add(new["unique_key"])
        now.tx.put("tasks", new["id"], new)
        more = {"occurred_at": new["created_at"], "reason": "add", "data": row.get("data")}
        now.note(seq, new, None, "pending", more)
        made.append(new)
    return made


def add(now: Now) -> Rows:
    """See ``newtasks.ADD``."""
    return [(row["id"], row["seq"]) for row in _insert(now, given(now, newtasks.ADDED), skip=True)]


def add_new(now: Now) -> Rows:
    """See ``newtasks.ADD_NEW``."""
    rows = given(now, newtasks.NEW)
    for row in rows:
        for one in newtasks.ALIKE:
            row[one] = rows[0][one] if row[one] is None else row[one]
        body = f'"args":{row["args"]},"kwargs":{row["kwargs"]}'
        row["data"] = row["head"] + body + row["tail"]
    made = _insert(now, rows, skip=False)
    return [(",".join(str(row["seq"]) for row in made),)]


def add_alike(now: Now) -> Rows:
    """See ``newtasks.ADD_ALIKE``."""
    v = now.v
    ids = array(v["ids"], "text", 0)
    args, kwargs = (array(v[one], "text", len(ids)) for one in ("args", "kwargs"))
    rows = []
    for task_id, given_args, some in zip(ids, args, kwargs, strict=True):
        own = {"id": task_id, "args": given_args, "kwargs": v["kwargs_1"] if some is None else some}
        body = f'"args":{own["args"]},"kwargs":{own["kwargs"]}'
        shared = {one: v[one] for one in newtasks.SAID_ONCE}
        rows.append({**shared, **own, "data": v["head"] + body + v["tail"]})
    return [(",".join(str(row["seq"]) for row in _insert(now, rows, skip=False)),)]


def add_one(now: Now) -> Rows:
    """See ``newtasks.ADD_ONE``."""
    return [(str(_insert(now, [now.v], skip=False)[0]["seq"]),)]


# -- changes ----------------------------------------------------------------------


def change(now: Now) -> Rows:
    """See ``statements.CHANGE``."""
    todo = []
    for new in given(now, statements.CHANGED):
        row = now.task(new["id"])
        if row is None or row["version"] != new["expected"]:
            continue
        if row["awaited"] and new["status"] not in LIVE and not now.v["whole"]:
            continue
        now.tx.lock(NO_KEY, ("tasks", row["id"]))
        todo.append((row, new))
    for row, new in todo:
        if row["unique_key"] is None or (row["status"] in LIVE) == (new["status"] in LIVE):
            continue
        now.tx.lock(UPDATE, ("key", row["unique_key"]))
        key = row["unique_key"]
        if new["status"] in LIVE and any(holds(it) and it["unique_key"] == key for it in now.tasks):
            raise psycopg.errors.UniqueViolation("another one lives")
    found: Rows = []
    for row, new in todo:
        columns = (*MUTABLE_COLUMNS, "priority", "category")
        seq = now.tx.tables.next("numbers")
        changes = {one: new[one] for one in columns if one not in {"id", "version"}}
        is_ready = new["run_at"] is not None and new["run_at"] <= new["occurred_at"]
        changed = now.write(
            row, **changes, version=seq, ready_at=new["run_at"] if is_ready else None
        )
        told = {one: new[one] for one in ("occurred_at", "reason", "data")}
        told |= {"worker": new["by"], "error": new["told"]}
        now.note(seq, changed, new["from_status"], new["status"], told)
        found.append((row["id"], seq, row["awaited"]))
    return found


def succeed(now: Now) -> Rows:
    """See ``statements.SUCCEED``."""
    ids = array(now.v["ids"], "text", 0)
    kinds = {"expected": "bigint", "times": "timestamp", "results": "text"}
    rest = [array(now.v[one], kind, len(ids)) for one, kind in kinds.items()]
    todo = []
    for task_id, expected, at, result in zip(ids, *rest, strict=True):
        row = now.task(task_id)
        if row is not None and row["version"] == expected and not row["awaited"]:
            todo.append((row, at, result))
    _locked(now, [row for row, *_ in todo], NO_KEY)
    keys = [row["unique_key"] for row, *_ in todo if row["unique_key"] is not None]
    now.tx.lock(UPDATE, *(("key", key) for key in keys))
    found: Rows = []
    for row, at, result in todo:
        seq = now.tx.tables.next("numbers")
        done: Row = {"status": "success", "completed_at": at, "result": result, "version": seq}
        done |= {"elapsed_seconds": (at - row["started_at"]).total_seconds(), "error": None}
        done |= {"error_type": None, "progress": 100.0, "progress_message": ""}
        new = now.write(row, **done, progress_data=None)
        told = {"occurred_at": at, "worker": row["worker"], "reason": "succeed"}
        now.note(seq, new, "started", "success", {**told, "data": f'{{"result":{result}}}'})
        found.append((row["id"], seq, False))
    return found


def made(now: Now) -> Rows:
    """See ``statements.MADE``."""
    v = now.v
    asked = zip(v["ids"], v["versions"], v["statuses"], v["times"], v["reasons"], strict=True)
    wanted = {task_id: rest for task_id, *rest in asked}
    return [
        (one["task_id"], one["seq"])
        for one in now.tx.all("transitions")
        if (rest := wanted.get(one["task_id"])) is not None
        and one["seq"] > rest[0]
        and [one["to_status"], one["occurred_at"], one["reason"]] == rest[1:]
    ]


def _late(now: Now) -> list[Row]:
    """Return the tasks whose time has come and that do not stand in the order, in that order."""
    late = [
        row
        for row in now.tasks
        if row["category"] == now.v["category"] and is_later(row) and row["run_at"] <= now.v["now"]
    ]
    return sorted(late, key=in_turn)


def promote(now: Now) -> Rows:
    """See ``statements.PROMOTE``."""
    late = [row for row in _late(now) if now.tx.holder(("tasks", row["id"]), UPDATE) is None]
    late = _locked(now, late[: now.v["most"]], UPDATE)
    for row in late:
        now.write(row, ready_at=row["run_at"])
    return [(len(late), *((late[-1]["priority"], late[-1]["place"]) if late else (None, None)))]


def claim(now: Now) -> Rows:
    """See ``statements.CLAIM``."""
    v, pauses = now.v, now.pauses()
    nothing = [(*[None] * (len(COLUMNS) + 1), False)]
    if any(row["run_at"] > v["since"] for row in _late(now)):
        return [(*nothing[0][:-1], True)]
    if v["owner"] not in now.leases() or not now.is_known():
        return nothing
    due = [
        row
        for row in now.tasks
        if row["category"] == v["category"]
        and is_prompt(row, v["now"])
        and row["name"] in v["names"]
        and ((end := expires(row)) is None or end >= v["now"])
        and not pauses & {f"category {row['category']}", f"task {row['name']}"}
        and now.tx.holder(("tasks", row["id"]), UPDATE) is None
    ]
    found: Rows = []
    for worker, row in zip(v["workers"], sorted(due, key=in_turn), strict=False):
        now.tx.lock(UPDATE, ("tasks", row["id"]))
        if in_turn(row) > (-v["priority"], v["place"]):
            continue
        seq = now.tx.tables.next("numbers")
        new = now.write(
            row,
            status="started",
            attempt=row["attempt"] + 1,
            started_at=max(v["now"], row["created_at"]),
            completed_at=None,
            worker=worker,
            owner=v["owner"],
            waiting=False,
            progress=0.0,
            progress_message="",
            progress_data=None,
            version=seq,
        )
        more = {"occurred_at": new["started_at"], "worker": worker, "reason": "claim"}
        now.note(seq, new, row["status"], "started", more)
        found.append((*task_row(new), row["status"], False))
    return found or nothing


def candidates(now: Now) -> Rows:
    """See ``statements.CANDIDATES``."""
    v, pauses = now.v, now.pauses()
    found = []
    for row in now.tasks:
        revoked, ends = row["name"] in v["revoked"], expires(row) is not None
        wanted = revoked or ends or (row["name"] in v["names"] and not v["looked_after"])
        if (
            row["category"] == v["category"]
            and is_prompt(row, v["now"])
            and wanted
            and in_turn(row) > (-v["priority"], v["place"])
            and not pauses & {f"category {row['category']}", f"task {row['name']}"}
            and now.tx.holder(("tasks", row["id"]), UPDATE) is None
        ):
            found.append(row)
    found = sorted(found, key=in_turn)[: v["most"]]
    now.tx.lock(UPDATE, *(("tasks", row["id"]) for row in found))
    return [*map(task_row, found)]


def own(now: Now) -> Rows:
    """See ``statements.OWN``."""
    keys = dict(zip(now.v["ids"], now.v["keys"], strict=True))
    for row in _locked(now, now.those(keys), NO_KEY):
        now.write(row, owner=now.v["owner"], keys=keys[row["id"]])
    return []


def adopt(now: Now) -> Rows:
    """See ``statements.ADOPT``."""
    mine = [
        one for one in now.tasks if one["status"] == "started" and one["owner"] == now.v["before"]
    ]
    for row in _locked(now, mine, NO_KEY):
        now.write(row, owner=now.v["owner"])
    return []


def _locked(now: Now, rows: list[Row], mode: int) -> list[Row]:
    now.tx.lock(mode, *(("tasks", row["id"]) for row in rows))
    return rows


def orphans(now: Now) -> Rows:
    """See ``statements.ORPHANS``."""
    leases = now.leases()
    found = [
        row
        for row in now.tasks
        if row["status"] == "started"
        and now.v["category"] in {None, row["category"]}
        and row["owner"] not in leases
        and now.tx.holder(("tasks", row["id"]), UPDATE) is None
    ]
    return [*map(task_row, _locked(now, found[: now.v["most"]], UPDATE))]


def touch(now: Now) -> Rows:
    """See ``statements.TOUCH``."""
    v = now.v
    told = zip(v["ids"], v["attempts"], v["progress"], v["messages"], v["data"], strict=True)
    todo = [
        (row, progress, message, data)
        for task_id, attempt, progress, message, data in told
        if (row := now.task(task_id)) is not None
        and row["status"] == "started"
        and row["attempt"] == attempt
    ]
    _locked(now, [row for row, *_ in todo], NO_KEY)
    for row, progress, message, data in todo:
        now.write(row, progress=progress, progress_message=message, progress_data=data)
    return []


# -- who waits for whom -------------------------------------------------------------


def locked(now: Now) -> Rows:
    """See ``statements.LOCKED``."""
    rows = sorted(now.those(now.v["ids"]), key=lambda row: row["id"])
    return [*map(task_row, _locked(now, rows, UPDATE))]


def parents(now: Now) -> Rows:
    """See ``statements.PARENTS``."""
    alive = [row for row in now.those(now.v["ids"]) if row["status"] in LIVE]
    alive.sort(key=lambda row: row["id"])
    return [(now.write(row, awaited=True)["id"],) for row in _locked(now, alive, UPDATE)]


def wait_for(now: Now) -> Rows:
    """See ``statements.AWAIT``."""
    for pair in zip(now.v["parents"], now.v["children"], strict=True):
        now.tx.put("awaits", pair, {"parent": pair[0], "child": pair[1]})
    return []


def freed(now: Now) -> Rows:
    """See ``statements.FREED``."""
    return [(one["child"],) for one in _unawaited(now, "parent")]


def given_up(now: Now) -> Rows:
    """See ``statements.GIVEN_UP``."""
    _unawaited(now, "child")
    return []


def _unawaited(now: Now, who: str) -> list[Row]:
    gone = [one for one in now.tx.all("awaits") if one[who] in now.v["ids"]]
    pairs = [(one["parent"], one["child"]) for one in gone]
    now.tx.lock(UPDATE, *(("awaits", pair) for pair in pairs))
    for pair in pairs:
        now.tx.put("awaits", pair, None)
    return gone
