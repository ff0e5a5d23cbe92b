"""Acts of an assistant, in two steps: a preview first, then what was previewed and nothing more."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Annotated, Any, Literal

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError
from pydantic import BaseModel, ConfigDict, Field

from wopr.assistants.asker import Asker, Asking, noted_as
from wopr.assistants.proposals import Proposal, Proposals
from wopr.core.tasks import SelectedTasks
from wopr.domain.act import ActAnswer, Preview
from wopr.domain.errors import ActError
from wopr.domain.spoken import counted
from wopr.domain.status import TaskPriority
from wopr.queue.queue import TaskQueue

TaskVerb = Literal["cancel", "retry", "run_again", "set_priority", "move", "delay"]
MOST_TOLD = 20
"""So many tasks that stayed as they are, an answer names."""

Text = Annotated[str | None, Field(max_length=10_000)]
Reason = Annotated[
    str | None, Field(max_length=500, description="For the people who look at the acts later.")
]
Labels = Annotated[list[str] | None, Field(max_length=100)]


class Which(BaseModel):
    """Which tasks: all that is given has to hold; of several values one is enough."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Labels = Field(None, description="Tasks of these names.")
    category: Labels = Field(None, description="Of these categories.")
    status: Labels = Field(
        None, description="Of pending, started, retry, success, failed, cancelled."
    )
    ids: Annotated[list[str] | None, Field(max_length=500)] = Field(
        None, description="With these whole ids."
    )
    error: Text = Field(None, description="Of failed ones: a fingerprint that failures returned.")
    flow: Text = Field(None, description="Of the flow with this id.")
    schedule: Text = Field(None, description="Enqueued by this schedule.")
    tag: Text = Field(None, description="With this tag.")
    since: float | None = Field(None, ge=0, description="Enqueued so many seconds ago at most.")
    until: float | None = Field(None, ge=0, description="Enqueued more than so many seconds ago.")


class Doing:
    """Acts on one queue.

    Args:
        queue: what is acted on.
        asking: tells for whom.
        proposals: what was previewed.
    """

    def __init__(self, queue: TaskQueue, asking: Asking, proposals: Proposals) -> None:
        self._queue = queue
        self._asking = asking
        self._proposals = proposals

    # -- the first step -------------------------------------------------------

    async def preview_act(
        self,
        verb: Annotated[TaskVerb, Field(description="What is to be done to the tasks.")],
        which: Which,
        context: Context[Any, Any],
        *,
        priority: Annotated[
            Literal["LOW", "NORMAL", "HIGH", "CRITICAL"] | None,
            Field(description="For set_priority."),
        ] = None,
        to_category: Annotated[Text, Field(description="For move.")] = None,
        delay_seconds: Annotated[
            float | None, Field(ge=0, description="For delay: from now; 0 is at once.")
        ] = None,
        reason: Reason = None,
    ) -> Any:
        """Say what an act would change, and change nothing; returns a proposal for carry_out_act.

        Show the person you work for what it says, and carry it out only if they agree.
        """
        asker = self._asking.acts(context)
        about = which.model_dump(exclude_none=True)
        if not about:
            raise ToolError("Say which tasks: name, category, status, ids or another one.")
        options = {**_options(verb, priority, to_category, delay_seconds), "reason": reason}
        found = await _doing(self._queue.tasks.where(**about), verb)(**options, dry_run=True)
        assert isinstance(found, Preview)
        said = _previewed(found)
        if not found.changes:
            return {**said, "proposal": None}
        proposal = self._proposals.keep(
            asker=asker.name, verb=verb, about=about, options=options, changes=found.changes
        )
        return {**said, "proposal": proposal}

    async def preview_pause(
        self,
        verb: Annotated[Literal["pause", "resume"], Field(description="What is to be done.")],
        context: Context[Any, Any],
        category: Annotated[Text, Field(description="A category, or")] = None,
        name: Annotated[Text, Field(description="the name of tasks. Give one.")] = None,
        reason: Reason = None,
    ) -> Any:
        """Say what pausing or resuming a category or a name would be about; returns a proposal.

        While it is paused none of its tasks starts; what runs goes on.
        """
        asker = self._asking.acts(context)
        if (category is None) == (name is None):
            raise ToolError("Give one of category and name.")
        about = {"category": category} if category is not None else {"task": name}
        if category is not None:
            found = await self._queue.explain(category=category)
        else:
            found = await self._queue.explain(name=name or "")
        options = {"reason": reason} if verb == "pause" and reason else {}
        proposal = self._proposals.keep(
            asker=asker.name, verb=verb, about=about, options=options, changes=0
        )
        return {"now": found.text, "waiting": found.waiting, "due": found.due, "proposal": proposal}

    async def preview_undo(
        self,
        act: Annotated[int, Field(ge=1, description="The number of an act.")],
        context: Context[Any, Any],
    ) -> Any:
        """Say what an act did that would be taken back; returns a proposal for carry_out_act."""
        asker = self._asking.acts(context)
        found = [one for one in await self._queue.acts(1, before=act + 1) if one.number == act]
        if not found:
            raise ActError(f"There is no act {act}. The tool acts lists them.")
        proposal = self._proposals.keep(
            asker=asker.name, verb="undo", about={"act": act}, options={}, changes=0
        )
        return {"act": asdict(found[0]), "proposal": proposal}

    # -- the second step ------------------------------------------------------

    async def carry_out_act(
        self,
        proposal: Annotated[str, Field(max_length=100, description="As a preview returned it.")],
        context: Context[Any, Any],
    ) -> Any:
        """Carry out what was previewed, once, within ten minutes. It is noted among the acts.

        Refused if it would change more tasks by now than the preview said. Cancels, priorities,
        moves and delays can be taken back with preview_undo.
        """
        asker = self._asking.acts(context)
        proposed = self._proposals.take(proposal, asker.name)
        with noted_as(asker):
            if proposed.verb in {"pause", "resume"}:
                return await self._paused(proposed)
            if proposed.verb == "undo":
                return _done(await self._queue.undo(proposed.about["act"]))
            return await self._changed(proposed, asker)

    async def _paused(self, proposed: Proposal) -> Any:
        if proposed.verb == "pause":
            await self._queue.pause(**proposed.about, **proposed.options)
            return {"paused": proposed.about}
        return {"resumed": proposed.about, "was_paused": await self._queue.resume(**proposed.about)}

    async def _changed(self, proposed: Proposal, asker: Asker) -> Any:
        do = _doing(self._queue.tasks.where(**proposed.about), proposed.verb)
        now = await do(**proposed.options, dry_run=True)
        assert isinstance(now, Preview)
        if now.changes > proposed.changes:
            raise ToolError(
                f"Nothing was done: it would change {counted(now.changes, 'task')} now, and the "
                f"preview said {proposed.changes:,}. Call preview_act again, and ask {asker.name}."
            )
        answer = await do(**proposed.options)
        assert isinstance(answer, ActAnswer)
        return _done(answer)


def _doing(tasks: SelectedTasks, verb: str) -> Callable[..., Awaitable[ActAnswer | Preview]]:
    verbs: dict[str, Callable[..., Awaitable[ActAnswer | Preview]]] = {
        "cancel": tasks.cancel,
        "retry": tasks.retry,
        "run_again": tasks.run_again,
        "set_priority": tasks.set_priority,
        "move": tasks.move,
        "delay": tasks.delay,
    }
    return verbs[verb]


def _options(
    verb: str, priority: str | None, to_category: str | None, delay: float | None
) -> dict[str, Any]:
    """Return what a verb needs besides its tasks.

    Raises:
        ToolError: it is not there, or is of another verb.
    """
    needs = {"set_priority": "priority", "move": "to_category", "delay": "delay_seconds"}
    given = {"priority": priority, "to_category": to_category, "delay_seconds": delay}
    for one, name in needs.items():
        if (given[name] is not None) != (verb == one):
            raise ToolError(f"{name} goes with {one}, and {one} with it; the verb is {verb}.")
    if priority is not None:
        return {"priority": TaskPriority[priority]}
    if to_category is not None:
        return {"category": to_category}
    return {} if delay is None else {"until": delay}


def _previewed(found: Preview) -> dict[str, Any]:
    return {
        "selected": found.selected,
        "would_change": found.changes,
        "by_name_and_status": [
            {
                "name": one.name,
                "status": one.status.value,
                "tasks": one.count,
                "would_change": one.changes,
            }
            for one in found.counts
        ],
        "examples": [{"id": one.id, "name": one.name} for one in found.examples],
        "not_understood": [asdict(one) for one in found.unchanged[:MOST_TOLD]],
    }


def _done(answer: ActAnswer) -> dict[str, Any]:
    return {
        "act": answer.act.number,
        "changed": answer.act.changed,
        "stayed_as_they_are": answer.left,
        "because": [asdict(one) for one in answer.unchanged[:MOST_TOLD]],
    }
