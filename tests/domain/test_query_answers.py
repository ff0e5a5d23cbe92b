"""The answer to a query is a sequence of its rows."""

from __future__ import annotations

from wopr.ports.answers import QueryResult
from wopr.ports.storage import QueryRows


def test_a_slice_of_an_answer_is_a_list_of_its_rows() -> None:
    answer = QueryResult(QueryRows(("a", "b"), [(1, 2), (3, 4), (5, 6)]))
    assert [{"a": 1, "b": 2}, {"a": 3, "b": 4}] == answer[:2]
    assert [] == answer[3:]
    assert {"a": 5, "b": 6} == answer[-1]
