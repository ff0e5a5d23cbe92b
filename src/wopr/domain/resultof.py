"""Arguments that are the results of other tasks."""

from __future__ import annotations

from typing import Protocol


class HasId(Protocol):
    """A handle of a task."""

    @property
    def id(self) -> str:
        """Of the task."""
        ...


class ResultOf:
    """Stands for the result of another task, in the arguments of a call that depends on it.

    Args:
        parent: the task: its handle or id; in a flow also the number of an earlier task.

    Allowed as an argument, and in a list or tuple that has nothing else in it.
    The call then waits for the parent. Where the parent did not succeed and the call
    runs anyway, the argument is ``None``.
    """

    __slots__ = ("completed_at", "parent")

    def __init__(self, parent: HasId | str | int, *, completed_at: bool = False) -> None:
        self.parent: str | int = parent if isinstance(parent, str | int) else parent.id
        self.completed_at = completed_at
        """Whether the time of its success is meant, not its result."""

    def __repr__(self) -> str:
        return f"ResultOf({self.parent!r})"


def is_result(value: object) -> bool:
    """Whether an argument stands for the results of others, which come later."""
    if isinstance(value, list | tuple):
        return bool(value) and all(type(one) is ResultOf for one in value)
    return type(value) is ResultOf


class Hole:
    """Takes the place of a :class:`ResultOf` while a call is encoded."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "the result of another task"


HOLE = Hole()
