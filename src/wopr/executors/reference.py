"""Functions by module and name: that is how they travel to other processes."""

from __future__ import annotations

import functools
import importlib
import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from wopr.domain.errors import InvalidCallError
from wopr.domain.jsontext import shown

FIX = "Define it at the top level of an importable module."
DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Reference:
    """Where another process finds a function."""

    module: str
    qualname: str
    depth: int
    """What has this name wraps it so many times: a :class:`wopr.Task`, or other decorators."""

    def __str__(self) -> str:
        return f"{self.module}.{self.qualname}"


def check_reference(function: Callable[..., Any]) -> None:
    """Check, when it is registered, whether another process will find a function.

    Its name may stand for nothing yet, as its module is still being imported, or for an
    older version of it, as the module is reloaded.

    Raises:
        InvalidCallError: it will not.
    """
    module, qualname = _names(function)
    loaded = sys.modules.get(module)
    found = _look_up(loaded, qualname)
    if found is None:
        spec = getattr(loaded, "__spec__", None)
        main = module in {"__main__", "__mp_main__"}  # the latter is what a child calls it
        if main or getattr(spec, "_initializing", False):
            return
    if not any(type(one) is type(function) for one in _unwrapped(found)):
        raise _not_there(function)


def reference_of(function: Callable[..., Any]) -> Reference:
    """Return where another process finds a function.

    Raises:
        InvalidCallError: nowhere.
    """
    module, qualname = _names(function)
    found = _look_up(sys.modules.get(module), qualname)
    for depth, one in enumerate(_unwrapped(found)):
        if one is function or one == function:
            return Reference(module, qualname, depth)
    raise _not_there(function)


def function_of(reference: Reference) -> Callable[..., Any]:
    """Return the function, in the process that it travelled to.

    Raises:
        InvalidCallError: it is not there.
        ImportError: neither is its module.
    """
    found = _look_up(importlib.import_module(reference.module), reference.qualname)
    layers = list(_unwrapped(found))
    if len(layers) <= reference.depth:
        hint = (
            "What is typed in at a prompt or in a notebook is not there; put it into a module."
            if reference.module == "__main__"
            else "Are the same files installed there?"
        )
        raise InvalidCallError(f"The function {reference} was not found in another process. {hint}")
    function: Callable[..., Any] = layers[reference.depth]
    return function


def _names(function: Callable[..., Any]) -> tuple[str, str]:
    """Return the module and the name in it.

    Raises:
        InvalidCallError: a look at the function itself says that nobody else can find it.
    """
    if isinstance(function, functools.partial):
        raise _refused(function, "it is a partial", "Write a function that makes the call.")
    if inspect.ismethod(function) and not inspect.isclass(function.__self__):
        raise _refused(
            function, "it is bound to an object of this process", "Use a function instead."
        )
    module, qualname = (
        getattr(function, "__module__", None),
        getattr(function, "__qualname__", None),
    )
    if not isinstance(module, str) or not isinstance(qualname, str):
        raise _refused(function, "it has no module and name of its own", FIX)
    if "<lambda>" in qualname:
        raise _refused(function, "it is a lambda", "Give it a name with def.")
    if "<locals>" in qualname:
        raise _refused(function, "it is defined inside of another function", FIX)
    return module, qualname


def _look_up(holder: object, qualname: str) -> Any:
    for name in qualname.split("."):
        holder = getattr(holder, name, None)
    return holder


def _unwrapped(found: object) -> Iterator[Any]:
    """Give what a name stands for, and what that wraps, down to the innermost."""
    for _ in range(DEEPEST):  # an end for objects that have every attribute
        if found is None:
            return
        yield found
        found = getattr(found, "__wrapped__", None)


def _not_there(function: Callable[..., Any]) -> InvalidCallError:
    module, qualname = _names(function)
    return _refused(function, f"{module}.{qualname} is something else, or does not exist", FIX)


def _refused(function: object, why: str, fix: str) -> InvalidCallError:
    name = getattr(function, "__qualname__", None) or shown(function)
    return InvalidCallError(
        f"{name} can't run in another process, which looks functions up by module and name: "
        f"{why}. {fix}"
    )
