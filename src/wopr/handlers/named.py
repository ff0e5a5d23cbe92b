"""What may become a task because a call names it: a function of the very module that is named."""

from __future__ import annotations

import sys
from types import FunctionType

from wopr.core.task import Task
from wopr.domain.errors import InvalidCallError
from wopr.domain.modulenames import FunctionPath
from wopr.handlers.declares import Declares
from wopr.handlers.include import declared_of


def register_named(queue: Declares, path: FunctionPath, found: object) -> None:
    """Register what a module has under a name, if that is a function which is defined there.

    A task of ``@wopr.task`` is registered with the options that it was declared with. It is not put
    into the queue by that: its schedules are not declared because somebody names it.

    Raises:
        InvalidCallError: it is something else.
    """
    if isinstance(found, Task):
        declared = declared_of(found)
        if declared is None or declared.name != str(path):
            raise _refused(path, f"it is the task {found.name!r}. Enqueue it by that name")
        queue.task(name=declared.name, **declared.options)(found.function)
        return
    if found is None:
        raise _refused(path, "its module has nothing of this name")
    if not isinstance(found, FunctionType):
        raise _refused(path, "it is no function")
    own = found.__module__
    if own == "__main__" and path.module not in sys.modules:
        own = path.module  # the program that runs, which is imported under no other name
    if (own, found.__qualname__) != tuple(path):
        where = f"{found.__module__}.{found.__qualname__}"
        raise _refused(path, f"it is {where}, which the module only has a name for")
    queue.task(name=str(path))(found)


def _refused(path: FunctionPath, why: str) -> InvalidCallError:
    return InvalidCallError(
        f"{path} can't be run by its name: {why}. Only functions can that are defined at the top "
        "level of a module that is allowed."
    )
