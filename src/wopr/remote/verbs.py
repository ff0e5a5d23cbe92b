"""What a client may ask for: each verb, carried out by the owner's backend."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Awaitable, Callable
from dataclasses import asdict, astuple, replace
from pathlib import Path
from typing import Any, Literal, Protocol

from pydantic import TypeAdapter, ValidationError, validate_call

from wopr.domain.act import By, acting
from wopr.domain.checks import check_query
from wopr.domain.errors import InvalidCallError, WoprError
from wopr.domain.jsontext import too_large
from wopr.domain.newtask import NewTask
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.task import TaskRecord
from wopr.executors.context import on_behalf_of
from wopr.ports.backend import AtOnce, Backend
from wopr.ports.status import About
from wopr.ports.storage import PAGE_BYTES, QueryLimits, Snapshot
from wopr.remote import protocol
from wopr.remote.acts import ActVerbs
from wopr.remote.messages import (
    STRICT,
    Count,
    Counts,
    FilterMessage,
    Label,
    Moment,
    Names,
    NewTaskMessage,
    NewTasks,
    Place,
    Reason,
    Rows,
    RuleChange,
    RuleRow,
    Rules,
    Seconds,
    Slots,
    Span,
    TaskId,
    ToMove,
    check_places,
    misfit,
)
from wopr.remote.rules import rule_to_plain
from wopr.remote.schedules import ScheduleVerbs
from wopr.remote.series import Series
from wopr.remote.size import MANY

MOST_PARAMS = 8
Verb = Callable[..., Awaitable[Any]]
Added = Callable[[str, BaseException | None], None]
"""Told the id of a new task, and what went wrong."""
Kind = Literal["limit", "pause", "revocation", "alert", "token"]


class Caller(Protocol):
    """A connection, as far as this module is concerned."""

    by: By | None
    """Who is at the other end, as it says itself."""


class Verbs(ScheduleVerbs, ActVerbs):
    """What a client may call: the public methods of this class, its bases, and nothing else."""

    def __init__(
        self,
        backend: Backend,
        hand_over: Callable[[float | None], bool],
        most_args_bytes: int,
        series: Series,
        caller: Caller | None = None,
    ) -> None:
        self._backend = backend
        self._caller = caller
        self.by: By | None = None
        """For whom the caller asks, if not for itself."""
        self._hand_over = hand_over
        self._most_args_bytes = most_args_bytes
        self._series = series

    async def carry_out(self, name: object, params: object) -> Any:
        """Carry a verb out, if there is one and it may be given these values.

        Raises:
            InvalidCallError: there is none, or it may not; nothing was done.
        """
        if not isinstance(name, str) or name not in VERBS:
            raise InvalidCallError(f"There is no verb {name!r:.80}; there are {', '.join(VERBS)}.")
        if not isinstance(params, list):
            raise InvalidCallError(f"The params of {name!r} must be a list, not {params!r:.80}.")
        if len(params) > MOST_PARAMS:
            raise InvalidCallError(f"No verb has {len(params):,} params, so nothing was done.")
        if self._caller is not None:
            acting.set(self.by or self._caller.by)
        try:
            return await (await self._begun(_checked(name), params))
        except ValidationError as error:
            raise misfit(name, error) from None

    def add_at_once(self, params: list[Any], told: Added, *, alone: bool) -> bool:
        """Add a task if nothing but the disk is to be waited for; return whether it is so.

        Else nothing was done: :meth:`carry_out` does it, or says why not.

        Args:
            params: those of ``add``.
            told: told what came of it, maybe before this returns.
            alone: whether no other task comes in this turn of the loop, as far as is known.
        """
        at_once: AtOnce | None = getattr(self._backend, "at_once", None)
        if at_once is None or len(params) != 1:
            return False
        try:
            new = self._alone(_checks_new_tasks()(params[0]))
        except (ValidationError, WoprError):
            return False
        if new.id is None or not at_once.waits_for_disk_only(new):
            return False
        if not self._series.goes_on_with(new.id):
            return False
        tell = functools.partial(told, new.id)
        try:
            at_once.add_then(new, tell, alone=alone)
        except Exception as error:  # noqa: BLE001 - the client has to know, whatever it is
            tell(error)
        return True

    async def _begun(self, verb: Verb, params: list[Any]) -> Awaitable[Any]:
        """Return the call of a verb, its values checked; those of a long list in a thread."""
        if not any(isinstance(one, list | dict) and len(one) > MANY for one in params):
            return verb(self, *params)
        loop = asyncio.get_running_loop()
        checking = loop.run_in_executor(None, verb, self, *params)
        try:
            return await asyncio.shield(checking)
        except asyncio.CancelledError:
            checking.add_done_callback(_never_awaited)
            raise

    async def hello(self, who: Label | None = None, origin: Label | None = None) -> list[Any]:
        if self._caller is not None and who is not None and origin is not None:
            self._caller.by = By(who, origin)
        return [protocol.PROTOCOL, os.getpid(), self._series.stem]

    async def hand_over(self, move: ToMove | None = None) -> bool:
        return self._hand_over(None if move is None else move["grace"])

    async def add(self, new: NewTaskMessage) -> str:
        return await self._backend.add(self._marked([self._alone(new)])[0])

    async def add_many(self, tasks: NewTasks) -> list[str]:
        return await self._backend.add_many(self._marked(await _each(self._alone, tasks)))

    async def check_room(self, counts: Counts) -> None:
        await self._backend.check_room(counts)

    async def add_flow(self, tasks: NewTasks) -> list[str]:
        return await self._backend.add_flow(self._marked(await _each(self._new_task, tasks)))

    def _alone(self, new: NewTaskMessage) -> NewTask:
        if not all(isinstance(parent, str) for parent in new["depends_on"]):
            raise InvalidCallError(
                f"Task {new['name']!r} depends on tasks of a flow by their numbers, but is of none."
            )
        return self._new_task(new)

    def _new_task(self, new: NewTaskMessage) -> NewTask:
        size = len(new["args"]) + len(new["kwargs"])
        if size > self._most_args_bytes:
            what = f"The arguments of task {new['name']!r}"
            raise too_large(what, size, self._most_args_bytes, "WOPR_TASKS_MAX_ARGS_BYTES")
        check_places(new["options"], len(new["depends_on"]))
        return protocol.new_task_from_plain(dict(new))

    def _marked(self, tasks: list[NewTask]) -> list[NewTask]:
        """Tell which new tasks may be there; in the order of the messages, so not in a thread."""
        for new in tasks:
            new.again = new.id is not None and not self._series.goes_on_with(new.id)
        return tasks

    async def get(self, task_id: TaskId) -> Any:
        return _row(await self._backend.get(task_id))

    async def find(self, query: FilterMessage, cursor: TaskId | None) -> list[Any]:
        """Return a page: no more than the answer may have bytes."""
        wanted = protocol.filter_from_plain(dict(query))
        found = await self._backend.find(replace(wanted, most_bytes=PAGE_BYTES), cursor)
        return [_row(record) for record in found]

    async def wait(
        self, task_id: TaskId, timeout: Seconds | None, waiter: TaskId | None = None
    ) -> Any:
        with on_behalf_of(waiter):
            return _row(await self._backend.wait(task_id, timeout))

    async def cancel(self, task_id: TaskId, reason: Reason | None) -> bool:
        return await self._backend.cancel(task_id, reason)

    async def revoke(self, rule: RuleRow) -> int:
        return await self._backend.revoke(_of_kind(rule, RuleKind.REVOCATION))

    async def rules_all(self, kind: Kind) -> list[Any]:
        return [rule_to_plain(rule) for rule in await self._backend.rules.all(RuleKind(kind))]

    async def rules_save(self, rules: Rules) -> None:
        await self._backend.rules.save(rules)

    async def rules_merge(self, rule: RuleChange) -> list[Any]:
        return rule_to_plain(await self._backend.rules.merge(rule))

    async def rules_delete(self, kind: Kind, names: Names) -> list[Any]:
        deleted = await self._backend.rules.delete(RuleKind(kind), names)
        return [rule_to_plain(rule) for rule in deleted]

    async def logs(self, task_id: TaskId, limit: Count) -> list[Any]:
        return [list(astuple(line)) for line in await self._backend.logs(task_id, limit)]

    async def workers(self) -> list[dict[str, Any]]:
        return [asdict(worker) for worker in await self._backend.workers()]

    async def retry(self, task_id: TaskId) -> bool:
        return await self._backend.retry(task_id)

    async def recover(self, category: Label | None) -> int:
        return await self._backend.recover(category)

    async def add_workers(self, category: Label, count: Slots) -> int:
        return await self._backend.add_workers(category, count)

    async def cleanup(self, before: Moment, keep_history: bool) -> int:  # noqa: FBT001
        return await self._backend.cleanup(before, keep_history=keep_history)

    async def archive(self, before: Moment, directory: Place | None) -> list[Any]:
        count, complete = await self._backend.archive(
            before, None if directory is None else Path(directory)
        )
        return [count, complete]

    async def stats(self) -> dict[str, Any]:
        return await self._backend.stats()

    async def status(self, brief: bool) -> dict[str, Any]:  # noqa: FBT001
        return (await self._backend.status(brief=brief)).to_plain()

    async def explain_group(self, about: About, target: Label) -> dict[str, Any]:
        return (await self._backend.explain_group(about, target)).to_plain()

    async def explain(self, task_id: TaskId) -> dict[str, Any]:
        return asdict(await self._backend.explain(task_id))

    async def history(self, task_id: TaskId) -> list[dict[str, Any]]:
        return [asdict(entry) for entry in await self._backend.history(task_id)]

    async def sql(self, query: str, params: list[Any], rows: Rows, seconds: Span) -> list[Any]:
        limits = QueryLimits(seconds, rows)
        answer = await self._backend.sql(check_query(query, params), params, limits)
        return [answer.columns, answer.rows, answer.cut and answer.cut.value]

    async def snapshot(self, own: bool = False) -> list[Any]:  # noqa: FBT001, FBT002
        return _place(await self._backend.snapshot(own=own))

    async def backup(self) -> list[Any]:
        return _place(await self._backend.backup())


VERBS = tuple(
    name
    for name in (*vars(Verbs), *vars(ScheduleVerbs), *vars(ActVerbs))
    if not name.startswith("_") and name not in {"carry_out", "add_at_once"}
)
LOOKS = frozenset({"get", "find", "wait", "logs", "explain", "history", "sql", "rules_all"}) | {
    *("workers", "stats", "status", "explain_group", "schedule_all", "schedule_get"),
    *("act_preview", "act_ids", "act_page", "act_progress", "act_list"),
}
"""Those that only look: their answers may be large."""

ONCE = frozenset({"act_change", "act_undo", "add_workers"})
"""What is not repeated if it may have been done: a second time, it could change other tasks,
or add as many again."""


@functools.cache
def _checked(name: str) -> Verb:
    """Return a verb that checks what it is given by its annotations."""
    verb: Verb = validate_call(config=STRICT)(getattr(Verbs, name))
    return verb


@functools.cache
def _checks_new_tasks() -> Callable[[Any], NewTaskMessage]:
    check: Callable[[Any], NewTaskMessage] = TypeAdapter(NewTaskMessage).validator.validate_python
    return check


def _never_awaited(checking: asyncio.Future[Any]) -> None:
    """End a call that nobody waits for any more, before it began."""
    if not checking.cancelled() and checking.exception() is None:
        checking.result().close()


async def _each(make: Callable[[NewTaskMessage], NewTask], tasks: NewTasks) -> list[NewTask]:
    if len(tasks) <= MANY:
        return [make(new) for new in tasks]
    return await asyncio.to_thread(lambda: [make(new) for new in tasks])


def _of_kind(rule: Rule, kind: RuleKind) -> Rule:
    if rule.kind is not kind:
        raise InvalidCallError(f"{rule.name!r:.80} is a {rule.kind.value}, not a {kind.value}.")
    return rule


def _place(found: Snapshot) -> list[Any]:
    return [str(found.path), found.moment, found.taken]


def _row(record: TaskRecord | None) -> tuple[Any, ...] | None:
    return None if record is None else record.row()
