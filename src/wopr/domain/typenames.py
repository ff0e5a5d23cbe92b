"""Names of types for people who wonder why a value does not fit."""

from __future__ import annotations

import builtins

from wopr.domain.jsontext import type_name


def full_type_name(value: object) -> str:
    """Return the name of the type, with its module where the name alone may be mistaken."""
    name = type_name(value)
    module = _module_of(value)
    return f"{module}.{name}" if module and (module == "numpy" or hasattr(builtins, name)) else name


def numpy_hint(value: object) -> str:
    """Return what to do about a scalar of numpy's; nothing for any other value."""
    if _module_of(value) != "numpy" or not hasattr(type(value), "item"):
        return ""
    return f"; a numpy.{type_name(value)} is a scalar of numpy's, its .item() gives the plain value"


def _module_of(value: object) -> str:
    """Return the module of the type of ``value``, empty for builtins."""
    module = type.__getattribute__(type(value), "__module__")
    return module if type(module) is str and module != "builtins" else ""
