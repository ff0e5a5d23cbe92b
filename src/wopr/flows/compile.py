"""Turn a flow into new tasks: pure, so that all of it is checked before anything is written."""

from __future__ import annotations

import difflib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from wopr.calls.options import Options
from wopr.domain.checks import is_task_id
from wopr.domain.errors import InvalidCallError
from wopr.domain.newtask import NewTask
from wopr.domain.resultof import ResultOf
from wopr.flows.flow import Flow, Node
from wopr.flows.graph import enqueue_order, find_cycle

MOST_TASKS = 100_000
MOST_EDGES = 1_000_000
SHOWN_OF_A_CYCLE = 10

Make = Callable[[str, tuple[Any, ...], Mapping[str, Any], Options], NewTask]
"""Checks and encodes one call: name, args, kwargs, options."""


def compile_flow(flow: Flow, make: Make, flow_id: str) -> list[NewTask]:
    """Return the tasks of a flow, each after those that it depends on.

    What a flow needs to be found again is stored with the options of its tasks, as
    ``{"flow": {"key": …, "listed": true}}``: the key, if one was given, and that the result
    of the last task is the list of the results, though there is only one.

    Raises:
        InvalidCallError: the flow is empty, too large or has a cycle, a key is unknown, or
            a call can't be made.
    """
    nodes = list(flow.nodes.values())
    if not 0 < len(nodes) <= MOST_TASKS:
        raise InvalidCallError(
            f"A flow has 1 to {MOST_TASKS:,} tasks, this one has {len(nodes):,}. "
            "Add some with flow.add(task.s(…)), or split it into several flows."
        )
    parents = _parents(flow, nodes)
    order = enqueue_order(parents)
    if len(order) < len(nodes):
        raise InvalidCallError(_cycle_message(nodes, find_cycle(parents)))
    last = _last(nodes, parents) if flow.listed else None
    place = {nodes[number].key: at for at, number in enumerate(order)}
    at = [place[node.key] for node in nodes]
    tasks = []
    for number in order:
        node = nodes[number]
        new = _task(node, tuple([at[parent] for parent in parents[number]]), place, make)
        new.flow_id = flow_id
        role: dict[str, Any] = {"key": node.key} if node.named else {}
        if node is last:
            role["listed"] = True
        if role:
            options = json.loads(new.options) if new.options else {}
            new.options = json.dumps({**options, "flow": role})
        tasks.append(new)
    return tasks


def _parents(flow: Flow, nodes: Sequence[Node]) -> list[list[int]]:
    """Return per task the numbers of those that it comes after."""
    number = {key: at for at, key in enumerate(flow.nodes)}
    found: list[list[int]] = []
    edges = 0
    for node in nodes:
        keys = dict.fromkeys(node.after)
        for result in _results(node):
            if isinstance(result.parent, int):
                raise InvalidCallError(
                    f"{_name(node)} takes {result!r}: in a flow tasks are named, not numbered. "
                    "Write ResultOf(node), with what flow.add() returned, or ResultOf('key')."
                )
            if result.parent in number or not is_task_id(result.parent):
                keys[result.parent] = None
        try:
            found.append([number[key] for key in keys])
        except KeyError as error:
            raise InvalidCallError(_unknown_message(node, error.args[0], number)) from None
        edges += len(keys)
        if edges > MOST_EDGES:
            raise InvalidCallError(
                f"The flow has more than {MOST_EDGES:,} dependencies. Between two large groups, "
                "each member of the second waits for each of the first: put one step between "
                "them, which takes the list and hands on what is needed of it."
            )
    return found


def _results(node: Node) -> Iterator[ResultOf]:
    """Yield what the arguments of a call take from others."""
    for value in (*node.signature.args, *node.signature.kwargs.values()):
        if isinstance(value, ResultOf):
            yield value
        elif isinstance(value, list | tuple):
            yield from (item for item in value if isinstance(item, ResultOf))


def _last(nodes: Sequence[Node], parents: Sequence[Sequence[int]]) -> Node | None:
    """Return the task that no other one comes after, if there is only one."""
    inner = {parent for mine in parents for parent in mine}
    last = [node for number, node in enumerate(nodes) if number not in inner]
    return last[0] if len(last) == 1 else None


def _task(node: Node, parents: tuple[int, ...], place: Mapping[str, int], make: Make) -> NewTask:
    signature = node.signature
    options = signature.options
    if options.get("unique_key") is not None:
        raise InvalidCallError(
            f"{_name(node)} has unique_key={options['unique_key']!r}. A flow is enqueued whole, "
            "so a task of it can't be left out because another one is live. Leave the key away, "
            "or enqueue the flow from a task that has it."
        )
    if not parents:
        return make(signature.name, signature.args, signature.kwargs, cast("Options", options))
    if options:  # on_parent_failure is kept only of what says that it depends on others
        options = {**options, "depends_on": options.get("depends_on") or ()}
    args = tuple([_placed(value, place) for value in signature.args])
    kwargs = {key: _placed(value, place) for key, value in signature.kwargs.items()}
    new = make(signature.name, args, kwargs, cast("Options", options))
    if new.depends_on:  # these stay in front: the arguments refer to them by their numbers
        known = set(new.depends_on)
        parents = tuple([parent for parent in parents if parent not in known])
    new.depends_on += parents
    return new


def _placed(value: Any, place: Mapping[str, int]) -> Any:
    """Return an argument with the numbers of other tasks of the flow instead of their keys."""
    if isinstance(value, ResultOf):
        known = place.get(str(value.parent))
        return value if known is None else ResultOf(known, completed_at=value.completed_at)
    if isinstance(value, list | tuple) and any(isinstance(item, ResultOf) for item in value):
        return [_placed(item, place) for item in value]
    return value


def _name(node: Node) -> str:
    return f"Task {node.key!r} ({node.signature.name})" if node.named else node.signature.name


def _unknown_message(node: Node, key: str, keys: Mapping[str, int]) -> str:
    near = difflib.get_close_matches(key, keys, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    return (
        f"{_name(node)} comes after {key!r}, and the flow has no task with that key.{hint} A key "
        "is given with flow.add(…, key=…). A task that is enqueued already is named by its id or "
        "handle, in ResultOf(…) or task.options(depends_on=[…])."
    )


def _cycle_message(nodes: Sequence[Node], cycle: Sequence[int]) -> str:
    names = [_name(nodes[number]) for number in (*cycle, cycle[0])]
    if len(names) > SHOWN_OF_A_CYCLE:
        left_out = len(names) - SHOWN_OF_A_CYCLE
        names[SHOWN_OF_A_CYCLE - 1 : -1] = [f"… ({left_out} more) …"]
    return (
        f"The flow has a cycle, so none of these could ever start: {' → '.join(names)}. "
        "Take one of the arrows out."
    )
