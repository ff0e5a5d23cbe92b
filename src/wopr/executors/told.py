"""Errors on their way between two processes of one program, without pickle.

What travels is JSON: the type's name and its bases, arguments and attributes as far as they are
plain values, texts, causes and members of groups. The other side makes the same error of it, of
a class that it has loaded itself, and calls no method of that class.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from pydantic_core import from_json

from wopr.domain.errors import WoprError
from wopr.domain.guarded import (
    cause_of,
    context_of,
    error_text,
    guarded,
    members_of,
    module_of,
    name_of,
    shown,
)
from wopr.domain.jsontext import clip, tagged_text, untag
from wopr.domain.masking import shortened
from wopr.domain.traces import RemoteTraceback, traceback_of

LONGEST = 2 * 1024 * 1024
"""Characters of all of an error as JSON. One that has more is told with less of each part."""
LONGEST_TEXT = 65_536
"""Characters of what an error says. The owner masks it, so it is not cut behind a name."""
LONGEST_VALUE = 16_384
"""Bytes of an argument or attribute; a longer one travels as its text."""
SHORTER = (1, 4, 16, 64)
"""What the parts of an error are divided by, till all of it fits: by the last one it does."""
MOST_ERRORS = 100
"""Causes and members of one error that travel with it."""
MOST_VALUES = 50
DEEPEST = 20
_TOLD = "_wopr_told"
_HEAP_TYPE = 1 << 9
"""Set in the ``__flags__`` of classes that Python code, or a library, has made."""

Told = dict[str, Any]
"""An error, and all that belong to it, as JSON can hold them."""


@dataclass(frozen=True, slots=True)
class Original:
    """What an error said where it was raised."""

    text: str
    traceback: str


def original_of(error: BaseException) -> Original | None:
    """Return what an error of another process said there; None for one of this process."""
    # To find nothing in its dictionary is much cheaper than to miss an attribute.
    found = guarded(lambda: object.__getattribute__(error, "__dict__").get(_TOLD), None)
    return found if isinstance(found, Original) else None


# -- telling ----------------------------------------------------------------------


def tell(error: BaseException) -> Told:
    """Describe an error for another process."""
    told: Told = {}
    for part in SHORTER:
        told = _told(error, part)
        if len(json.dumps(told)) <= LONGEST:
            break
    return told


def _told(error: BaseException, part: int) -> Told:
    known: list[BaseException] = [error]

    def number(other: BaseException | None) -> int | None:
        if other is None:
            return None
        for at, one in enumerate(known):
            if one is other:
                return at
        if len(known) >= MOST_ERRORS:
            return None
        known.append(other)
        return len(known) - 1

    told = [_described(one, number, part) for one in known]  # the list grows meanwhile
    return {"errors": told, "traceback": shortened(traceback_of(error), LONGEST_TEXT // part)}


def _described(
    error: BaseException, number: Callable[[BaseException | None], int | None], part: int
) -> Told:
    kind = type(error)
    members = [number(one) for one in members_of(error)]
    arguments: tuple[object, ...] = vars(BaseException)["args"].__get__(error)
    attributes: dict[str, object] = object.__getattribute__(error, "__dict__")
    fields = {name: guarded(partial(getattr, error, name), None) for name in _fields(kind)}
    return {
        "bases": [[module_of(base), name_of(base, whole=True)] for base in _line(kind)],
        "args": [_value(one, part) for one in arguments[: MOST_VALUES // part]],
        "attributes": _values(attributes, part),
        "fields": _values({at: one for at, one in fields.items() if one is not None}, part),
        "text": shortened(error_text(error), LONGEST_TEXT // part),
        "cause": number(cause_of(error)),
        "context": number(context_of(error)),
        "suppressed": vars(BaseException)["__suppress_context__"].__get__(error),
        "members": [one for one in members if one is not None],
    }


def _values(named: Mapping[str, object], part: int) -> dict[str, str]:
    pairs = list(named.items())[: MOST_VALUES // part]
    return {
        name: _value(value, part) for name, value in pairs if type(name) is str and name != _TOLD
    }


def _value(value: object, part: int) -> str:
    """Return a value as JSON text, or that of its text if it is not plain."""
    text = guarded(lambda: tagged_text(value, LONGEST_VALUE // part, DEEPEST), b"")
    return (text or tagged_text(clip(shown(value, 1_000), 4_000), LONGEST_VALUE, 1)).decode()


def _line(kind: type[BaseException]) -> list[type]:
    """Return a class and those that it is made from, up to ``BaseException``."""
    line = type.__dict__["__mro__"].__get__(kind)
    return [base for base in line if base is not object][:MOST_VALUES]


def _native(kind: type[BaseException]) -> type[BaseException]:
    """Return the class of the interpreter's own that an error's class is made from."""
    for base in _line(kind):
        native = not type.__dict__["__flags__"].__get__(base) & _HEAP_TYPE
        if native and issubclass(base, BaseException):
            return base
    return BaseException


def _fields(kind: type[BaseException]) -> list[str]:
    """Return what the interpreter's own errors have besides arguments, like ``errno``."""
    found = [
        name
        for base in _line(_native(kind))
        if base is not BaseException
        for name, member in vars(base).items()
        if type(member).__name__ in {"member_descriptor", "getset_descriptor"}
    ]
    return [name for name in found if not name.startswith("__") and name != "exceptions"]


# -- making it anew ---------------------------------------------------------------


def remade(told: Told, task: str) -> BaseException:
    """Return the error that was told of.

    ``task`` names whose it is, should nothing like an error have been told.
    """
    try:
        maker = _Maker(told["errors"])
        error = maker.error(0)
        _set(error, _TOLD, Original(maker.text(0), str(told["traceback"])))
        _show_where(error, str(told["traceback"]))
        return error
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as trouble:
        return WoprError(
            f"Task '{task}' failed in its worker process, and what that told of the error can't be "
            f"read: {shown(trouble)}. Did the task write into the process's own pipe?"
        )


class _Maker:
    """Makes the errors of one description, each once."""

    def __init__(self, errors: Sequence[Told]) -> None:
        self._told = errors
        self._made: dict[int, BaseException] = {}
        self._making: set[int] = set()

    def text(self, at: int) -> str:
        return str(self._told[at]["text"])

    def error(self, at: int) -> BaseException:
        if at in self._made:
            return self._made[at]
        if at in self._making or not 0 <= at < len(self._told):
            raise ValueError(f"error {at} is a member of itself or missing")
        self._making.add(at)
        told = self._told[at]
        members = [self.error(one) for one in told["members"]]
        error = _instance(_class_of(told["bases"]), _read(told["args"]), members)
        self._made[at] = error
        for name, value in told["attributes"].items():
            _set(error, name, untag(from_json(value)))
        for name, value in told["fields"].items():
            _set_field(error, name, untag(from_json(value)))
        _set(error, _TOLD, Original(self.text(at), ""))
        self._link(error, told)
        return error

    def _link(self, error: BaseException, told: Told) -> None:
        for name in ("cause", "context"):
            if told[name] is not None:
                other = self.error(told[name])
                vars(BaseException)[f"__{name}__"].__set__(error, other)
        vars(BaseException)["__suppress_context__"].__set__(error, bool(told["suppressed"]))


def _read(values: Iterable[str]) -> list[object]:
    return [untag(from_json(value)) for value in values]


def _class_of(bases: Sequence[Sequence[str]]) -> type[BaseException]:
    """Return the class if it is loaded here, else one of its name made from the next that is."""
    module, name = map(str, bases[0])
    found = _loaded(module, name)
    if found is not None:
        return found
    bound = next((one for base in bases[1:] if (one := _loaded(*map(str, base)))), WoprError)
    names = {"__module__": module, "__qualname__": name}
    return guarded(lambda: type(name.rpartition(".")[2], (bound,), names), bound)


def _loaded(module: str, qualname: str) -> type[BaseException] | None:
    """Return a class of a module that this process has imported; none is imported for it."""
    found: object = sys.modules.get("__main__" if module == "__mp_main__" else module)
    for name in qualname.split("."):
        found = guarded(partial(_inside, found, name), None)
    if isinstance(found, type) and BaseException in type.__dict__["__mro__"].__get__(found):
        return found
    return None


def _inside(holder: object, name: str) -> object:
    return vars(holder).get(name)


def _instance(
    kind: type[BaseException], args: Sequence[object], members: Sequence[BaseException]
) -> BaseException:
    """Make an error as the interpreter does, without what the class itself would do."""
    native = _native(kind)
    given: tuple[object, ...] = tuple(args)
    if issubclass(native, BaseExceptionGroup):
        text = args[0] if args and isinstance(args[0], str) else ""
        given = (text, list(members) or [WoprError("its members are not known")])
    try:
        error = native.__new__(kind, *given)
        native.__init__(error, *given)
    except (TypeError, ValueError):  # e.g. of an error of Unicode, or a group in a plain one
        error = Exception.__new__(kind if native is Exception else Exception, *given)
    return error


def _set(error: BaseException, name: str, value: object) -> None:
    guarded(lambda: object.__getattribute__(error, "__dict__").__setitem__(name, value), None)


def _set_field(error: BaseException, name: str, value: object) -> None:
    """Set what the interpreter's own class has a place for; not what another one has."""
    for base in _line(_native(type(error))):
        if name in vars(base):
            guarded(partial(vars(base)[name].__set__, error, value), None)
            return


def _show_where(error: BaseException, traceback: str) -> None:
    """Let everybody who prints the error see the traceback of the other process."""
    last = error
    for _ in range(MOST_ERRORS):
        before = cause_of(last) or context_of(last)
        if before is None:
            break
        last = before
    if last is not error and isinstance(last, RemoteTraceback):
        return
    vars(BaseException)["__context__"].__set__(last, RemoteTraceback(traceback))
