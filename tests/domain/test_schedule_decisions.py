"""What is to be done about a schedule at a moment: pure decisions."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from wopr.domain.errors import InvalidCallError
from wopr.domain.misfire import Misfire, Overlap
from wopr.domain.missed import LISTED, MOST_COUNTED
from wopr.domain.schedule import (
    COLUMNS,
    Schedule,
    Unreadable,
    catch_up,
    decide,
    preview,
    redefined,
    same_plan,
    settle,
)
from wopr.domain.standing import Circumstances, check_dependencies, standing
from wopr.domain.triggers import At, Cron, Interval, Once

NOON = datetime(2030, 5, 17, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def hourly(**options: Any) -> Schedule:
    schedule = Schedule(
        name="s",
        task="t",
        category="c",
        priority=2,
        max_retries=0,
        args=options.pop("args", "[]"),
        kwargs="{}",
        trigger=options.pop("trigger", Interval(HOUR)),
        created_at=NOON,
        updated_at=NOON,
        **options,
    )
    schedule.plan(NOON)
    return schedule


def test_a_new_interval_fires_one_interval_after_it_was_added() -> None:
    assert NOON + HOUR == hourly().next_fire_at


def test_a_new_schedule_never_fires_for_times_before_it_was_added() -> None:
    assert datetime(2030, 5, 18, 11, tzinfo=UTC) == hourly(trigger=Cron("0 11 * * *")).next_fire_at
    assert datetime(2030, 5, 18, 12, tzinfo=UTC) == hourly(trigger=Cron("0 12 * * *")).next_fire_at


def test_an_interval_begins_at_its_start() -> None:
    start = NOON + timedelta(days=1)
    assert start == hourly(start_at=start).next_fire_at
    begun = NOON - timedelta(minutes=90)
    assert NOON + timedelta(minutes=30) == hourly(start_at=begun).next_fire_at


def test_a_once_in_the_past_counts_as_missed() -> None:
    for misfire, fired in ((Misfire.RUN_ONCE, 1), (Misfire.SKIP, 0)):
        past = hourly(trigger=Once(NOON - HOUR), misfire=misfire)
        decision = decide(past, NOON)
        assert fired == len(decision.fire)
        assert decision.next_fire_at is None
        assert (1 - fired, fired) == (decision.missed.number, 1 - len(decision.missed.times))


def test_an_end_is_the_last_moment_that_counts() -> None:
    schedule = hourly(end_at=NOON + HOUR)
    decision = decide(schedule, NOON + HOUR)
    assert (NOON + HOUR,) == decision.fire
    assert decision.next_fire_at is None
    assert hourly(end_at=NOON + HOUR - timedelta(microseconds=1)).next_fire_at is None


def test_nothing_is_due_before_its_time() -> None:
    decision = decide(hourly(), NOON + HOUR - timedelta(microseconds=1))
    assert () == decision.fire
    assert NOON + HOUR == decision.next_fire_at


def test_the_next_time_follows_the_plan_however_late_it_fires() -> None:
    decision = decide(hourly(), NOON + HOUR + timedelta(minutes=20))
    assert (NOON + HOUR,) == decision.fire
    assert NOON + 2 * HOUR == decision.next_fire_at


@pytest.mark.parametrize(
    ("misfire", "fired"),
    [
        (Misfire.SKIP, []),
        (Misfire.RUN_ONCE, [5]),
        (Misfire.RUN_ALL, [1, 2, 3, 4, 5]),
    ],
)
def test_what_was_missed_is_decided_by_the_policy(misfire: Misfire, fired: list[int]) -> None:
    schedule = hourly(misfire=misfire, overlap=Overlap.ALLOW)
    decision = decide(schedule, NOON + 5.5 * HOUR)
    assert [NOON + number * HOUR for number in fired] == list(decision.fire)
    assert NOON + 6 * HOUR == decision.next_fire_at
    left_out = [NOON + number * HOUR for number in range(1, 6) if number not in fired]
    assert (len(left_out), tuple(left_out)) == decision.missed


def test_run_all_has_a_limit() -> None:
    schedule = hourly(misfire=Misfire.RUN_ALL, misfire_limit=2, overlap=Overlap.ALLOW)
    decision = decide(schedule, NOON + 5.5 * HOUR)
    assert (NOON + 4 * HOUR, NOON + 5 * HOUR) == decision.fire
    assert (NOON + HOUR, NOON + 2 * HOUR, NOON + 3 * HOUR) == decision.missed.times


@pytest.mark.parametrize("late", [0, 60])
def test_within_the_grace_time_nothing_is_missed(late: int) -> None:
    schedule = hourly(misfire=Misfire.SKIP)
    on_time = decide(schedule, NOON + HOUR + timedelta(seconds=late))
    assert (NOON + HOUR,) == on_time.fire
    too_late = decide(schedule, NOON + HOUR + timedelta(seconds=60.000001))
    assert () == too_late.fire
    assert (1, (NOON + HOUR,)) == too_late.missed


@pytest.mark.parametrize(
    ("overlap", "live", "fired", "after", "cancelled"),
    [
        (Overlap.SKIP, ["a", "b"], 1, (), ()),
        (Overlap.SKIP, ["a", "b", "c"], 0, (), ()),
        (Overlap.SKIP, ["a", "b", "c", "d"], 0, (), ()),  # one was run by hand
        (Overlap.QUEUE_ONE, ["a", "b"], 1, (), ()),
        (Overlap.QUEUE_ONE, ["a", "b", "c"], 1, ("a",), ()),
        (Overlap.QUEUE_ONE, ["a", "b", "c", "d"], 0, (), ()),
        (Overlap.CANCEL_RUNNING, ["a", "b"], 1, (), ()),
        (Overlap.CANCEL_RUNNING, ["a", "b", "c"], 1, (), ("a",)),
        (Overlap.CANCEL_RUNNING, ["a", "b", "c", "d"], 1, (), ("a", "b")),
    ],
)
def test_so_many_runs_go_on_at_once(
    overlap: Overlap,
    live: list[str],
    fired: int,
    after: tuple[str, ...],
    cancelled: tuple[str, ...],
) -> None:
    decision = decide(hourly(overlap=overlap, max_running=3), NOON + HOUR, live)
    assert (fired, after, cancelled) == (len(decision.fire), decision.after, decision.cancel)
    assert 1 - fired == decision.skipped


def test_of_what_is_made_up_for_only_so_many_runs_begin_as_may() -> None:
    late = NOON + 5.5 * HOUR
    plan: dict[str, Any] = {"misfire": Misfire.RUN_ALL, "max_running": 3}
    skip = decide(hourly(overlap=Overlap.SKIP, **plan), late, ["a"])
    assert ((NOON + HOUR, NOON + 2 * HOUR), 3) == (skip.fire, skip.skipped)
    cancel = decide(hourly(overlap=Overlap.CANCEL_RUNNING, **plan), late, ["a"])
    assert (tuple(NOON + n * HOUR for n in (3, 4, 5)), 2) == (cancel.fire, cancel.skipped)
    assert ("a",) == cancel.cancel


def test_why_a_schedule_does_not_fire_tells_how_many_runs_there_are() -> None:
    for overlap, most in ((Overlap.SKIP, 2), (Overlap.QUEUE_ONE, 3)):
        row = hourly(overlap=overlap, max_running=2)
        live = ["a", "b", "c"][:most]
        full = standing(row, Circumstances(NOON, running=True, registered=True, live=live))
        assert "overlap" == full.reason
        assert f"{most} runs have not ended, of which a is the oldest" in full.text
        assert "max_running=2" in full.text
        room = standing(row, Circumstances(NOON, running=True, registered=True, live=live[1:]))
        assert "planned" == room.reason


def test_all_missed_times_of_an_interval_are_counted_and_the_newest_are_listed() -> None:
    years = 3 * 365 * 24 * 3_600
    every_second = hourly(trigger=Interval(timedelta(seconds=1)), misfire=Misfire.RUN_ONCE)
    found = decide(every_second, NOON + timedelta(seconds=years + 0.5)).missed
    assert years - 60 == found.number  # those of the last minute are on time
    assert LISTED == len(found.times)
    assert NOON + timedelta(seconds=years - 60) == found.times[-1]


def test_of_others_as_many_are_counted_as_one_look_may_ask_for() -> None:
    minutely = hourly(trigger=Cron("* * * * *"), misfire=Misfire.SKIP, misfire_grace=0)
    day = decide(minutely, NOON + timedelta(days=1, seconds=30)).missed
    assert 24 * 60 == day.number
    year = decide(minutely, NOON + timedelta(days=365, seconds=30)).missed
    assert MOST_COUNTED == year.number
    assert NOON.replace(microsecond=0) + timedelta(days=365) == year.times[-1]


def test_a_row_remembers_the_newest_missed_times() -> None:
    row = hourly(misfire=Misfire.SKIP)
    for day in range(1, 8):
        settle(row, decide(row, NOON + timedelta(days=day, minutes=30)), None)
    assert (7 * 24, LISTED) == (row.missed, len(row.missed_times))
    assert NOON + timedelta(days=7) == row.missed_times[-1]
    assert sorted(row.missed_times) == list(row.missed_times)
    assert row == Schedule.from_row(row.row())


def test_overlap_allow_fires_beside_a_running_one() -> None:
    decision = decide(hourly(overlap=Overlap.ALLOW), NOON + HOUR, ["a", "b"])
    assert 1 == len(decision.fire)
    assert () == decision.after == decision.cancel


def test_overlap_skip_leaves_it_out_and_counts_it() -> None:
    schedule = hourly()
    decision = decide(schedule, NOON + HOUR, ["a"])
    assert () == decision.fire
    settle(schedule, decision, None)
    assert 1 == schedule.skipped
    assert NOON + 2 * HOUR == schedule.next_fire_at


def test_overlap_skip_fires_the_first_of_several_that_are_due_together() -> None:
    every_second = hourly(trigger=Interval(timedelta(seconds=1)))
    decision = decide(every_second, NOON + timedelta(seconds=5))
    assert (NOON + timedelta(seconds=1),) == decision.fire
    assert 4 == decision.skipped


def test_overlap_queue_one_waits_behind_the_live_one_and_leaves_out_a_third() -> None:
    schedule = hourly(overlap=Overlap.QUEUE_ONE)
    assert ("a",) == decide(schedule, NOON + HOUR, ["a"]).after
    third = decide(schedule, NOON + HOUR, ["a", "b"])
    assert () == third.fire
    assert 1 == third.skipped


def test_overlap_queue_one_decides_about_one_at_a_time() -> None:
    schedule = hourly(trigger=Interval(timedelta(seconds=1)), overlap=Overlap.QUEUE_ONE)
    now = NOON + timedelta(seconds=3)
    first = decide(schedule, now)
    assert (NOON + timedelta(seconds=1),) == first.fire
    assert NOON + timedelta(seconds=2) == first.next_fire_at
    settle(schedule, first, "a")
    second = decide(schedule, now, ["a"])
    assert (NOON + timedelta(seconds=2),) == second.fire
    assert ("a",) == second.after


def test_overlap_cancel_running_cancels_all_and_fires_the_newest() -> None:
    schedule = hourly(trigger=Interval(timedelta(seconds=1)), overlap=Overlap.CANCEL_RUNNING)
    decision = decide(schedule, NOON + timedelta(seconds=3), ["a", "b"])
    assert ("a", "b") == decision.cancel
    assert (NOON + timedelta(seconds=3),) == decision.fire
    assert 2 == decision.skipped


def test_the_start_of_the_scheduler_is_an_occurrence_of_its_own() -> None:
    schedule = hourly(run_on_start=True)
    decision = decide(schedule, NOON + timedelta(minutes=1), start=NOON)
    assert (NOON,) == decision.fire
    assert NOON + HOUR == decision.next_fire_at


def test_the_start_is_no_occurrence_outside_of_start_and_end() -> None:
    schedule = hourly(run_on_start=True, start_at=NOON + HOUR)
    assert () == decide(schedule, NOON, start=NOON).fire
    ended = hourly(run_on_start=True, end_at=NOON - HOUR)
    assert () == decide(ended, NOON, start=NOON).fire


def test_a_resumed_schedule_goes_on_with_the_next_time_after_now() -> None:
    schedule = hourly()
    schedule.pause(NOON, "why not")
    schedule.resume(NOON + 5.5 * HOUR)
    assert NOON + 6 * HOUR == schedule.next_fire_at
    assert schedule.paused_at is schedule.paused_reason is None


def test_a_clock_that_was_put_back_fires_nothing_twice() -> None:
    schedule = hourly(trigger=Cron("0 * * * *"))
    settle(schedule, decide(schedule, NOON + HOUR), "a")
    schedule.pause(NOON, "")
    schedule.resume(NOON + timedelta(minutes=30))  # an hour before it fired last
    assert () == decide(schedule, NOON + HOUR).fire


@pytest.mark.parametrize("lag", [1, 3])
def test_a_row_that_lags_is_brought_up_to_its_tasks(lag: int) -> None:
    schedule = hourly()
    assert catch_up(schedule, NOON + lag * HOUR, "a")
    assert NOON + (lag + 1) * HOUR == schedule.next_fire_at
    assert (NOON + lag * HOUR, "a") == (schedule.last_fire_at, schedule.last_task_id)
    assert not catch_up(schedule, NOON + lag * HOUR, "a")
    assert not catch_up(schedule, None, None)


def test_a_row_that_is_ahead_of_its_tasks_stays() -> None:
    schedule = hourly()
    schedule.last_fire_at, schedule.next_fire_at = NOON + 3 * HOUR, NOON + 4 * HOUR
    assert not catch_up(schedule, NOON + 2 * HOUR, "older")
    assert NOON + 4 * HOUR == schedule.next_fire_at


def test_a_changed_plan_keeps_where_it_stands_and_is_planned_anew_only_if_it_fires_otherwise() -> (
    None
):
    old = hourly(last_fire_at=NOON, skipped=3, origin="code")
    later = NOON + timedelta(minutes=10)
    other = redefined(old, hourly(args="[1]"), later)
    assert ("[1]", NOON + HOUR, 3, later) == (
        other.args,
        other.next_fire_at,
        other.skipped,
        other.updated_at,
    )
    replanned = redefined(old, hourly(trigger=At(NOON.time())), later)
    assert NOON + timedelta(days=1) == replanned.next_fire_at
    assert 3 == replanned.skipped


def test_an_interval_declared_again_is_the_same_plan() -> None:
    old = hourly()
    assert isinstance(old.trigger, Interval)
    assert old.trigger.anchor == NOON
    again = replace(old, trigger=Interval(HOUR))
    assert same_plan(old, again)
    assert not same_plan(old, replace(old, trigger=Interval(2 * HOUR)))
    assert not same_plan(old, replace(old, start_at=NOON))
    assert old.trigger == redefined(old, again, NOON + HOUR).trigger


@pytest.mark.parametrize(
    "trigger",
    [
        Interval(timedelta(microseconds=1), NOON),
        At(NOON.time(), "Asia/Tokyo"),
        Cron("*/5 * * * *", "Europe/Berlin"),
        Once(NOON),
    ],
)
def test_a_schedule_survives_its_row(trigger: Any) -> None:
    schedule = hourly(
        trigger=trigger,
        depends_on=("a", "b"),
        misfire=Misfire.SKIP,
        overlap=Overlap.QUEUE_ONE,
        start_at=NOON,
        end_at=NOON + HOUR,
        run_as="robot",
    )
    row = schedule.row()
    assert len(COLUMNS) == len(row)
    assert schedule == Schedule.from_row(row)


def test_a_trigger_of_a_newer_version_never_fires_and_is_kept() -> None:
    row = list(hourly().row())
    row[COLUMNS.index("trigger")] = '{"type": "moon", "phase": "full"}'
    schedule = Schedule.from_row(row)
    assert isinstance(schedule.trigger, Unreadable)
    assert "newer" in schedule.trigger.describe()
    assert {"type": "moon", "phase": "full"} == json.loads(
        str(schedule.row()[COLUMNS.index("trigger")])
    )
    assert schedule.trigger.next_after(NOON) is None


def test_a_preview_is_the_plan_after_a_moment() -> None:
    schedule = hourly(end_at=NOON + 2 * HOUR)
    assert [NOON + HOUR, NOON + 2 * HOUR] == preview(schedule, 5, NOON)
    assert [NOON + HOUR] == preview(schedule, 1, NOON)
    assert [] == preview(schedule, 0, NOON)


def test_schedules_that_would_wait_for_ever_are_refused() -> None:
    check_dependencies({"a": (), "b": ("a",), "c": ("a", "b")})
    with pytest.raises(InvalidCallError, match=r"'b' depends on 'aa'.*Did you mean 'a'"):
        check_dependencies({"a": (), "b": ("aa",)})
    with pytest.raises(InvalidCallError, match=r"wait for each other for ever: '.' -> '.'"):
        check_dependencies({"a": ("b",), "b": ("a",)})
    with pytest.raises(InvalidCallError, match="wait for each other"):
        check_dependencies({"a": ("a",)})
