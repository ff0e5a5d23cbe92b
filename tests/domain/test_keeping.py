"""How long tasks that have ended are kept: the rules, and which tasks they mean at a moment."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path

import pytest

from wopr import InvalidSettingError, Settings, TaskStatus
from wopr.domain.keeping import Retention, check_rule

NOW = datetime.fromisoformat("2030-05-17T12:34:56")


@pytest.mark.parametrize(
    "text", ["30d", "1 h", "90min", "52w", "30d delete", "12h archive", "forever"]
)
def test_a_rule_is_how_long_and_perhaps_what_is_done_then(text: str) -> None:
    assert text == check_rule(text)


@pytest.mark.parametrize(
    "text", ["", "30", "d", "-1d", "1.5d", "30d burn", "30d  delete", "999999w", "30d\n", "٣d"]
)
def test_what_is_no_rule_is_refused_with_how_one_is_written(text: str) -> None:
    with pytest.raises(ValueError, match="30d, 12h delete or 52w archive; or forever"):
        check_rule(text)


@pytest.mark.parametrize(
    ("age", "before"),
    [
        (timedelta(days=30), "2030-04-17T00:00:00"),
        (timedelta(days=1), "2030-05-16T00:00:00"),
        (timedelta(hours=2), "2030-05-17T10:00:00"),
        (timedelta(minutes=35), "2030-05-17T11:00:00"),
        (timedelta(days=100_000), "1970-01-01T00:00:00"),
    ],
)
def test_tasks_leave_by_whole_days_or_by_whole_hours(age: timedelta, before: str) -> None:
    rule = Retention(status=TaskStatus.SUCCESS, age=age, archived=False)
    assert datetime.fromisoformat(before) == rule.old(NOW).before


def test_a_wrong_rule_says_whose_it_is() -> None:
    with pytest.raises(
        InvalidSettingError, match=r"keep_categories\.mail\.failed: how long .*'1y'"
    ):
        Settings(keep_categories={"mail": {"failed": "1y"}})  # type: ignore[dict-item]
    with pytest.raises(InvalidSettingError, match=r"set WOPR_TASKS_ARCHIVE to a directory\.$"):
        Settings(keep_success="30d archive")


def told(**given: object) -> list[str]:
    return [str(rule) for rule in Settings(**given).retentions]  # type: ignore[arg-type]


def test_what_is_old_enough_is_archived_where_there_is_an_archive() -> None:
    assert ["success 30 d, then deleted"] == told(keep_success="30d")
    assert ["success 30 d, then archived"] == told(keep_success="30d", archive=Path("old"))
    assert ["success 12 h, then deleted"] == told(keep_success="12h delete", archive=Path("old"))
    assert ["success 20 min, then deleted"] == told(keep_success="20min")
    assert [] == told()


def test_a_rule_of_a_category_counts_there_instead_of_the_general_one() -> None:
    categories = {"mail": {"success": "1d"}, "audit": {"success": "forever", "failed": "1w"}}
    rules = Settings(keep_success="30d", keep_categories=categories).retentions  # type: ignore[arg-type]
    assert [
        ("failed", "audit", ()),
        ("success", "mail", ()),
        ("success", None, ("audit", "mail")),
    ] == [(rule.status.value, rule.category, rule.other_than) for rule in rules]


def test_to_archive_without_an_archive_is_refused_when_the_settings_are_read() -> None:
    with pytest.raises(InvalidSettingError, match="set WOPR_TASKS_ARCHIVE to a directory"):
        Settings(keep_failed="90d archive")


def test_rules_are_read_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WOPR_TASKS_KEEP_SUCCESS", "30d")
    monkeypatch.setenv("WOPR_TASKS_KEEP_FAILED", "")
    monkeypatch.setenv("WOPR_TASKS_ARCHIVE", "")
    monkeypatch.setenv("WOPR_TASKS_KEEP_CATEGORIES", '{"mail": {"failed": "2d"}}')
    assert ["failed of 'mail' 2 d, then deleted", "success 30 d, then deleted"] == told()
