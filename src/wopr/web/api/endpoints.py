"""One row of the API: a path, what it takes, what it answers, and who may ask.

The routes are made of these rows, and so is the document that describes them: one can't say
anything else than the other.
"""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from starlette.convertors import Convertor, IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from wopr.domain.errors import WoprError
from wopr.queue.queue import TaskQueue
from wopr.web.api.problems import problem, problem_of
from wopr.web.api.turns import turns_of
from wopr.web.guard.roles import Caller, Role
from wopr.web.routing import caller_of, queue_of, route

JSON = "application/json"


class NameConvertor(Convertor[str]):
    """A name in a path: it may have slashes, and line breaks."""

    regex = "(?s:.+)"

    def convert(self, value: str) -> str:
        """Return it as it is."""
        return value

    def to_string(self, value: str) -> str:
        """Return it as it is."""
        return value


class NumberConvertor(IntegerConvertor):
    """A number in a path, of so many digits that it can be one of ours."""

    regex = "[0-9]{1,18}"


register_url_convertor("name", NameConvertor())
register_url_convertor("number", NumberConvertor())
_HEADERS = {"cache-control": "no-store"}
_JSON_HEADERS = [(b"content-type", JSON.encode()), (b"cache-control", b"no-store")]


class Model(BaseModel):
    """What a request or an answer consists of. Docstrings of fields are their descriptions."""

    model_config = ConfigDict(
        extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, frozen=True
    )


class Nothing(Model):
    """A query without parameters."""


_NOTHING = Nothing()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as its row of the API reads it."""

    queue: TaskQueue
    caller: Caller
    request: Request
    query: Any
    body: Any

    @property
    def path(self) -> Mapping[str, str]:
        """The parts of the path that have a name."""
        return self.request.path_params


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with a status of its own."""

    value: Any
    """Bytes are JSON already."""
    status: int = 200


class JSONText(Response):
    """An answer that is JSON already; made with less ado, as most are."""

    def __init__(self, text: bytes, status: int) -> None:
        self.status_code = status
        self.body = text
        self.background = None
        length = str(len(text)).encode()
        self.raw_headers = [*_JSON_HEADERS, (b"content-length", length)]


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One row."""

    method: str
    path: str
    """Below ``/api/v1``; ``{name}`` is one part of it, ``{name:name}`` may have slashes."""
    name: str
    """Of the operation."""
    about: str
    """The heading that it stands under."""
    summary: str
    needs: Role
    handler: Callable[[Asked], Awaitable[Any]]
    answers: Any = None
    """The type of the answer; ``None``: it has another form than JSON, see ``media``."""
    statuses: Sequence[int] = (200,)
    """Those of an answer that is no problem."""
    problems: Sequence[int] = ()
    """What else it may come to, besides what any request may."""
    query: type[Model] = Nothing
    takes: Any = None
    """The type of the body; ``None``: there is none."""
    optional: bool = False
    """Whether the body may be left out."""
    media: Sequence[str] = (JSON,)
    """The forms of the answer."""
    costly: bool = False
    """Whether it reads much, so that few run at once; as all do that ask ``at`` a moment."""

    @functools.cached_property
    def body(self) -> TypeAdapter[Any] | None:
        """What reads the body."""
        return None if self.takes is None else TypeAdapter(self.takes)

    @functools.cached_property
    def answer(self) -> TypeAdapter[Any] | None:
        """What writes the answer."""
        return None if self.answers is None else TypeAdapter(self.answers)

    @functools.cached_property
    def many(self) -> frozenset[str]:
        """The parameters of the query that may be given several times."""
        properties = self.query.model_json_schema().get("properties", {})
        return frozenset(name for name, one in properties.items() if "array" in str(one))

    def route(self) -> Route:
        """Return what answers it."""

        async def answer(request: Request) -> Response:
            try:
                return await self._answered(request)
            except (HTTPException, ValidationError, WoprError) as error:
                return problem_of(error)
            except ClientDisconnect:  # nobody reads it
                return problem(408, "The request ended before its body did; nothing was done.")

        answer.__name__ = self.name
        return route(self.path, answer, needs=self.needs, methods=[self.method])

    async def _answered(self, request: Request) -> Response:
        caller = caller_of(request)
        query = self._query(request)
        body = await self._body(request)
        asked = Asked(queue_of(request), caller, request, query, body)
        if self.costly or getattr(query, "at", None) is not None:
            async with turns_of(request).turn(caller.name):
                return self._written(await self.handler(asked))
        return self._written(await self.handler(asked))

    def _query(self, request: Request) -> Model:
        if self.query is Nothing and not request.scope["query_string"]:
            return _NOTHING  # most requests
        given: dict[str, Any] = {}
        for name, value in request.query_params.multi_items():
            if name in self.many:
                given.setdefault(name, []).append(value)
            elif name in given:
                raise HTTPException(422, f"The parameter {name!r:.80} is given twice.")
            else:
                given[name] = value
        return self.query.model_validate(given, strict=False)

    async def _body(self, request: Request) -> Any:
        if self.body is None:
            return None
        data = await _whole(request)
        if not data and self.optional:
            return self.body.validate_python({})
        if data and request.headers.get("content-type", "").partition(";")[0].strip() != JSON:
            raise HTTPException(415, f"The body has to be JSON: say so with Content-Type: {JSON}.")
        return self.body.validate_json(data)

    def _written(self, found: Any) -> Response:
        if isinstance(found, Response):
            return found
        if not isinstance(found, Answer):
            found = Answer(found, self.statuses[0])
        if isinstance(found.value, bytes):
            return JSONText(found.value, found.status)
        if self.answer is None:
            return Response(None, found.status, _HEADERS)
        return JSONText(self.answer.dump_json(found.value), found.status)


async def _whole(request: Request) -> bytes:
    """Return the body of a request, which mostly comes in one part."""
    message = await request.receive()
    if message["type"] == "http.request" and not message.get("more_body", False):
        return bytes(message.get("body", b""))
    parts: list[bytes] = []
    while message["type"] == "http.request":
        parts.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await request.receive()
    raise ClientDisconnect
