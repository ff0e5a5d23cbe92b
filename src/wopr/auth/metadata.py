"""What a task asks of those who run it: collected from its function and its class."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from wopr.domain.callables import signature_text
from wopr.domain.errors import ConflictingAuthMetadataError, InvalidCallError

MARKS = "__wopr_auth__"
READ = "__wopr_auth_read__"
_MOST_LAYERS = 100


class RequirementKind(str, Enum):
    """What is asked for."""

    ROLE = "role"
    SCOPE = "scope"
    PERMISSION = "permission"
    POLICY = "policy"
    RELATION = "relation"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One thing that must hold. ``ref`` names it; what does not apply is ``None``."""

    kind: RequirementKind
    ref: str
    resource: str | None = None
    action: str | None = None
    tenant: str | None = None

    def __str__(self) -> str:
        on = "" if self.resource is None or self.action is not None else f" on {self.resource!r}"
        within = "" if self.tenant is None else f" in tenant {self.tenant!r}"
        return f"the {self.kind.value} {self.ref!r}{on}{within}"


@dataclass(frozen=True, slots=True)
class AuthMetadata:
    """All that the marks of a function and its class say. Every requirement must hold."""

    public_access: bool = False
    protected: bool = False
    """Whether somebody must be known; each requirement implies it."""
    requirements: tuple[Requirement, ...] = ()

    def plus(self, more: AuthMetadata) -> AuthMetadata:
        """Return both together, each requirement once."""
        return AuthMetadata(
            self.public_access or more.public_access,
            self.protected or more.protected,
            tuple(dict.fromkeys(self.requirements + more.requirements)),
        )


NOTHING = AuthMetadata()


def requirements_of(function: object, owner: type | None = None) -> AuthMetadata:
    """Return the marks of a function, of what it wraps and of its class, together.

    Args:
        function: a function, method, partial, class or object that can be called.
        owner: the class that the function is a method of; that of a bound method is known.

    Raises:
        ConflictingAuthMetadataError: it is public and protected at once.
    """
    found = NOTHING
    for holder in _holders(function, owner):
        marks = _own(holder).get(MARKS)
        if isinstance(marks, AuthMetadata):
            found = found.plus(marks)
    if found.public_access and found.protected:
        asked = ", ".join(map(str, found.requirements)) or "@protected"
        raise ConflictingAuthMetadataError(
            f"{_name_of(function, owner)} is marked @public_access and asks for {asked}. The marks "
            "of a method and those of its class count together: remove one side."
        )
    return found


def close_marks(function: object, owner: type | None = None) -> None:
    """Refuse marks on this function from now on: they were read, a later one would not count."""
    for holder in _holders(function, owner):
        if holder is function or holder is owner or not inspect.isclass(holder):
            try:
                setattr(holder, READ, True)
            except (AttributeError, TypeError):
                continue  # a builtin: it takes no marks either


def add_mark(target: Any, mark: AuthMetadata) -> None:
    """Put a mark on a function, method or class.

    Raises:
        InvalidCallError: it is registered already, or can't hold a mark.
    """
    holder = target.__func__ if isinstance(target, staticmethod | classmethod) else target
    if _own(holder).get(READ):
        raise InvalidCallError(
            f"{_name_of(target, None)} is registered as a task already, so this mark would not "
            "protect it. Decorators apply from the bottom up; put it below the registration:\n"
            "    @queue.task\n    @protected\n    async def ..."
        )
    if not callable(holder) or inspect.ismethod(holder):
        raise InvalidCallError(
            f"{_name_of(target, None)} can't be marked: marks go on functions, methods in their "
            "class, and classes."
        )
    known = _own(holder).get(MARKS, NOTHING)
    try:
        setattr(holder, MARKS, mark.plus(known))
    except (AttributeError, TypeError) as error:
        raise InvalidCallError(
            f"{_name_of(target, None)} can't hold a mark. Wrap it in a function of your own and "
            "mark that."
        ) from error


def _own(holder: object) -> Mapping[str, Any]:
    """Return the attributes of the object itself, without those of its class or base classes."""
    own: Mapping[str, Any] = getattr(holder, "__dict__", {})
    return own


def _holders(function: Any, owner: type | None) -> Iterator[object]:
    """Yield everything that may hold marks: classes first, then the function and what it wraps."""
    if owner is not None:
        yield from _classes(owner)
    for _ in range(_MOST_LAYERS):
        if inspect.ismethod(function):
            instance = function.__self__
            yield from _classes(instance if inspect.isclass(instance) else type(instance))
            function = function.__func__
        elif isinstance(function, staticmethod | classmethod):
            function = function.__func__
        elif inspect.isclass(function):
            yield from _classes(function)
            return
        yield function
        if isinstance(function, functools.partial | functools.partialmethod):
            function = function.func
        elif "__wrapped__" in _own(function):
            function = function.__wrapped__
        elif inspect.isroutine(function) or function is None:
            return
        else:  # an object with __call__
            yield from _classes(type(function))
            function = getattr(type(function), "__call__", None)  # noqa: B004 - the function itself


def _classes(owner: type) -> list[type]:
    return [cls for cls in owner.__mro__ if cls is not object]


def _name_of(function: Any, owner: type | None) -> str:
    name = getattr(function, "__qualname__", None) or signature_text(function)
    return f"{owner.__qualname__}.{name.rpartition('.')[2]}" if owner is not None else name
