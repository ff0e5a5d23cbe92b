"""Pictures of the pages: the graph of a flow, rows of a calendar, slots."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from wopr.core.scheduleinfo import ScheduleInfo
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.status import TaskPriority, TaskStatus
from wopr.domain.triggers import Interval
from wopr.flows.members import Member
from wopr.ports.answers import WorkerInfo
from wopr.web.pages.buckets import series_of
from wopr.web.pages.calendar import AHEAD, CELLS, CellState, Runs, axis_of, cells_of
from wopr.web.pages.flowgraph import HEIGHT, MOST_BOXES, WIDTH, Graph, graph_of
from wopr.web.pages.slots import SlotState, slots_of
from wopr.web.pages.standing import standing_of

NOW = datetime(2026, 11, 30, 12, 0, 30, tzinfo=UTC)


def test_buckets_become_a_series_whatever_their_keys_are() -> None:
    assert [0, 3, 0, 7] == series_of({"1": 3, 9: 5, 3: 2}, 4)
    assert [0, 0] == series_of(None, 2)


# -- flows ----------------------------------------------------------------------


def member(
    name: str, *parents: str, status: TaskStatus = TaskStatus.PENDING, attempt: int = 0
) -> Member:
    waiting = status is TaskStatus.PENDING and bool(parents)
    return Member(name, name, status, attempt, waiting, None, parents, None, False, False)


def columns(graph: Graph) -> dict[str, int]:
    return {box.name: box.x // WIDTH for box in graph.boxes}


def test_each_task_is_right_of_those_that_it_depends_on() -> None:
    graph = graph_of([member("a"), member("b"), member("c", "a"), member("d", "b", "c")])
    assert {"a": 0, "b": 0, "c": 1, "d": 2} == columns(graph)
    assert len(graph.arrows) == 3
    assert (0, False) == (graph.left_out, graph.grouped)


def test_boxes_stand_apart_and_inside_of_the_picture() -> None:
    graph = graph_of([member("a"), *(member(f"b{n}", "a") for n in range(9))])
    places = [(box.x, box.y) for box in graph.boxes]
    assert len(set(places)) == 10
    assert all(0 <= x <= graph.width - WIDTH and 0 <= y <= graph.height - HEIGHT for x, y in places)


def test_arrows_that_would_cross_do_not() -> None:
    graph = graph_of([member("a"), member("b"), member("c", "b"), member("d", "a")])
    at = {box.name: box.y for box in graph.boxes}
    assert (at["a"] < at["b"]) == (at["d"] < at["c"])


def test_a_large_flow_has_one_box_for_tasks_that_are_alike() -> None:
    many = [
        Member(f"id{n}", "resize", TaskStatus.SUCCESS, 1, False, None, ("a",), None, False, False)
        for n in range(5_000)
    ]
    graph = graph_of([member("a"), *many])
    assert ["a", "resize"] == [box.name for box in graph.boxes]
    assert ("× 5,000", True) == (graph.boxes[1].below, graph.grouped)


def test_what_no_picture_has_room_for_is_counted() -> None:
    graph = graph_of([member(f"name{n}") for n in range(MOST_BOXES + 7)])
    assert (MOST_BOXES, 7) == (len(graph.boxes), graph.left_out)


def test_kinds_in_a_circle_are_drawn_too() -> None:
    chain = [
        Member(
            f"t{n}",
            "even" if n % 2 else "odd",
            TaskStatus.SUCCESS,
            1,
            False,
            None,
            (f"t{n - 1}",) if n else (),
            None,
            False,
            False,
        )
        for n in range(MOST_BOXES * 4)
    ]
    assert {"odd", "even"} == {box.name for box in graph_of(chain).boxes}


def test_a_flow_without_tasks_is_an_empty_picture() -> None:
    assert () == graph_of([]).boxes


def test_paths_are_numbers_only() -> None:
    [arrow] = graph_of([member("<script>"), member("b", "<script>")]).arrows
    assert re.fullmatch(r"[MC0-9 .-]+", arrow)


def test_each_task_of_a_flow_says_why_it_stands_where_it_stands() -> None:
    told = standing_of(
        [
            member("a", status=TaskStatus.SUCCESS, attempt=1),
            member("b", status=TaskStatus.STARTED, attempt=2),
            member("c", "a", "b"),
            member("d", "elsewhere"),
            member("e", status=TaskStatus.FAILED, attempt=3),
            member("f", "e", status=TaskStatus.CANCELLED),
            member("g"),
        ]
    )
    assert told == {
        "a": "succeeded",
        "b": "running, attempt 2",
        "c": "waits for 1 of 2: b",
        "d": "waits for 1 task outside of the flow",
        "e": "failed after 3 attempts",
        "f": "cancelled, because e failed",
        "g": "in the queue",
    }


# -- the calendar -----------------------------------------------------------------


def schedule(every: timedelta, **more: object) -> ScheduleInfo:
    given: dict[str, object] = {
        "name": "nightly",
        "task": "report",
        "category": "reports",
        "priority": TaskPriority.NORMAL,
        "max_retries": 0,
        "args": (),
        "kwargs": {},
        "trigger": Interval(every, NOW.replace(second=0)),
        "description": "",
        "misfire": Misfire.RUN_ONCE,
        "misfire_grace": 60.0,
        "misfire_limit": 100,
        "overlap": Overlap.SKIP,
        "jitter": 0.0,
        "depends_on": (),
        "tags": (),
        "origin": "call",
        "run_on_start": False,
        "missed": 0,
        "missed_times": (),
        "skipped": 0,
        "live": (),
        "reason": "planned",
        "text": "",
        **dict.fromkeys(
            ("start_at", "end_at", "run_as", "paused_at", "paused_reason", "next_fire_at"),
        ),
        **dict.fromkeys(
            ("last_fire_at", "last_task_id", "max_running", "created_at", "updated_at")
        ),
        **more,
    }
    return ScheduleInfo(**given)  # type: ignore[arg-type]


AXIS = axis_of(NOW, timedelta(hours=72))
PRESENT = CELLS - AHEAD - 1


def test_now_is_in_the_last_cell_before_what_comes() -> None:
    assert PRESENT == AXIS.number(NOW)
    assert AXIS.at(PRESENT) <= NOW < AXIS.at(PRESENT + 1)


def test_what_comes_is_planned_and_what_ran_says_how() -> None:
    found = {PRESENT - 2: Runs(3, 1, 0, "t1"), PRESENT - 1: Runs(2, 0, 1, "t2")}
    row = cells_of(schedule(timedelta(hours=6)), AXIS, found, NOW)
    assert (CellState.FAILED, "3 runs, 1 failed", "t1") == (
        row[PRESENT - 2].state,
        row[PRESENT - 2].text,
        row[PRESENT - 2].task_id,
    )
    assert (CellState.LIVE, "2 runs, 1 not ended") == (
        row[PRESENT - 1].state,
        row[PRESENT - 1].text,
    )
    ahead = [at for at, cell in enumerate(row) if cell.state is CellState.PLANNED]
    assert [PRESENT + 6, PRESENT + 12, PRESENT + 18, PRESENT + 24] == ahead


def test_one_that_fires_every_second_fills_its_cells_with_few_looks() -> None:
    row = cells_of(schedule(timedelta(seconds=1)), AXIS, {}, NOW)
    assert [CellState.PLANNED] * (AHEAD + 1) == [cell.state for cell in row[PRESENT:]]


def test_what_was_missed_and_what_a_pause_holds_is_seen() -> None:
    info = schedule(
        timedelta(hours=1), missed_times=(NOW - timedelta(hours=3),), missed=1, paused_at=NOW
    )
    row = cells_of(info, AXIS, {}, NOW)
    assert (CellState.MISSED, "1 missed") == (row[PRESENT - 3].state, row[PRESENT - 3].text)
    assert {CellState.HELD} == {cell.state for cell in row[PRESENT + 1 :]}


def test_nothing_is_planned_after_the_end_of_a_schedule() -> None:
    info = schedule(timedelta(hours=1), end_at=NOW + timedelta(hours=2))
    ahead = [cell for cell in cells_of(info, AXIS, {}, NOW) if cell.state is CellState.PLANNED]
    assert len(ahead) == 2


# -- slots --------------------------------------------------------------------------


def worker(name: str, task: str | None = None, seconds: float = 0.0) -> WorkerInfo:
    since = NOW - timedelta(seconds=seconds)
    return WorkerInfo(
        name=name,
        category="mail",
        task_id=task and f"id of {task}",
        task_name=task,
        attempt=task and 1,  # type: ignore[arg-type]
        since=since if task else None,
        heartbeat_at=NOW,
    )


@pytest.mark.parametrize(
    ("task", "seconds", "state"),
    [
        (None, 0, SlotState.FREE),
        ("quick", 2, SlotState.BUSY),
        ("quick", 31, SlotState.LONG),
        ("tiny", 0.9, SlotState.BUSY),
        ("new", 59, SlotState.BUSY),
        ("new", 61, SlotState.LONG),
    ],
)
def test_a_slot_is_free_busy_or_busy_for_long(
    task: str | None, seconds: float, state: SlotState
) -> None:
    found = slots_of([worker("mail-1", task, seconds)], {"quick": 10.0, "tiny": 0.01}, NOW)
    assert [state] == [slot.state for slot in found["mail"]]


def test_a_slot_says_what_it_runs_and_what_is_usual() -> None:
    [slot] = slots_of([worker("mail-1", "quick", 90)], {"quick": 10.0}, NOW)["mail"]
    assert slot.text == "mail-1: quick for 1 min 30 s (usually at most 10 s)"
