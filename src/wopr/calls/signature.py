"""Calls that are put together before they are enqueued: ``chain``, ``group`` and ``chord``.

Each of them copies the steps that it is made of into one flat list, so that nesting costs
no stack, whatever its depth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any, Generic, TypeVar, overload

from wopr.domain.checks import check_count
from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown, type_name

R = TypeVar("R")
S = TypeVar("S")
R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, eq=False)  # slots and Generic don't go together
class Signature(Generic[R_co]):
    """One call of a task that is not enqueued yet; made by ``task.s(…)`` or ``task.si(…)``.

    Args:
        name: of a registered task.
        args: positional arguments; may hold :class:`ResultOf`.
        kwargs: keyword arguments; likewise.
        options: as in :meth:`Task.options`; ``unique_key`` has no place in a flow.
        immutable: in a chain, take no result of the step before, only wait for it.
    """

    name: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    immutable: bool = False

    def __or__(self, after: Step[S]) -> Composition[S]:
        """Return the chain of this step and another one: ``fetch.s(url) | count.s()``."""
        return chain(self, after)

    def then(self, after: Step[S]) -> Composition[S]:
        """Return the same chain: ``fetch.s(url).then(count.s())``."""
        return chain(self, after)


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One task of a composition: its call, and by number those whose results it takes."""

    signature: Signature[Any]
    parents: tuple[int, ...] = ()
    listed: bool = False
    """Whether the results come as a list."""


@dataclass(frozen=True, eq=False)
class Composition(Generic[R_co]):
    """What ``chain``, ``group``, ``chord`` and ``task.map`` give; may be a step of another one."""

    parts: tuple[Part, ...]
    """The tasks; each comes after those that it depends on."""
    lasts: tuple[int, ...]
    """The numbers of the tasks whose results are the result of the whole."""
    listed: bool
    """Whether the result is a list."""

    def __or__(self, after: Step[S]) -> Composition[S]:
        """Return the chain of this and a step; after a group that is a chord."""
        return chain(self, after)

    def then(self, after: Step[S]) -> Composition[S]:
        """Return the same chain: ``group(…).then(total.s())``."""
        return chain(self, after)


Step = Signature[R] | Composition[R]


def chain(*steps: Step[Any] | Iterator[Step[Any]]) -> Composition[Any]:
    """Return steps that run one after the other.

    Each gets the result of the one before it as its first positional argument, unless it
    was made with ``task.si``. After a group that is the list of the results of its members.
    A group that comes after a step gets that step's result in each of its members. One
    generator is the steps that it gives. ``a | b`` is ``chain(a, b)``.

    Raises:
        InvalidCallError: there is no step, or one is none.
    """
    parts: list[Part] = []
    lasts: tuple[int, ...] = ()
    listed = False
    for step in _given(steps):
        whole = composition(step, "chain")
        parts, lasts = _joined(parts, whole, lasts, listed=listed)
        listed = whole.listed
    if not parts:
        raise InvalidCallError(_nothing("chain", "step"))
    return Composition(tuple(parts), lasts, listed)


@overload
def group(*members: Signature[R]) -> Composition[list[R]]: ...
@overload
def group(members: Iterator[Signature[R]], /) -> Composition[list[R]]: ...
@overload
def group(*members: Step[Any] | Iterator[Step[Any]]) -> Composition[list[Any]]: ...
def group(*members: Step[Any] | Iterator[Step[Any]]) -> Composition[list[Any]]:
    """Return members that run side by side; the result is the list of theirs, in order.

    The list is flat: a group in a group adds its results one by one. One generator is the
    members that it gives: ``group(fetch.s(url) for url in urls)``.

    Raises:
        InvalidCallError: there is no member, or one is none.
    """
    return _group(_given(members), "group", "member")


@dataclass(frozen=True, slots=True, eq=False)
class Header:
    """A chord that has no callback yet: ``chord(header)``, to be called with it."""

    members: Composition[list[Any]]

    def __call__(self, callback: Step[R]) -> Composition[R]:
        """Return the chord."""
        return chain(self.members, callback)


@overload
def chord(
    header: Composition[list[Any]] | Iterator[Step[Any]], callback: Step[R]
) -> Composition[R]: ...
@overload
def chord(header: Composition[list[Any]] | Iterator[Step[Any]]) -> Header: ...
def chord(
    header: Composition[list[Any]] | Iterator[Step[Any]], callback: Step[R] | None = None
) -> Composition[R] | Header:
    """Return a group and what follows on it: the same as ``header | callback``.

    ``chord(header)(callback)`` is the same; it is enqueued like any other step.

    Args:
        header: a group, a generator of its members, or anything else whose result is a list.
        callback: gets the list of results as its first positional argument.

    Raises:
        InvalidCallError: the header is none.
    """
    if isinstance(header, Iterator):
        header = _group(header, "chord", "member")
    if not composition(header, "chord").listed:
        raise InvalidCallError(
            "chord() takes a group and a callback, and this header gives one result, not a list. "
            "Write chord(group(…), callback), or chain(step, callback)."
        )
    return Header(header) if callback is None else chain(header, callback)


def mapped(signature: Signature[R], items: Iterable[Any]) -> Composition[list[R]]:
    """Return a group with one call per item, which is its last positional argument."""
    found = _items(items, "map", "the arguments of the calls, one each")
    return _calls(signature, ((item,) for item in found), "map")


def starmapped(signature: Signature[R], items: Iterable[Sequence[Any]]) -> Composition[list[R]]:
    """Return a group with one call per item, which is its last positional arguments."""
    what = "the arguments of the calls, a tuple or a list each"
    calls = []
    for item in _items(items, "starmap", what):
        if not isinstance(item, list | tuple):
            raise InvalidCallError(
                f"starmap() takes {what}, not {shown(item)}. Items of one argument go to map()."
            )
        calls.append(tuple(item))
    return _calls(signature, calls, "starmap")


def chunked(signature: Signature[R], items: Iterable[Any], size: int) -> Composition[list[R]]:
    """Return a group with one call per ``size`` items, which are a list in its last argument."""
    most = check_count(size, "size", least=1)
    left = _items(items, "chunks", "what the calls get, each a list of so many")
    return _calls(signature, _cut(left, most), "chunks")


def _cut(items: Iterator[Any], size: int) -> Iterator[tuple[list[Any]]]:
    while some := list(islice(items, size)):
        yield (some,)


def _items(items: Iterable[Any], where: str, what: str) -> Iterator[Any]:
    try:
        return iter(items)
    except TypeError as error:
        raise InvalidCallError(f"{where}() takes {what}, not {shown(items)}: {error}") from error


def _calls(
    signature: Signature[R], calls: Iterable[tuple[Any, ...]], where: str
) -> Composition[list[R]]:
    members = (replace(signature, args=(*signature.args, *args)) for args in calls)
    return _group(members, where, "item")


def _given(steps: Sequence[Any]) -> Iterable[Any]:
    """Return the steps of a call, which may be one generator of them."""
    return steps[0] if len(steps) == 1 and isinstance(steps[0], Iterator) else steps


def composition(step: object, where: str) -> Composition[Any]:
    """Return a step as what it is made of.

    Raises:
        InvalidCallError: it is no step; ``where`` names the function that it was given to.
    """
    if isinstance(step, Composition):
        return step
    if isinstance(step, Signature):
        return Composition((Part(step),), (0,), listed=False)
    raise InvalidCallError(
        f"{where}() is made of task.s(…), task.si(…), chain(…), group(…), chord(…), task.map(…), "
        f"task.starmap(…) and task.chunks(…), not of {type_name(step)} {shown(step)}. "
        f"{_hint(step, where)}"
    )


def _hint(step: object, where: str) -> str:
    if isinstance(step, list | tuple | Iterator):
        one = {"chord": "chord(group(*steps), callback)", "enqueue_flow": "group(*steps)"}
        other = ", or chain(*steps)" if where == "enqueue_flow" else ""
        return f"Write {one.get(where, f'{where}(*steps)')}{other}."
    if isinstance(step, Header):
        return "This chord has no callback yet: chord(header)(callback), or header | callback."
    if callable(getattr(step, "s", None)):
        return f"Write {getattr(step, 'name', 'task')}.s(…), with the arguments of the call."
    return 'For a task without decorator there is Signature("name", (…)).'


def _group(members: Iterable[Step[Any]], where: str, word: str) -> Composition[list[Any]]:
    parts: list[Part] = []
    lasts: list[int] = []
    for member in members:
        whole = composition(member, where)
        parts, last = _joined(parts, whole, (), listed=False)
        lasts += last
    if not parts:
        raise InvalidCallError(_nothing(where, word))
    return Composition(tuple(parts), tuple(lasts), listed=True)


def _joined(
    parts: list[Part], whole: Composition[Any], inputs: tuple[int, ...], *, listed: bool
) -> tuple[list[Part], tuple[int, ...]]:
    """Add a composition to the parts; return them, and what the last ones of it are now.

    Its first tasks, those without parents, get the ``inputs``.
    """
    base = len(parts)
    if not base:
        return list(whole.parts), whole.lasts
    for part in whole.parts:
        if part.parents:
            moved = tuple([parent + base for parent in part.parents])
            parts.append(Part(part.signature, moved, part.listed))
        else:
            parts.append(Part(part.signature, inputs, listed))
    return parts, tuple([last + base for last in whole.lasts])


def _nothing(where: str, word: str) -> str:
    return (
        f"{where}() of nothing would never give a result. Give it at least one {word}; where "
        f"there may be none, ask before: `if items: await queue.enqueue_flow(…)`."
    )
