"""The document that describes the API: OpenAPI 3.1, made of the rows that it is served by."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import Any

from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode
from pydantic_core import to_json
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from wopr.web.api.endpoints import JSON, Endpoint
from wopr.web.api.problems import MEDIA_TYPE, Problem
from wopr.web.guard.roles import Role
from wopr.web.routing import route

_PLACE = re.compile(r"\{(\w+)(?::\w+)?\}")
_REF = "#/components/schemas/{model}"
ANY = (401, 403, 408, 413, 414, 415, 421, 422, 429, 431, 503)
"""What any request may come to."""
_PROBLEM = {"$ref": "#/components/responses/Problem"}
_Wanted = tuple[str, JsonSchemaMode, TypeAdapter[Any]]


def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the document."""
    schemas, components = _schemas(endpoints)
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        operation = _operation(one, schemas)
        paths.setdefault(_PLACE.sub(r"{\1}", one.path), {})[one.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "wopr",
            "version": "1",
            "summary": "A queue of tasks over HTTP.",
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/api/v1"}],
        "security": [{"token": []}, {"session": []}, {}],
        "tags": [{"name": name} for name in dict.fromkeys(one.about for one in endpoints)],
        "paths": paths,
        "components": {
            "schemas": components,
            "responses": {"Problem": _problem(schemas["problem", "serialization"])},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "wopr_session",
                    "description": "Of a browser. At an address with a port its name ends with "
                    "that: `wopr_session_8800`.",
                },
            },
        },
    }


def _schemas(endpoints: Iterable[Endpoint]) -> tuple[dict[Any, Any], dict[str, Any]]:
    """Return the schema of each body and answer, and what they refer to."""
    wanted: list[_Wanted] = [("problem", "serialization", TypeAdapter(Problem))]
    for one in endpoints:
        if one.body is not None:
            wanted.append((one.name, "validation", one.body))
        if one.answer is not None:
            wanted.append((one.name, "serialization", one.answer))
    schemas, rest = TypeAdapter.json_schemas(wanted, ref_template=_REF)
    return dict(schemas), rest.get("$defs", {})


def _problem(schema: Any) -> dict[str, Any]:
    return {
        "description": "What went wrong, and what mends it.",
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def _operation(one: Endpoint, schemas: dict[Any, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": one.name,
        "tags": [one.about],
        "summary": one.summary,
        "description": f"Needs the role {one.needs}.",
        "parameters": [*_places(one), *_parameters(one)],
        "responses": _responses(one, schemas.get((one.name, "serialization"))),
    }
    if one.body is not None:
        schema = schemas[one.name, "validation"]
        found["requestBody"] = {
            "required": not one.optional,
            "content": {JSON: {"schema": schema}},
        }
    return found


def _places(one: Endpoint) -> list[dict[str, Any]]:
    text = {"type": "string", "minLength": 1}
    number = {"type": "integer", "minimum": 0, "maximum": 2**62}
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": number if name == "number" else text,
        }
        for name in _PLACE.findall(one.path)
    ]


def _parameters(one: Endpoint) -> list[dict[str, Any]]:
    schema = one.query.model_json_schema(mode="validation", ref_template=_REF)
    assert "$defs" not in schema, f"the parameters of {one.name} are plain"
    found = []
    for name, given in schema.get("properties", {}).items():
        about = dict(given)
        description = about.pop("description", "")
        about.pop("title", None)
        if about.get("default", 0) is None:
            del about["default"]
        found.append(
            {
                "name": name,
                "in": "query",
                "required": name in schema.get("required", ()),
                "description": description,
                "schema": _without_null(about),
            }
        )
    return found


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter: what is left out has no value, and so none is null."""
    members = [one for one in schema.get("anyOf", ()) if one != {"type": "null"}]
    if len(members) == 1:
        rest = {key: value for key, value in schema.items() if key != "anyOf"}
        return {**members[0], **rest}
    return {**schema, "anyOf": members} if members else schema


def _responses(one: Endpoint, schema: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for status in one.statuses:
        content = {
            media: {"schema": schema} if media == JSON and schema is not None else {}
            for media in one.media
        }
        said = HTTPStatus(status).phrase
        found[str(status)] = {"description": said, **({"content": content} if content else {})}
    for status in sorted({*ANY, *one.problems}):
        found[str(status)] = _PROBLEM
    return found


def route_of(endpoints: Sequence[Endpoint]) -> Route:
    """Return the route of the document; it is made once, when it is first asked for."""

    @functools.cache
    def text() -> bytes:
        return to_json(document(endpoints))

    async def openapi(request: Request) -> Response:
        return Response(text(), headers={"cache-control": "no-cache"}, media_type=JSON)

    return route("/openapi.json", openapi, needs=Role.READ)
