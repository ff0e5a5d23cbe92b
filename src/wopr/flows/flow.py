"""A flow of any shape, put together task by task."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from wopr.calls.signature import Composition, Signature, Step, composition
from wopr.domain.checks import check_label, is_task_id
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown, type_name
from wopr.domain.resultof import ResultOf

_numbers = itertools.count(1)


@dataclass(slots=True, eq=False)
class Node:
    """One task of a :class:`Flow`, which has no id before it is enqueued."""

    key: str
    signature: Signature[Any]
    after: tuple[str, ...]
    named: bool
    """Whether the key was given."""

    @property
    def id(self) -> str:
        """What ``ResultOf(node)`` remembers it by."""
        return self.key


@dataclass(slots=True, eq=False)
class Flow:
    """Tasks and what each of them comes after; any graph without a cycle.

    ::

        flow = Flow()
        page = flow.add(fetch.s("https://example.org"), key="page")
        flow.add(count.s(ResultOf(page)), after=["log"])
        flow.add(note.s("reading"), key="log")
        handle = await queue.enqueue_flow(flow)

    Its result is that of its last task, which no other one comes after. If there are
    several, it is the list of their results, in the order of ``FlowHandle.task_ids``: as
    they were added, but each after those that it depends on.
    """

    nodes: dict[str, Node] = field(default_factory=dict)
    """The tasks by key, in the order in which they were added."""
    listed: bool = False
    """Whether the result is a list even if there is only one last task."""

    def add(
        self, signature: Signature[Any], key: str | None = None, after: Sequence[Node | str] = ()
    ) -> Node:
        """Add a task.

        Args:
            signature: the call, ``task.s(…)``. Its arguments may hold ``ResultOf(node)`` or
                ``ResultOf("key")``, alone or in a list of nothing else: it comes after those.
            key: a name within this flow, for ``after``, ``ResultOf`` and ``results()``.
            after: tasks that must have ended before, as nodes or keys; a key may be named
                before it is added.

        Raises:
            InvalidCallError: a value can't be what it has to be, or the key is taken.
        """
        if not isinstance(signature, Signature):
            raise InvalidCallError(
                f"Flow.add() takes one call, task.s(…), not {type_name(signature)} "
                f"{shown(signature)}. chain, group and chord go to enqueue_flow() as they are."
            )
        if not isinstance(after, list | tuple):
            raise InvalidCallError(
                f"after must be a list of nodes or keys, not {shown(after)}. For one write "
                "after=[node]."
            )
        name = self._new_key() if key is None else self._check_key(key)
        known = self.nodes.get
        keys = tuple(
            [
                one.key if type(one) is Node and known(one.key) is one else self._key_of(one)
                for one in after
            ]
        )
        node = Node(name, signature, keys, named=key is not None)
        self.nodes[name] = node
        return node

    def _new_key(self) -> str:
        """Return a key that no task has, of any flow, so that none is taken for another."""
        return next(key for key in map("#{}".format, _numbers) if key not in self.nodes)

    def _check_key(self, key: object) -> str:
        text = check_label(key, "a key of a flow")
        if text in self.nodes:
            raise InvalidCallError(
                f"The flow has a task with the key {text!r} already: "
                f"{self.nodes[text].signature.name}. Each key names one task."
            )
        if is_task_id(text):
            raise InvalidCallError(
                f"{text!r} can't be a key: it looks like the id of a task, and ResultOf() takes "
                "both. Choose a word."
            )
        return text

    def _key_of(self, one: object) -> str:
        if isinstance(one, Node):
            if self.nodes.get(one.key) is not one:
                raise InvalidCallError(
                    f"after names a task of another flow: {one.signature.name}. Tasks that are "
                    "enqueued already are waited for with task.options(depends_on=[handle])."
                )
            return one.key
        return check_label(one, "a key in after")


def flow_of(step: Flow | Step[Any]) -> Flow:
    """Return the flow that a composition stands for.

    Raises:
        InvalidCallError: it is neither a flow nor a composition.
    """
    if isinstance(step, Flow):
        return step
    whole: Composition[Any] = composition(step, "enqueue_flow")
    flow = Flow(listed=whole.listed)
    nodes: list[Node] = []
    for part in whole.parts:
        signature = part.signature
        if part.parents and not signature.immutable:
            results = [ResultOf(nodes[parent]) for parent in part.parents]
            first = results if part.listed else results[0]
            signature = replace(signature, args=(first, *signature.args))
        nodes.append(flow.add(signature, after=[nodes[parent] for parent in part.parents]))
    return flow
