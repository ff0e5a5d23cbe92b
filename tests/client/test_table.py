"""The client's table says what the API's says: paths, parameters, and what is answered."""

from __future__ import annotations

import inspect
import re
from typing import Any, get_args, get_type_hints, is_typeddict

import pytest
from pydantic import TypeAdapter

from wopr.client import inputs
from wopr.client.clients import AsyncClient, Client
from wopr.client.table import ROWS, Calls
from wopr.web.api import calls, flows, schedules
from wopr.web.api.alerts import Alert
from wopr.web.api.categories import LimitChange, LimitPlace
from wopr.web.api.endpoints import Endpoint
from wopr.web.api.events import EventsQuery
from wopr.web.api.routes import ENDPOINTS
from wopr.web.api.selecting import Selected

APART = {"sql": {"format"}}
"""What the API takes and the client does not: of SQL there is one form here."""


def path_of(one: Endpoint) -> str:
    return re.sub(r":\w+\}", "}", one.path)


def test_every_route_has_a_call_and_every_call_a_route() -> None:
    there = {one.name: (one.method, path_of(one)) for one in ENDPOINTS}
    assert there == {name: (row.method, row.path) for name, row in ROWS.items()}


def test_both_clients_have_the_same_calls_and_no_other() -> None:
    public = {name for name in dir(Client) if not name.startswith("_")}
    assert public == {name for name in dir(AsyncClient) if not name.startswith("_")}
    assert (
        ROWS.keys()
        | {"result", "each_task", "each_act", "stream_sql"}
        | {
            "carry_out",
            "close",
            "send",
            "stream",
        }
        == public
    )


def parameters(name: str) -> set[str]:
    """Return the names of what a call takes; those of a TypedDict stand for ``**options``."""
    said = getattr(Calls, name).said
    hints = get_type_hints(said)
    found: set[str] = set()
    for one in inspect.signature(said).parameters.values():
        if one.kind is inspect.Parameter.VAR_KEYWORD:
            (typed,) = get_args(hints[one.name])
            assert is_typeddict(typed)
            found |= typed.__annotations__.keys()
        else:
            found.add(one.name)
    return found


def taken(one: Endpoint) -> set[str]:
    """Return the names of what a row of the API takes, in the path, the query or the body."""
    found = set(re.findall(r"\{(\w+)", one.path)) | set(one.query.model_fields)
    if one.body is not None:
        found |= one.body.json_schema()["properties"].keys()
    if "options" in found:
        found = found - {"options"} | calls.CallOptions.__annotations__.keys()
    return found - APART.get(one.name, set())


@pytest.mark.parametrize(
    "one", [one for one in ENDPOINTS if one.name != "events"], ids=lambda one: one.name
)
def test_a_call_takes_what_the_api_takes(one: Endpoint) -> None:
    # A key makes no sense for what is not done.
    assert taken(one) - ({"key"} if one.name == "preview_act" else set()) == parameters(one.name)


def test_the_options_have_the_names_of_the_api() -> None:
    pairs: list[tuple[Any, set[str]]] = [
        (inputs.CallOptions, set(calls.CallOptions.__annotations__)),
        (inputs.Arguments, set(calls.Arguments.__annotations__)),
        (inputs.Step, set(flows.Step.__annotations__)),
        (inputs.Plan, set(get_type_hints(schedules.Plan))),
        (inputs.Selection, set(Selected.model_fields)),
        (inputs.EventFilter, set(EventsQuery.model_fields) - {"after"}),
        (inputs.AlertOptions, set(Alert.model_fields)),
        (inputs.LimitChange, set(LimitChange.model_fields) - {"category"}),
    ]
    for ours, theirs in pairs:
        assert theirs == set(get_type_hints(ours)), ours
    assert {"category", "task", "key"} == set(LimitPlace.model_fields)


def shape(schema: dict[str, Any], whole: dict[str, Any]) -> Any:
    """Return what a schema says of names, types and of what may be missing."""
    if "$ref" in schema:
        return shape(whole["$defs"][schema["$ref"].rpartition("/")[2]], whole)
    if "anyOf" in schema:
        rest = [one for one in schema["anyOf"] if one != {"type": "null"}]
        null = len(rest) < len(schema["anyOf"])
        return (null, shape(rest[0], whole)) if len(rest) == 1 else (null, "several")
    if "properties" in schema:
        return {name: shape(one, whole) for name, one in schema["properties"].items()}
    if schema.get("type") == "array":
        return [shape(schema.get("items", {}), whole)]
    return schema.get("type", "anything")


ANSWERED = [one for one in ENDPOINTS if one.answer is not None and one.name != "events"]


@pytest.mark.parametrize("one", ANSWERED, ids=lambda one: one.name)
def test_an_answer_has_the_shape_of_the_apis(one: Endpoint) -> None:
    row = ROWS[one.name]
    assert one.answer is not None
    theirs = one.answer.json_schema(mode="serialization")
    ours = TypeAdapter(row.answer).json_schema(mode="serialization")
    told = shape(theirs, theirs)
    if row.key is not None:
        assert {row.key} == set(told)
        told = told[row.key]
    assert told == shape(ours, ours)
