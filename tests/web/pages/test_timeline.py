"""The life of a task, to scale."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from wopr.domain.status import TaskStatus
from wopr.ports.answers import HistoryEntry
from wopr.web.pages.timeline import MOST, timeline

START = datetime(2030, 5, 17, 12, tzinfo=UTC)


def history(*moves: tuple[float, str, str | None]) -> list[HistoryEntry]:
    found, before, attempt = [], None, 0
    for number, (second, to, error) in enumerate(moves):
        status = TaskStatus(to)
        attempt += status is TaskStatus.STARTED
        when = START + timedelta(seconds=second)
        found.append(
            HistoryEntry(number, "id", attempt, before, status, when, None, "x", error, None, None)
        )
        before = status
    return found


def drawn(moves: list[HistoryEntry], now: float) -> list[tuple[str, str, float, float]]:
    found = timeline(moves, START + timedelta(seconds=now))
    assert found is not None
    return [(one.label, one.kind, one.left, one.width) for one in found.bars]


def test_waiting_attempts_and_back_off_are_to_scale() -> None:
    moves = history(
        (0, "pending", None), (40, "started", None), (50, "retry", "E"), (80, "started", None),
        (100, "success", None))  # fmt: skip
    assert drawn(moves, 500) == [
        ("waiting", "pending", 0, 40),
        ("attempt 1", "failed", 40, 10),
        ("back-off", "retry", 50, 30),
        ("attempt 2", "success", 80, 20),
    ]


def test_what_runs_goes_on_until_now() -> None:
    assert drawn(history((0, "pending", None), (50, "started", None)), 200) == [
        ("waiting", "pending", 0, 25),
        ("attempt 1", "started", 25, 75),
    ]


def test_what_was_short_is_seen_and_stays_inside() -> None:
    moves = history((0, "pending", None), (1000, "started", None), (1000, "cancelled", None))
    bars = drawn(moves, 2000)
    assert bars[-1] == ("attempt 1", "cancelled", 99.6, 0.4)


def test_a_retry_by_hand_shows_the_time_between() -> None:
    moves = history((0, "pending", None), (10, "started", None), (20, "failed", "E"),
                    (60, "pending", None))  # fmt: skip
    assert [one[:2] for one in drawn(moves, 100)] == [
        ("waiting", "pending"), ("attempt 1", "failed"), ("failed", "dimmed"),
        ("waiting again", "pending")]  # fmt: skip


def test_a_change_that_moves_nothing_ends_no_bar() -> None:
    moves = history((0, "pending", None), (10, "pending", None), (20, "started", None))
    assert [one[0] for one in drawn(moves, 40)] == ["waiting", "attempt 1"]


def test_very_many_attempts_leave_out_the_middle() -> None:
    moves: list[tuple[float, str, str | None]] = [(0.0, "pending", None)]
    for at in range(500):
        moves += [(at * 2 + 1.0, "started", None), (at * 2 + 2.0, "retry", "E")]
    found = timeline(history(*moves), START + timedelta(seconds=2000))
    assert found is not None
    assert len(found.bars) == MOST
    assert found.left_out == 1001 - MOST
    assert timeline([], START) is None
