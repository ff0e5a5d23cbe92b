"""Mistakes that everybody makes once, and what the queue says to them."""

from __future__ import annotations

from pathlib import Path

import pytest

from wopr import InvalidCallError, TaskNotFoundError, TaskQueue

UNKNOWN = "01981e4a-0000-7000-8000-000000000000"


def test_registering_without_a_name_is_refused_where_it_is_written(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "none.duckdb")
    with pytest.raises(InvalidCallError, match="a task's name must be a str, not function"):

        @queue.register_task  # type: ignore[arg-type]  # the parentheses are missing
        def work() -> None: ...

    assert {} == queue.task_functions


def test_a_name_in_the_place_of_the_function_shows_the_keyword(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "none.duckdb")
    with pytest.raises(InvalidCallError, match=r"@queue\.task\(name=…\)"):
        queue.task("work")  # type: ignore[call-overload]


async def test_waiting_for_a_task_of_another_file_makes_no_file(tmp_path: Path) -> None:
    queue = TaskQueue(enabled=True, database=tmp_path / "none.duckdb")
    with pytest.raises(TaskNotFoundError, match=f"{UNKNOWN}.*none.duckdb"):
        await queue.wait(UNKNOWN, timeout=1)
    await queue.shutdown()
    assert [] == list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("given", "named", "said"),
    [
        (("tasks.duckdb",), {}, r"TaskQueue\(database="),
        ((Path("tasks.duckdb"),), {}, "enabled must be True, False or None"),
        ((True,), {"database": 3}, "database must be a path"),
    ],
    ids=repr,
)
def test_a_file_in_the_place_of_the_switch_is_refused(
    given: tuple[object, ...], named: dict[str, object], said: str
) -> None:
    with pytest.raises(InvalidCallError, match=said):
        TaskQueue(*given, **named)  # type: ignore[arg-type]
