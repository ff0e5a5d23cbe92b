"""What a call says about the tasks that it depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from wopr.domain.checks import check_id
from wopr.domain.codec import CallCodec
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown
from wopr.domain.newtask import OnParentFailure
from wopr.domain.resultof import HOLE, ResultOf

DEP = "dep_"
"""Keyword of a parent's result is this and its name; ``_at`` after it that of its time."""


@dataclass(slots=True)
class Parents:
    """The parents of one call, each once, and where their results go.

    ``places`` maps ``args`` and ``kwargs`` to what stands where: the number of a
    parent, ``{"at": number}`` for the time of its success, or a list of these.
    """

    parents: list[str | int] = field(default_factory=list)
    places: dict[str, dict[str, Any]] = field(default_factory=dict)
    _numbers: dict[str | int, int] = field(default_factory=dict)

    def number(self, parent: object) -> int:
        """Return the number of a parent among those of the call."""
        if isinstance(parent, ResultOf):
            parent = parent.parent
        if not isinstance(parent, str | int) or isinstance(parent, bool):
            given, parent = parent, getattr(parent, "id", None)
            if not isinstance(parent, str):
                raise InvalidCallError(
                    f"A task can depend on a task id or a TaskHandle, not on {shown(given)}."
                )
        known: str | int = check_id(parent) if isinstance(parent, str) else parent
        if known not in self._numbers:
            self._numbers[known] = len(self.parents)
            self.parents.append(known)
        return self._numbers[known]

    def take_results(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with holes where results of parents go."""
        ordered = [self._take("args", str(at), value) for at, value in enumerate(args)]
        return tuple(ordered), {
            key: self._take("kwargs", key, value) for key, value in kwargs.items()
        }

    def _take(self, kind: str, key: str, value: Any) -> Any:
        if not is_result(value):
            return value
        one = isinstance(value, ResultOf)
        place = self._place(value) if one else [self._place(item) for item in value]
        self.places.setdefault(kind, {})[key] = place
        return HOLE

    def _place(self, result: ResultOf) -> int | dict[str, int]:
        number = self.number(result)
        return {"at": number} if result.completed_at else number

    def take_names(
        self, named: Mapping[str, str | int], codec: CallCodec, args: Sequence[Any], given: set[str]
    ) -> dict[str, Any]:
        """Return keywords for the results of parents, where the function has them.

        ``dep_<name>`` is the result and ``dep_<name>_at`` the time of the success; what
        the call gives itself stays as it is.
        """
        found: dict[str, Any] = {}
        for name, parent in named.items():
            keyword = f"{DEP}{name}"
            if keyword not in given and codec.accepts(keyword, len(args)):
                found[keyword] = self._take("kwargs", keyword, ResultOf(parent))
            keyword += "_at"
            if keyword not in given and codec.accepts(keyword, len(args), exactly=True):
                at = ResultOf(parent, completed_at=True)
                found[keyword] = self._take("kwargs", keyword, at)
        return found

    def stored(self, on_failure: OnParentFailure) -> tuple[tuple[str | int, ...], dict[str, Any]]:
        """Return the parents, and the options that are stored with the task."""
        more: dict[str, Any] = {"results": self.places or None}
        if on_failure is not OnParentFailure.CANCEL:
            more["on_parent_failure"] = on_failure.value
        return tuple(self.parents), more


def is_result(value: Any) -> bool:
    """Whether an argument is the result of a parent, or a list of such results.

    Raises:
        InvalidCallError: a list has results and other things in it.
    """
    if isinstance(value, ResultOf):
        return True
    if type(value) not in (list, tuple):  # a class derived from these may do anything
        return False
    found = sum(isinstance(item, ResultOf) for item in value)
    if found and found < len(value):
        raise InvalidCallError(
            f"A list with ResultOf in it can have nothing else in it, this one has "
            f"{len(value) - found} other items. Pass them as an argument of their own."
        )
    return found > 0


def has_results(args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call takes results of other tasks."""
    return any(map(is_result, args)) or any(map(is_result, kwargs.values()))


def parents_of_call(
    codec: CallCodec, args: tuple[Any, ...], kwargs: Mapping[str, Any], depends_on: Any
) -> tuple[tuple[Any, ...], dict[str, Any], Parents]:
    """Return the call with holes for results, and what it depends on.

    Args:
        codec: of the function.
        args: positional arguments; may hold :class:`ResultOf`.
        kwargs: keyword arguments; likewise.
        depends_on: ids or handles, or a mapping of names to them; ``None`` for none but those
            whose results it takes.

    Raises:
        InvalidCallError: ``depends_on`` is none of these.
    """
    parents = Parents()
    names: dict[str, str | int] = {}
    if depends_on is None:
        depends_on = ()
    if isinstance(depends_on, str | bytes) or not isinstance(
        depends_on, Mapping | Sequence | set | frozenset
    ):
        raise InvalidCallError(
            "depends_on must be a list of task ids or handles, or a dict of names to them, not "
            f"{shown(depends_on)}. For one parent write depends_on=[parent]."
        )
    if isinstance(depends_on, Mapping):
        for name, parent in depends_on.items():
            if not isinstance(name, str) or not f"{DEP}{name}".isidentifier():
                raise InvalidCallError(
                    f"depends_on={{{shown(name)}: …}}: the name becomes the keyword dep_<name>, "
                    "so it must be letters, digits and underscores."
                )
            names[name] = parents.parents[parents.number(parent)]
    else:
        for parent in depends_on:
            known = parents.parents[parents.number(parent)]
            if isinstance(known, str):
                names[known] = known
    args, taken = parents.take_results(args, kwargs)
    taken |= parents.take_names(names, codec, args, set(taken))
    return args, taken, parents
