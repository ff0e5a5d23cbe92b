"""What can be enqueued here: the registered functions, and the schemas of their arguments."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, with_config
from starlette.exceptions import HTTPException
from typing_extensions import TypedDict

from wopr.calls.registry import TaskDefinition
from wopr.domain.errors import TaskNotRegisteredError
from wopr.domain.jsoncalls import schema_of
from wopr.queue.queue import inside
from wopr.web.api.endpoints import Asked, Endpoint
from wopr.web.api.fields import Priority
from wopr.web.api.problems import with_cure
from wopr.web.guard.roles import Role

ABOUT = "Enqueue"


@with_config(ConfigDict(use_attribute_docstrings=True))
class FunctionDocument(TypedDict):
    """A function that is registered in the process that serves this."""

    name: str
    category: str
    priority: Priority
    max_retries: int
    timeout: float | None
    is_async: bool
    signature: str
    about: str
    """The first line of its docstring."""


class Functions(TypedDict):
    """What can be enqueued here, by name."""

    functions: list[FunctionDocument]


async def list_functions(asked: Asked) -> Functions:
    """Answer what can be enqueued here."""
    known = inside(asked.queue).registry.definitions
    return {"functions": [_document(known[name]) for name in sorted(known)]}


async def get_schema(asked: Asked) -> dict[str, Any]:
    """Answer the JSON schema of the arguments of a function, by name."""
    try:
        definition = inside(asked.queue).registry.get(asked.path["name"])
    except TaskNotRegisteredError as error:
        raise HTTPException(404, with_cure(error)) from error
    return schema_of(definition.codec)


def _document(one: TaskDefinition) -> FunctionDocument:
    text = (one.function.__doc__ or "").strip()
    return {
        "name": one.name,
        "category": one.category,
        "priority": one.priority,  # type: ignore[typeddict-item]  # a number of these
        "max_retries": one.retries,
        "timeout": one.run_options.timeout,
        "is_async": one.is_async,
        "signature": one.codec.signature,
        "about": text.partition("\n")[0],
    }


ENDPOINTS = (
    Endpoint(
        method="GET",
        path="/functions",
        name="list_functions",
        about=ABOUT,
        summary="What can be enqueued here",
        needs=Role.READ,
        handler=list_functions,
        answers=Functions,
    ),
    Endpoint(
        method="GET",
        path="/functions/{name:name}/schema",
        name="get_schema",
        about=ABOUT,
        summary="The JSON schema of a function's arguments",
        needs=Role.READ,
        handler=get_schema,
        answers=dict[str, Any],
        problems=(404,),
    ),
)
