"""Asking objects of others for their text or their type, whatever their methods do.

An ``__str__`` may raise ``SystemExit``, a metaclass may hide the name, a text may be of a class
of its own: nothing of that may end a worker or change what is told of an error.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

# Looked up once: each error that is told asks for most of these, several times.
_NAME, _WHOLE_NAME = type.__dict__["__name__"].__get__, type.__dict__["__qualname__"].__get__
_MODULE = type.__dict__["__module__"].__get__
_CAUSE = vars(BaseException)["__cause__"].__get__
_CONTEXT = vars(BaseException)["__context__"].__get__
_MEMBERS = vars(BaseExceptionGroup)["exceptions"].__get__


def guarded(ask: Callable[[], T], otherwise: T) -> T:
    """Return what ``ask`` returns, or ``otherwise`` should it raise anything at all."""
    try:
        return ask()
    except BaseException:  # noqa: BLE001 - what somebody's method raises is no signal to us
        return otherwise


def plain_text(value: object) -> str | None:
    """Return ``str(value)`` as a plain ``str``; None if its ``__str__`` raises."""
    return guarded(lambda: str.__str__(str(value)), None)


def error_text(error: BaseException) -> str:
    """Return what an error says, whole."""
    text = plain_text(error)
    return "(its text can't be read)" if text is None else text


def safe_text(error: BaseException) -> str:
    """Return what an error says, on one line; the name of its type if that can't be read."""
    text = plain_text(error)
    return type_name(error) if text is None else " ".join(text.split())[:500]


def shown(value: object, limit: int = 80) -> str:
    """Return ``repr(value)``, cut, for an error; even when that itself raises."""
    text = guarded(lambda: str.__str__(repr(value)), None)
    return f"an unprintable {type_name(value)}" if text is None else text[:limit]


def type_name(value: object) -> str:
    """Return the name of the type of ``value``, whatever its metaclass does."""
    return name_of(type(value))


def name_of(kind: type, *, whole: bool = False) -> str:
    """Return the name of a class, whatever its metaclass does.

    With ``whole`` the classes around it are named too.
    """
    ask = _WHOLE_NAME if whole else _NAME
    return guarded(lambda: str.__str__(ask(kind)), "object")


def module_of(kind: type) -> str:
    """Return the module of a class; empty if it doesn't tell."""
    module = guarded(lambda: _MODULE(kind), None)
    if type(module) is str:
        return module
    return guarded(lambda: str.__str__(module), "") if isinstance(module, str) else ""


def full_name(kind: type) -> str:
    """Return the name of a class with its module, unless that is ``builtins``."""
    module, name = module_of(kind), name_of(kind, whole=True)
    return name if module in {"builtins", ""} else f"{module}.{name}"


def cause_of(error: BaseException) -> BaseException | None:
    """Return what an error was raised from, whatever its class says."""
    return _error(_CAUSE(error))


def context_of(error: BaseException) -> BaseException | None:
    """Return what was being handled when an error was raised, whatever its class says."""
    return _error(_CONTEXT(error))


def members_of(error: BaseException) -> tuple[BaseException, ...]:
    """Return the members of a group; none of any other error."""
    if not issubclass(type(error), BaseExceptionGroup):
        return ()
    members: tuple[BaseException, ...] = _MEMBERS(error)
    return members


def _error(found: object) -> BaseException | None:
    return found if isinstance(found, BaseException) else None
