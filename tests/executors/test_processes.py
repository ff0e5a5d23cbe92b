"""Functions in worker processes: what goes in, what comes out, and what they tell meanwhile."""

from __future__ import annotations

import asyncio
import json
import logging
import multiprocessing
import os
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from support import process_tasks as tasks
from support.calls import Reports, call
from support.processes import executors_of
from support.queues import PATIENCE
from wopr import InvalidCallError, PayloadError, ProcessDiedError, SoftTimeoutError
from wopr.domain.guarded import full_name
from wopr.domain.masking import mask
from wopr.executors import told
from wopr.executors.call import RaisedError
from wopr.executors.choice import Executors
from wopr.running.failure import failure_of

SOFT = 0.2


@pytest.fixture
async def executors() -> AsyncIterator[Executors]:
    async with executors_of(processes=1) as made:
        yield made


async def run(executors: Executors, function: Callable[..., Any], *args: Any, **more: Any) -> Any:
    one = call(function, *args, **more)
    async with asyncio.timeout(PATIENCE):
        return await executors.of("process", one.is_async).run(one)


async def test_functions_run_elsewhere_and_their_end_is_their_outcome(
    executors: Executors,
) -> None:
    assert 6 == await run(executors, tasks.double, 3)
    assert 6 == await run(executors, tasks.async_double, 3)
    assert 6 == await run(executors, tasks.doubled.function, 3)
    assert ("traced", 3) == await run(executors, tasks.layers.__wrapped__.function, 3)
    assert 4 == await run(executors, tasks.Shelf.put, 3)
    assert os.getpid() != await run(executors, tasks.pid)
    assert await run(executors, tasks.pid) == await run(executors, tasks.pid)
    assert ("17", "work", "default", 2) == await run(executors, tasks.who)
    with pytest.raises(SystemExit):
        await run(executors, tasks.leave)
    assert 8 == await run(executors, tasks.double, 4)


async def test_an_error_comes_back_as_itself_with_the_traceback_of_there(
    executors: Executors,
) -> None:
    with pytest.raises(tasks.LoudError) as caught:
        await run(executors, tasks.fail, 5)
    assert 5 == caught.value.number
    assert caught.value.__cause__ is None
    there = str(caught.value.__context__)
    assert 'process_tasks.py", line' in there
    assert "in fail" in there
    assert "wopr/executors" not in there


@pytest.mark.parametrize(
    ("function", "kind", "said"),
    [
        (tasks.fail_awkwardly, tasks.AwkwardError, "this and that"),
        (tasks.fail_with_a_lock, ValueError, "holds a lock"),
        (tasks.fail_with_a_keyword, tasks.KeywordError, "404 for /a"),
        (tasks.fail_with_no_text, tasks.SilentError, "can't be read"),
        (tasks.stop_iterating, RaisedError, "StopIteration"),
    ],
    ids=["can't be unpickled", "can't be pickled", "a keyword", "no text", "an iterator's end"],
)
async def test_an_error_that_pickle_can_not_rebuild_is_of_its_own_type(
    executors: Executors, function: Callable[..., Any], kind: type[BaseException], said: str
) -> None:
    with pytest.raises(kind) as caught:
        await run(executors, function)
    assert kind is type(caught.value)
    found = failure_of(caught.value)
    assert said in found.text
    assert f"in {function.__name__}" in found.traceback


async def test_causes_members_and_attributes_of_an_error_come_along(executors: Executors) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await run(executors, tasks.fail_in_many_ways)
    first, second = caught.value.exceptions
    assert (FileNotFoundError, 2, "no such file", "/a") == (
        type(first.__cause__),
        *(getattr(first.__cause__, name) for name in ("errno", "strerror", "filename")),
    )
    assert isinstance(second, tasks.LoudError)
    assert (7, ["a note"]) == (second.number, second.__notes__)
    assert (
        "LoudError: <n>; ValueError: bad from FileNotFoundError: [Errno <n>] no such file: '/a'"
        == failure_of(caught.value).roots
    )


async def test_an_error_with_more_than_a_message_holds_is_of_its_own_type(
    executors: Executors,
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await run(executors, tasks.fail_with_much, 90, 40_000)
    assert 90 == len(caught.value.exceptions)
    assert {LookupError} == {type(member) for member in caught.value.exceptions}


def test_all_that_an_error_may_have_fits_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    values = ["\x01" * told.LONGEST_VALUE] * told.MOST_VALUES
    members = [ValueError("\x01" * told.LONGEST_TEXT, *values) for _ in range(told.MOST_ERRORS)]
    monkeypatch.setattr(told, "SHORTER", told.SHORTER[-1:])
    assert len(json.dumps(told.tell(ExceptionGroup("many", members)))) <= told.LONGEST


async def test_an_error_of_a_process_is_not_cut_within_a_secret(executors: Executors) -> None:
    with pytest.raises(ValueError, match=r"\.") as caught:
        await run(executors, tasks.fail_with_a_secret, 32_000, 32_000)
    text = mask(failure_of(caught.value).text)
    assert "password=***" in text
    assert "s3cr3t" not in text


async def test_an_error_of_a_class_that_nobody_else_has_keeps_its_name_and_its_base(
    executors: Executors,
) -> None:
    with pytest.raises(LookupError, match="only here") as caught:
        await run(executors, tasks.fail_with_a_local_error)
    assert "support.process_tasks.fail_with_a_local_error.<locals>.LocalError" == full_name(
        type(caught.value)
    )


async def test_what_a_worker_process_writes_itself_is_not_unpickled(
    executors: Executors, tmp_path: Path
) -> None:
    with pytest.raises(ProcessDiedError):
        await run(executors, tasks.send_a_pickle, str(tmp_path / "made"))
    assert not (tmp_path / "made").exists()
    assert 6 == await run(executors, tasks.double, 3)


async def test_what_can_not_be_pickled_is_refused_by_name_and_the_process_goes_on(
    executors: Executors,
) -> None:
    before = await run(executors, tasks.pid)
    sent = "The arguments of task 'work' can't be sent to a worker process"
    got = "The result of task 'work'"
    with pytest.raises(PayloadError, match=f"{sent}: it can't be pickled"):
        await run(executors, tasks.take, threading.Lock())
    with pytest.raises(PayloadError, match=f"{sent}: it can't be unpickled .ValueError"):
        await run(executors, tasks.take, tasks.Unreadable())
    with pytest.raises(PayloadError, match=f"{got} .lock. can't be stored as JSON"):
        await run(executors, tasks.unpicklable)
    with pytest.raises(PayloadError, match=f"{got} .Unreadable. can't be stored"):
        await run(executors, tasks.give_unreadable)
    with pytest.raises(PayloadError, match="Task 'work' returned a coroutine"):
        await run(executors, tasks.a_coroutine)
    assert before == await run(executors, tasks.pid)


async def test_a_function_that_others_can_not_find_starts_no_process(executors: Executors) -> None:
    with pytest.raises(InvalidCallError, match="is a lambda"):
        await run(executors, lambda: None)
    assert [] == multiprocessing.active_children()


# -- what they tell ------------------------------------------------------------------


async def test_progress_arrives_before_the_result(executors: Executors) -> None:
    reports = Reports()
    await run(executors, tasks.report, report=reports)
    assert [(25, "a quarter"), (100, "all")] == reports.seen


async def test_a_task_that_has_ended_has_nothing_more_to_report(executors: Executors) -> None:
    first, second = Reports(), Reports()
    await run(executors, tasks.report_for_the_one_before, report=first)
    await run(executors, tasks.report_for_the_one_before, report=second)
    assert [] == first.seen + second.seen


async def test_log_records_arrive_with_the_task_they_belong_to(
    executors: Executors, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await run(executors, tasks.log_lines)
    app, own, error = [record for record in caplog.records if record.name != "wopr.worker"]
    assert ("app.work", logging.INFO, "made 1 of 2") == (app.name, app.levelno, app.message)
    assert ("wopr.task", logging.WARNING, "careful") == (own.name, own.levelno, own.message)
    assert ("went wrong", logging.ERROR) == (error.message, error.levelno)
    assert error.exc_text is not None
    assert "LoudError: 5" in error.exc_text
    for record in (app, own, error):
        assert {"task_id": "17", "task_name": "work", "attempt": 2}.items() <= vars(record).items()
        assert record.process != os.getpid()
    assert 7 == vars(app)["order"]
    with caplog.at_level(logging.ERROR):
        await run(executors, tasks.log_lines)
    assert "went wrong" == caplog.records[-1].message
    assert 4 == len([record for record in caplog.records if record.name != "wopr.worker"])


async def test_a_long_record_loses_its_secrets_before_it_is_cut(
    executors: Executors, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await run(executors, tasks.log_a_long_secret)
    (record,) = [one for one in caplog.records if one.name == "app.work"]
    assert len(record.message) < 70_000
    assert "hunter" not in record.message


async def test_more_than_a_pipe_holds_arrives_whole_and_in_order(
    executors: Executors, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        await run(executors, tasks.log_a_lot, 500, 1_000)
    lines = [record.message for record in caplog.records if record.name == "app.flood"]
    assert [f"{number} {'x' * 1_000}" for number in range(500)] == lines


# -- soft timeout --------------------------------------------------------------------


@pytest.mark.parametrize("function", [tasks.wait_hard, tasks.begin_and_wait_async])
async def test_a_soft_timeout_that_is_let_out_fails_the_task_only(
    executors: Executors, function: Callable[..., Any]
) -> None:
    before = await run(executors, tasks.pid)
    with pytest.raises(SoftTimeoutError, match=r"attempt 2 of task 'work'.*0\.2 s") as caught:
        await run(executors, function, soft_timeout=SOFT)
    assert type(caught.value) is SoftTimeoutError
    assert f"in {function.__name__}" in str(caught.value.__context__)
    assert before == await run(executors, tasks.pid)


async def test_a_soft_timeout_can_be_caught(executors: Executors) -> None:
    said = await run(executors, tasks.wait_softly, soft_timeout=SOFT)
    assert "attempt 2 of task 'work' ran longer" in said
    assert "SoftTimeoutError" == await run(executors, tasks.wait_softly_async, soft_timeout=SOFT)


async def test_a_function_that_is_in_time_hears_nothing_then_or_later(
    executors: Executors,
) -> None:
    assert 6 == await run(executors, tasks.double, 3, soft_timeout=SOFT)
    assert await run(executors, tasks.spin, 4 * SOFT)  # would be hit


async def test_a_soft_timeout_tears_no_message_apart_and_gets_through_logging(
    executors: Executors, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("app.flood"), "disabled", True)  # here, not there
    before = await run(executors, tasks.pid)
    for _ in range(15):
        with pytest.raises(SoftTimeoutError):
            await run(executors, tasks.log_for_ever, soft_timeout=SOFT / 4)
    assert before == await run(executors, tasks.pid)
