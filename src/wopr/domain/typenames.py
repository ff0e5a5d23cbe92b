"""Names of types for people who wonder why a value does not fit."""

from __future__ import annotations

import builtins

from wopr.domain.jsontext import module_name, type_name


def full_type_name(value: object) -> str:
    """Return the name of the type, with its module where the name alone may be mistaken."""
    name = type_name(value)
    module = module_name(value)
    return f"{module}.{name}" if module and (module == "numpy" or hasattr(builtins, name)) else name
