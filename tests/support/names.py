"""Every public name with its whole signature: docs/reference/names.md, made from the code.

python tests/support/names.py > docs/reference/names.md
"""

from __future__ import annotations

import enum
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, is_typeddict

import wopr

MODULES = (
    "wopr",
    "wopr.handlers",
    "wopr.notifications",
    "wopr.background",
    "wopr.auth",
    "wopr.scheduler",
    "wopr.testing",
    "wopr.client",
)
TOP = """\
# Every public name

Made from the code, with whole signatures; `...` is a value that may be left out. What they do is on
[API](api.md), on the pages that it links, and in the docstrings. The errors are on
[a page of their own](errors.md), and what needs a web framework is in
[In frameworks](api.md#in-frameworks).
"""
BETWEEN_PROCESSES = {"from_json", "from_plain", "from_rule", "to_json", "to_plain", "to_rule"}
"""How values travel and are stored: not for users."""


def page() -> str:
    """Return the text of the page."""
    return TOP + "".join(_section(importlib.import_module(name)) for name in MODULES)


def _section(module: Any) -> str:
    public = {name: getattr(module, name) for name in sorted(module.__all__, key=str.lower)}
    if module.__name__ != "wopr":
        public = {name: it for name, it in public.items() if getattr(wopr, name, None) is not it}
    entries = [_entry(name, it) for name, it in public.items() if not _is_error(it)]
    return f"\n## {module.__name__}\n\n```text\n" + "\n".join(entries) + "```\n"


def _is_error(value: object) -> bool:
    return isinstance(value, type) and value.__module__ == wopr.WoprError.__module__


def _entry(name: str, value: Any) -> str:
    lines = [_line(name, value)] if callable(value) and not _is_never_called(value) else [name]
    if isinstance(value, type):
        lines += [f"    {line}" for line in _members(value)]
    return "".join(_folded(line) + "\n" for line in lines)


def _folded(line: str) -> str:
    margin = " " * (len(line) - len(line.lstrip()) + 4)
    return textwrap.fill(line, 96, subsequent_indent=margin)


def _is_never_called(value: Any) -> bool:
    words = isinstance(value, type) and issubclass(value, enum.Enum)
    return words or is_typeddict(value) or getattr(value, "_is_protocol", False)


def _members(cls: type) -> Iterator[str]:
    if issubclass(cls, enum.Enum):
        yield " ".join(cls.__members__)
    found: dict[str, Any] = {}
    for one in cls.__mro__:
        if one.__module__.partition(".")[0] == "wopr":
            for name in (*vars(one), *inspect.get_annotations(one)):
                found.setdefault(name, inspect.getattr_static(cls, name, None))
    words = set(cls.__members__) if issubclass(cls, enum.Enum) else set()
    names = sorted(found.keys() - words - BETWEEN_PROCESSES, key=str.lower)
    public = [name for name in names if not name.startswith(("_", "model_", "settings_"))]
    calls = {name for name in public if _is_call(found[name]) or _is_call(getattr(cls, name, 0))}
    if len(calls) < len(public):
        yield " ".join(name for name in public if name not in calls)
    for name in public:
        if name in calls:
            yield _line(name, getattr(cls, name), bound=not isinstance(found[name], staticmethod))


def _is_call(value: object) -> bool:
    return isinstance(value, staticmethod | classmethod) or inspect.isfunction(value)


def _line(name: str, call: Any, *, bound: bool = False) -> str:
    try:
        signature = inspect.signature(call)
    except ValueError:  # a class without one
        return name
    own = [one for one in signature.parameters.values() if not one.name.startswith("_")]
    if bound and not inspect.ismethod(call):
        own = own[1:]
    plain = [_without_annotation(one) for one in own]
    shown = signature.replace(parameters=plain, return_annotation=inspect.Signature.empty)
    return f"{'await ' if inspect.iscoroutinefunction(call) else ''}{name}{shown}"


def _without_annotation(parameter: inspect.Parameter) -> inspect.Parameter:
    default = parameter.default
    if isinstance(default, enum.Enum):
        default = _Shown(f"{type(default).__name__}.{default.name}")
    elif isinstance(default, Path):
        default = str(default)
    elif " object at 0x" in repr(default):
        default = _Shown("...")
    return parameter.replace(annotation=inspect.Parameter.empty, default=default)


class _Shown(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


if __name__ == "__main__":
    print(page(), end="")
