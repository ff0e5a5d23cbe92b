"""Selections and acts through the socket: what a client asks, and what the owner answers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, FailFast, Field
from typing_extensions import TypedDict

from wopr.domain.act import Act, ActAnswer, ActProgress, Previewed, Tally, Unchanged
from wopr.domain.change import Change, Verb
from wopr.domain.selection import (
    LONGEST_CONDITION,
    LONGEST_ERROR,
    MOST_IDS,
    MOST_VALUES,
    Selection,
)
from wopr.domain.status import TaskStatus
from wopr.domain.task import TaskRecord
from wopr.ports.backend import Backend
from wopr.remote.messages import STRICT, Label, Moment, Reason, Seconds, Seq, TaskId, label

Status = Literal["pending", "started", "success", "failed", "cancelled", "retry"]
Command = Literal["cancel", "retry", "run-again", "set-priority", "move", "delay"]
Labels = Annotated[list[Label], Field(max_length=MOST_VALUES), FailFast()]
MOST_ASKED = 100_000
"""Characters of a question in SQL that are sent to be noted."""
Question = Annotated[str, AfterValidator(label(MOST_ASKED))]
MostIds = Annotated[int, Field(ge=0, le=1_000_000)]


class SelectionMessage(TypedDict):
    """A selection as it travels."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    name: Labels
    category: Labels
    status: Annotated[list[Status], Field(max_length=MOST_VALUES), FailFast()]
    since: Moment | None
    until: Moment | None
    flow: Label | None
    schedule: Label | None
    tag: Label | None
    error: Annotated[str, AfterValidator(label(LONGEST_ERROR))] | None
    where: Annotated[str, AfterValidator(label(LONGEST_CONDITION))] | None
    ids: Annotated[list[Label], Field(max_length=MOST_IDS)] | None


class ChangeMessage(TypedDict):
    """A verb as it travels."""

    __pydantic_config__ = STRICT  # type: ignore[misc]

    verb: Command
    priority: Annotated[int, Field(ge=1, le=4)] | None
    category: Label | None
    run_at: Moment | None
    reason: Reason | None


def selection_to_plain(which: Selection) -> dict[str, Any]:
    """Return a selection as it travels."""
    plain = asdict(which)
    for name in ("name", "category", "status", "ids"):
        plain[name] = None if plain[name] is None else [str(one) for one in plain[name]]
    return plain


def selection_from_plain(plain: SelectionMessage) -> Selection:
    """Return a selection that a client sent."""
    values: dict[str, Any] = dict(plain)
    for name in ("name", "category", "ids"):
        values[name] = None if values[name] is None else tuple(values[name])
    values["status"] = tuple(TaskStatus(one) for one in values["status"])
    return Selection(**values)


def _answer_to_plain(answer: ActAnswer) -> list[Any]:
    unchanged = [[one.id, one.why] for one in answer.unchanged]
    return [asdict(answer.act), answer.left, unchanged]


def _answer_from_plain(plain: Any) -> ActAnswer:
    act, left, unchanged = plain
    return ActAnswer(Act(**act), left, tuple(Unchanged(*one) for one in unchanged))


class RemoteActs:
    """The client's side.

    Args:
        call: asks the owner.
        query: the same, for what may take as long as a query.
        watched: the same, for as long as the owner answers at all.
    """

    def __init__(
        self,
        call: Callable[..., Awaitable[Any]],
        query: Callable[..., Awaitable[Any]],
        watched: Callable[..., Awaitable[Any]],
    ) -> None:
        self._call = call
        self._query = query
        self._watched = watched

    async def preview(self, which: Selection, verb: Verb | None, seconds: float) -> Previewed:
        """Return what a verb would do, without doing it."""
        name = None if verb is None else verb.value
        counts, rows, strange = await self._query(
            "act_preview", selection_to_plain(which), name, seconds
        )
        return Previewed(
            tuple(Tally(one[0], TaskStatus(one[1]), *one[2:]) for one in counts),
            tuple(TaskRecord.from_row(row) for row in rows),
            tuple(Unchanged(*one) for one in strange),
        )

    async def ids(self, which: Selection, limit: int, seconds: float) -> list[str]:
        """Return the ids of selected tasks, in enqueue order."""
        return list(await self._query("act_ids", selection_to_plain(which), limit, seconds))

    async def page(
        self, which: Selection, limit: int, cursor: str | None, seconds: float
    ) -> list[TaskRecord]:
        """Return a page of the selected tasks, newest first."""
        asked = selection_to_plain(which), limit, cursor, seconds
        return [TaskRecord.from_row(row) for row in await self._query("act_page", *asked)]

    async def change(
        self, which: Selection, change: Change, key: str, who: str | None, seconds: float
    ) -> ActAnswer:
        """Do what a verb says to the selected tasks."""
        plain = {**asdict(change), "verb": change.verb.value}
        asked = "act_change", selection_to_plain(which), plain, key, who, seconds
        return _answer_from_plain(await self._watched(*asked))

    async def progress(self, key: str) -> ActProgress | None:
        """Return how far an act is."""
        found = await self._call("act_progress", key)
        return None if found is None else ActProgress(*found)

    async def undo(self, number: int, key: str, who: str | None) -> ActAnswer:
        """Take back what can be of an act."""
        return _answer_from_plain(await self._watched("act_undo", number, key, who))

    async def list(self, limit: int, before: int | None) -> list[Act]:
        """Return the newest acts, those before a number."""
        return [Act(**one) for one in await self._call("act_list", limit, before)]

    async def asked(self, question: str) -> None:
        """Note that somebody asks in SQL."""
        await self._call("act_asked", question[:MOST_ASKED])


class ActVerbs:
    """The owner's side: the public methods of this class are verbs of the socket."""

    _backend: Backend

    async def act_preview(
        self, which: SelectionMessage, verb: Command | None, seconds: Seconds
    ) -> list[Any]:
        wanted = None if verb is None else Verb(verb)
        found = await self._backend.acts.preview(selection_from_plain(which), wanted, seconds)
        counts = [[one.name, one.status, one.count, one.changes] for one in found.counts]
        strange = [[one.id, one.why] for one in found.strange]
        return [counts, [record.row() for record in found.records], strange]

    async def act_ids(self, which: SelectionMessage, limit: MostIds, seconds: Seconds) -> list[str]:
        return await self._backend.acts.ids(selection_from_plain(which), limit, seconds)

    async def act_page(
        self, which: SelectionMessage, limit: MostIds, cursor: TaskId | None, seconds: Seconds
    ) -> list[Any]:
        wanted = selection_from_plain(which), limit, cursor, seconds
        return [record.row() for record in await self._backend.acts.page(*wanted)]

    async def act_change(
        self,
        which: SelectionMessage,
        change: ChangeMessage,
        key: Label,
        who: Label | None,
        seconds: Seconds,
    ) -> list[Any]:
        values: dict[str, Any] = {**change, "verb": Verb(change["verb"])}
        wanted = selection_from_plain(which), Change(**values)
        return _answer_to_plain(await self._backend.acts.change(*wanted, key, who, seconds))

    async def act_progress(self, key: Label) -> list[int] | None:
        found = await self._backend.acts.progress(key)
        return None if found is None else [found.done, found.total, found.changed]

    async def act_undo(self, number: Seq, key: Label, who: Label | None) -> list[Any]:
        return _answer_to_plain(await self._backend.acts.undo(number, key, who))

    async def act_list(self, limit: MostIds, before: Seq | None) -> list[dict[str, Any]]:
        return [asdict(one) for one in await self._backend.acts.list(limit, before)]

    async def act_asked(self, question: Question) -> None:
        await self._backend.acts.asked(question)
