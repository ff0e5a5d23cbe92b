"""Rules, starts and backlogs, in every storage: kept, changed, deleted and counted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from storage.conftest import add, claim, end, fail, later, new_task
from wopr.domain.rule import Rule, RuleKind
from wopr.domain.transition import added
from wopr.ports.storage import Storage

LIMIT, PAUSE, REVOCATION, ALERT, _ = RuleKind
TODAY = datetime(2030, 5, 17, 12, 0, 0, 250_000, tzinfo=UTC)


def rule(kind: RuleKind, name: str, value: str = '{"n":1}') -> Rule:
    return Rule(kind, name, value, TODAY)


async def test_rules_come_back_by_kind_and_name(any_storage: Storage) -> None:
    assert [] == await any_storage.rules()

    await any_storage.save_rules([rule(PAUSE, "b"), rule(LIMIT, "b"), rule(PAUSE, "a")])
    await any_storage.save_rules([rule(ALERT, "ünï 'quoted'\nname", '{"text":"ö\\u0000"}')])

    assert [
        rule(ALERT, "ünï 'quoted'\nname", '{"text":"ö\\u0000"}'),
        rule(LIMIT, "b"),
        rule(PAUSE, "a"),
        rule(PAUSE, "b"),
    ] == await any_storage.rules()


async def test_saving_a_rule_again_changes_it_and_no_other(any_storage: Storage) -> None:
    await any_storage.save_rules([rule(LIMIT, "a"), rule(LIMIT, "b"), rule(PAUSE, "a")])
    changed = Rule(LIMIT, "a", '{"n":2}', TODAY + timedelta(hours=1))

    await any_storage.save_rules([changed, rule(REVOCATION, "a")])

    expected = [changed, rule(LIMIT, "b"), rule(PAUSE, "a"), rule(REVOCATION, "a")]
    assert expected == await any_storage.rules()


async def test_of_a_rule_that_is_saved_twice_at_once_the_last_one_holds(
    any_storage: Storage,
) -> None:
    await any_storage.save_rules([rule(LIMIT, "a", "{}"), rule(LIMIT, "a", '{"n":2}')])

    assert [rule(LIMIT, "a", '{"n":2}')] == await any_storage.rules()


async def test_deleted_rules_are_gone_and_unknown_ones_are_no_error(any_storage: Storage) -> None:
    await any_storage.save_rules([rule(LIMIT, "a"), rule(LIMIT, "b"), rule(PAUSE, "a")])

    await any_storage.delete_rules([(LIMIT, "a"), (PAUSE, "b"), (ALERT, "x")])

    assert [rule(LIMIT, "b"), rule(PAUSE, "a")] == await any_storage.rules()


async def test_saving_and_deleting_nothing_changes_nothing(any_storage: Storage) -> None:
    await any_storage.save_rules([rule(LIMIT, "a")])

    await any_storage.save_rules([])
    await any_storage.delete_rules([])

    assert [rule(LIMIT, "a")] == await any_storage.rules()


async def test_starts_are_those_of_the_category_since_the_moment_in_order(
    any_storage: Storage,
) -> None:
    first, second, other, unclaimed = [
        await add(any_storage, category) for category in ("c", "c", "d", "c")
    ]
    await claim(any_storage, first, later(1))
    await claim(any_storage, other, later(2))
    await claim(any_storage, second, later(3))
    await fail(any_storage, first)
    await claim(any_storage, first, later(5))
    await end(any_storage, first)

    async def starts(since: datetime) -> list[tuple[datetime, str]]:
        found = await any_storage.starts("c", since)
        assert all("[1]" == record.args for _, record in found)
        return [(moment, record.id) for moment, record in found]

    everything = [(later(1), first.id), (later(3), second.id), (later(5), first.id)]
    assert everything == await starts(later(0))
    assert everything == await starts(later(1))
    assert everything[1:] == await starts(later(1.5))
    assert [] == await starts(later(6))
    assert [] == await any_storage.starts("none", later(0))
    assert "pending" == unclaimed.status.value


async def test_the_backlog_is_what_may_still_start_for_whatever_reason(
    any_storage: Storage,
) -> None:
    assert 0 == await any_storage.backlog("c")
    await add(any_storage)
    await add(any_storage, run_at=later(3600))
    await add(any_storage, "d")
    again, started, ended = [await add(any_storage) for _ in range(3)]
    for record in (again, started, ended):
        await claim(any_storage, record)
    await fail(any_storage, again)
    await end(any_storage, ended)

    assert "retry" == again.status.value
    assert "started" == started.status.value
    assert 3 == await any_storage.backlog("c")
    assert 1 == await any_storage.backlog("d")


async def test_the_backlog_has_what_was_submitted_and_is_not_committed_yet(
    any_storage: Storage,
) -> None:
    record = new_task()
    told: list[BaseException | None] = []

    any_storage.submit([(record, added(record))], told.append, urgent=False)

    assert [] == told
    assert 1 == await any_storage.backlog("c")
