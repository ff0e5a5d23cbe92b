"""The document of the API is whole, and the page of the reference says the same."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx

from support import resttable
from wopr.web.api.routes import ENDPOINTS


def test_the_table_of_the_page_is_the_one_made_from_the_code() -> None:
    page = resttable.PAGE.read_text(encoding="utf-8").partition(resttable.BEGIN)[2]
    assert resttable.table() == page.lstrip("\n"), "python tests/support/resttable.py"


async def test_the_document_tells_of_every_route_and_refers_to_what_there_is(
    client: httpx.AsyncClient,
) -> None:
    answer = await client.get("/openapi.json")
    document: Any = answer.json()
    told = {one["operationId"] for path in document["paths"].values() for one in path.values()}
    assert {one.name for one in ENDPOINTS} == told
    assert len(ENDPOINTS) == len(told)
    assert document["openapi"] == "3.1.0"
    for place in set(re.findall(r'"#/([^"]+)"', json.dumps(document))):
        found = document
        for part in place.split("/"):
            found = found[part]


async def test_what_goes_wrong_is_documented_for_each_route(client: httpx.AsyncClient) -> None:
    document: Any = (await client.get("/openapi.json")).json()
    problem = document["components"]["responses"]["Problem"]["content"]
    assert list(problem) == ["application/problem+json"]
    for path in document["paths"].values():
        for one in path.values():
            assert {"401", "403", "422", "429", "503"} <= one["responses"].keys()
