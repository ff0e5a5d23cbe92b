"""Where a function was defined and what it closes over: whether two are one and the same.

A name of a task means one function. A module that is reloaded and a notebook cell that is run
again define that function anew. A second function of the same name, and a second closure of the
same code, are another one; so are two that a program has made of texts.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from types import CellType, CodeType, FunctionType, MemberDescriptorType, MethodType
from typing import Any

from wopr.domain.callables import innermost
from wopr.domain.jsontext import type_name

_TEXT = "<string>"
"""The file of what ``exec`` is given as a text."""
MOST_PARTS = 100
"""So many functions are looked at that one closes over."""


class Kinship(Enum):
    """What the second of two functions is to the first."""

    SAME = "same"
    ANEW = "anew"
    """The same place in the code, which was executed anew."""
    OTHER = "other"


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """What is known of a function when it is registered. A later look may find other things.

    Attributes:
        function: the function itself.
        name: its module and qualified name, as people read it.
        qualname: without the module.
        file: of its code, an absolute path; that of a notebook's cell or of a prompt is none
            that a module has.
        line: where its code begins there.
        code: its code; ``None`` for what has none of its own, like a partial.
        namespace: its global names.
        loaded: the module's spec, which every execution of the module has of its own.
        parts: what it closes over, or is made of: origins of functions, and values.
    """

    function: object
    name: str
    qualname: str
    file: str
    line: int
    code: CodeType | None
    namespace: dict[str, Any]
    loaded: object
    parts: tuple[object, ...]

    @property
    def place(self) -> str:
        """File and line, as editors take them."""
        return f"{self.file}:{self.line}" if self.file else "no file that is known"

    @property
    def typed_in(self) -> bool:
        """Whether it is from a notebook's cell or a prompt, not from a module's file."""
        module = self.namespace.get("__file__")
        return not isinstance(module, str) or _absolute(module) != self.file

    @property
    def made(self) -> bool:
        """Whether a program has put it together as a text, and executed that."""
        return self.file == _TEXT


def origin_of(function: Callable[..., Any], seen: set[int] | None = None) -> Origin:
    """Return where a function comes from, and what it is made of.

    ``seen`` has the functions that were looked at on the way: one may close over itself.
    """
    seen = set() if seen is None else seen
    seen.add(id(function))
    inner = function if isinstance(function, FunctionType) else innermost(function)
    code = getattr(inner, "__code__", None)
    code = code if isinstance(code, CodeType) else None
    module = _text(getattr(function, "__module__", None))
    qualname = _text(getattr(function, "__qualname__", None)) or type_name(function)
    namespace = getattr(inner, "__globals__", None) or {}
    return Origin(
        function,
        f"{module or '?'}.{qualname}",
        qualname,
        "" if code is None else _absolute(code.co_filename),
        0 if code is None else code.co_firstlineno,
        code,
        namespace,
        namespace.get("__spec__"),
        tuple([_part(part, seen) for part in _parts(function, inner)]),
    )


def kinship(first: Origin, second: Origin) -> Kinship:
    """Tell what the second function is to the first."""
    if first.function is second.function:
        return Kinship.SAME
    if first.qualname != second.qualname or (first.code is None) != (second.code is None):
        return Kinship.OTHER
    if first.code is None and first.name != second.name:
        return Kinship.OTHER
    same_names = first.namespace is second.namespace
    if first.made and second.made and first.loaded is second.loaded and not _at_a_prompt():
        alike = same_names and first.code == second.code
        return _by_parts(first.parts, second.parts) if alike else Kinship.OTHER
    if first.code is second.code:
        alike = same_names or first.code is None  # code that is executed anew is compiled anew
        return _by_parts(first.parts, second.parts) if alike else Kinship.OTHER
    if first.file != second.file and not (same_names and first.typed_in and second.typed_in):
        return Kinship.OTHER
    if not same_names or first.loaded is not second.loaded:
        return Kinship.ANEW
    return Kinship.ANEW if _one_place(first, second) else Kinship.OTHER


def _at_a_prompt() -> bool:
    """Whether somebody types what is executed, at Python's prompt or in a notebook."""
    return hasattr(sys, "ps1") or "ipykernel" in sys.modules


def executed_anew(first: Callable[..., Any], second: Callable[..., Any]) -> bool:
    """Tell whether the second function has the first one's place in code that was executed anew.

    Of lambdas nobody knows which one takes the place of which.
    """
    one, two = origin_of(first), origin_of(second)
    return not one.qualname.endswith("<lambda>") and kinship(one, two) is Kinship.ANEW


def _one_place(first: Origin, second: Origin) -> bool:
    """Whether one place was executed twice, as a cell that was run again.

    Two lambdas can stand in one line, so those have to be the same code too.
    """
    one_line = first.file == second.file and first.line == second.line
    if one_line and first.qualname.endswith("<lambda>"):
        return first.code == second.code
    return one_line or first.typed_in


def _by_parts(first: Sequence[object], second: Sequence[object]) -> Kinship:
    """Compare what two functions of the same code are made of."""
    if len(first) != len(second):
        return Kinship.OTHER
    alike, anew = True, False
    for one, two in zip(first, second, strict=True):
        if isinstance(one, Origin) and isinstance(two, Origin):
            kin = kinship(one, two)
            if kin is Kinship.OTHER:
                return Kinship.OTHER
            anew = anew or kin is Kinship.ANEW
        else:
            alike = alike and _equal(one, two)
    if anew:  # then the values around it were made anew too
        return Kinship.ANEW
    return Kinship.SAME if alike else Kinship.OTHER


def _equal(one: object, two: object) -> bool:
    if one is two:
        return True
    try:
        return type(one) is type(two) and bool(one == two)
    except Exception:  # noqa: BLE001 - whatever somebody's comparison raises
        return False


def _parts(function: Any, inner: Any) -> list[object]:
    """Return what a function is made of besides its code."""
    if isinstance(function, functools.partial):
        return [function.func, *function.args, *_flat(function.keywords)]
    is_method = isinstance(function, MethodType)
    looks = function is inner or is_method or inspect.isclass(function)
    if isinstance(inner, FunctionType) and (looks or hasattr(function, "__wrapped__")):
        closed_over = [_content(cell) for cell in inner.__closure__ or ()]
        bound = [function.__self__] if is_method else []
        defaults = [*(inner.__defaults__ or ()), *_flat(inner.__kwdefaults__ or {})]
        return [*closed_over, *defaults, *bound]
    own = getattr(function, "__dict__", None)
    kept = _flat(own) if type(own) is dict else []
    return [getattr(function, "__self__", None), *kept, *_slots(function)]


def _slots(thing: object) -> list[object]:
    """Return what an object keeps outside of a dictionary: the members of its classes."""
    return [
        getattr(thing, name, None)
        for kind in type(thing).__mro__
        for name, member in vars(kind).items()
        if isinstance(member, MemberDescriptorType) and "__slots__" in vars(kind)
    ]


def _flat(items: Mapping[str, object]) -> list[object]:
    return [part for name in sorted(items) for part in (name, items[name])]


def _content(cell: CellType) -> object:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _part(part: object, seen: set[int]) -> object:
    is_function = issubclass(type(part), FunctionType | MethodType | functools.partial)
    if not is_function or not callable(part):
        return part
    return origin_of(part, seen) if id(part) not in seen and len(seen) < MOST_PARTS else None


def _absolute(file: str) -> str:
    return file if file.startswith("<") else os.path.abspath(file)


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
