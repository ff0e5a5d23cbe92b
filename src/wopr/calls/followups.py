"""What is enqueued with a call, and runs when that has ended: ``on_success``, ``on_failure``."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, cast

from wopr.calls.options import Options
from wopr.calls.signature import Composition, Signature
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.newtask import NewTask, OnParentFailure
from wopr.domain.resultof import ResultOf

FOLLOW_UPS = frozenset({"on_success", "on_failure"})
MOST_IN_A_COMMIT = 5_000
MOST_FOLLOW_UPS = 1_000
"""So many tasks can follow on one call, with those that follow on them."""
_NOT_THEIRS = ("depends_on", "on_parent_failure", "unique_key")

Make = Callable[[str, Sequence[Any], Mapping[str, Any], Options], NewTask]
"""Checks and encodes one call: name, args, kwargs, options."""


def has_follow_ups(options: Options) -> bool:
    """Whether tasks follow on a call with these options."""
    return options.get("on_success") is not None or options.get("on_failure") is not None


def with_follow_ups(
    make: Make, name: str, args: Sequence[Any], kwargs: Mapping[str, Any], options: Options
) -> list[NewTask]:
    """Return the task of a call and behind it those that follow on it, for one commit.

    They are tasks that depend on it. What follows on a success gets its result as the first
    argument, as in a chain, unless it was made with ``task.si``.

    Raises:
        InvalidCallError: something about one of them is wrong.
    """
    tasks: list[NewTask] = []
    _add(tasks, make, Signature(name, tuple(args), kwargs, cast("Mapping[str, Any]", options)))
    return tasks


def in_commits(groups: Iterable[list[NewTask]]) -> Iterator[tuple[list[NewTask], list[int]]]:
    """Yield calls with what follows on them, as many as go to one commit, and where each begins."""
    tasks: list[NewTask] = []
    begins: list[int] = []
    for group in groups:
        if tasks and len(tasks) + len(group) > MOST_IN_A_COMMIT:
            yield tasks, begins
            tasks, begins = [], []
        base = len(tasks)
        for new in group:
            new.depends_on = tuple(
                [one if isinstance(one, str) else one + base for one in new.depends_on]
            )
        begins.append(base)
        tasks += group
    if tasks:
        yield tasks, begins


def _add(tasks: list[NewTask], make: Make, call: Signature[Any]) -> None:
    options = {key: value for key, value in call.options.items() if key not in FOLLOW_UPS}
    at = len(tasks)
    if at > MOST_FOLLOW_UPS:
        raise InvalidCallError(
            f"More than {MOST_FOLLOW_UPS:,} tasks follow on one call. Enqueue a flow: it has up to "
            "100,000."
        )
    tasks.append(make(call.name, call.args, call.kwargs, cast("Options", options)))
    for what in ("on_success", "on_failure"):
        for after in _signatures(call.options.get(what), what):
            first = len(tasks)
            _add(tasks, make, _behind(after, at, what))
            new = tasks[first]
            if at not in new.depends_on:
                new.depends_on += (at,)


def _signatures(given: Any, what: str) -> Iterator[Signature[Any]]:
    for one in given if isinstance(given, list | tuple) else () if given is None else (given,):
        if not isinstance(one, Signature):
            hint = "For one task write task.s(…), for several a list of these."
            if isinstance(one, Composition):
                hint = "What has several steps is a flow: queue.enqueue_flow(chain(…))."
            raise InvalidCallError(f"{what}= takes calls for later, not {shown(one)}. {hint}")
        if taken := [key for key in _NOT_THEIRS if one.options.get(key) is not None]:
            raise InvalidCallError(
                f"{what}= of a call says when {one.name!r} runs, so it can't have "
                f"{', '.join(taken)} of its own. For more than that there are flows."
            )
        yield one


def _behind(after: Signature[Any], at: int, what: str) -> Signature[Any]:
    """Return a call as that of a task which depends on number ``at``."""
    options = {**after.options, "depends_on": ()}  # what it does if that fails counts only then
    args = after.args
    if what == "on_failure":
        options["on_parent_failure"] = OnParentFailure.ONLY
    elif not after.immutable:
        args = (ResultOf(at), *args)
    return Signature(after.name, args, after.kwargs, options)
