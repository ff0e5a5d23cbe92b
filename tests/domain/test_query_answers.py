"""The answer to a query is a sequence of its rows."""

from __future__ import annotations

import pytest

from wopr.domain.errors import QueryError
from wopr.ports.answers import QueryResult
from wopr.ports.cut import Cut
from wopr.ports.storage import QueryRows


def test_a_slice_of_an_answer_is_a_list_of_its_rows() -> None:
    answer = QueryResult(QueryRows(("a", "b"), [(1, 2), (3, 4), (5, 6)]))
    assert [{"a": 1, "b": 2}, {"a": 3, "b": 4}] == answer[:2]
    assert [] == answer[3:]
    assert {"a": 5, "b": 6} == answer[-1]


@pytest.mark.parametrize("frame", ["df", "pl", "arrow"])
def test_an_answer_that_was_cut_becomes_no_data_frame_and_says_how_to_get_all_of_it(
    frame: str,
) -> None:
    cut = QueryResult(QueryRows(("a",), [(1,), (2,)], Cut.ROWS))
    with pytest.raises(QueryError) as failure:
        getattr(cut, frame)()
    for said in (
        "ends after 2 rows",
        "WOPR_TASKS_QUERY_ROWS",
        "limit=N for",
        "limit=None",
        "count",
    ):
        assert said in str(failure.value)
    assert ([(1,), (2,)], True) == (cut.rows, cut.truncated)


def test_an_answer_that_was_cut_at_its_bytes_does_not_advise_more_rows() -> None:
    cut = QueryResult(QueryRows(("a",), [(1,)], Cut.BYTES))
    with pytest.raises(QueryError, match="32 MB") as failure:
        cut.arrow()
    assert "more rows," not in str(failure.value)
    assert "limit=None" in str(failure.value)


@pytest.mark.parametrize("frame", ["df", "pl", "arrow"])
def test_a_whole_answer_becomes_a_data_frame(frame: str) -> None:
    whole = QueryResult(QueryRows(("a",), [(1,), (2,)]))
    assert 2 == len(getattr(whole, frame)())
