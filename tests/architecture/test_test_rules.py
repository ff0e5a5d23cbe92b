"""Rules for the tests themselves."""

from __future__ import annotations

import ast

import pytest

from support.paths import ROOT
from support.sources import Source, calls, sources_under

TESTS = [pytest.param(s, id=s.name) for s in sources_under(ROOT / "tests")]

MAY_SLEEP: dict[str, str] = {
    "tests/faults/crash/nursery.py": "kills at random moments, and polls a file of another process",
    "tests/faults/crash/scenario.py": "a child's rhythm: quiet moments in which it folds",
    "tests/faults/failing/conftest.py": "polls for what must happen, with a limit",
    "tests/faults/failing/full_disk.py": "polls for what must happen, with a limit",
    "tests/faults/failing/test_failing_commits.py": "measures how often something is tried",
    "tests/faults/failing/test_failing_tables.py": "the same",
    "tests/faults/fleet/campaign.py": "polls a file that other processes write",
    "tests/faults/fleet/life.py": "a host's rhythm, until it is killed",
    "tests/faults/fleet/proxy.py": "a line that is slow",
    "tests/faults/fleet/server.py": "polls until what the server was before has ended",
    "tests/faults/fleet/test_network.py": "so long a network is away",
    "tests/faults/fleet/test_worlds.py": "polls what a line has counted, with a limit",
    "tests/faults/fleet/storm.py": "random moments for what happens, and how long it lasts",
    "tests/moving/client.py": "a client's rhythm, while a queue moves",
    "tests/moving/test_pause.py": "so long as what hosts were told counts for: nothing may happen",
    "tests/simulation/test_loop.py": "on virtual time, which is what it is about",
    "tests/simulation/universe.py": "on virtual time",
    "tests/simulation/fleet/universe.py": "virtual time: callers pause between their deeds",
    "tests/remote/test_rolling_restarts.py": "callers' rhythm, and random moments for owners to go",
    "tests/support/celeryworkers.py": "polls what other processes say and leave, with a limit",
    "tests/support/poolers.py": "polls for the socket of PgBouncer, with a limit",
}
"""Files whose tests sleep, and why nothing better exists: a signal, a clock that the test
sets, or a wait with a timeout is better. ``sleep(0)`` yields to the loop and is free."""

SLEEPS = {"time.sleep", "asyncio.sleep"}


def is_test_code(source: Source, line: int) -> bool:
    """Tell whether the line runs in the test itself, not in a task that plays "slow work".

    A sleep inside a nested function is the work of a task, whose length the test does not
    wait for by luck.
    """
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    around = [
        node
        for node in ast.walk(source.tree)
        if isinstance(node, functions) and node.lineno <= line <= (node.end_lineno or line)
    ]
    return len(around) <= 1


def is_free(call: ast.Call) -> bool:
    """Tell whether the call is ``sleep(0)``, which only yields."""
    return [getattr(argument, "value", None) for argument in call.args] == [0]


def sleeps_of(source: Source) -> list[str]:
    return [
        f"{source.name}:{call.lineno} {name}"
        for call, name in calls(source.tree)
        if name in SLEEPS and not is_free(call) and is_test_code(source, call.lineno)
    ]


@pytest.mark.parametrize("source", TESTS)
def test_tests_wait_for_signals_not_for_luck(source: Source) -> None:
    if source.name in MAY_SLEEP:
        assert sleeps_of(source), f"{source.name} no longer sleeps: take it off the list"
    else:
        assert sleeps_of(source) == []


@pytest.mark.parametrize("source", TESTS)
def test_a_skipped_test_says_why(source: Source) -> None:
    silent = [
        f"{source.name}:{node.lineno}"
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Attribute)
        and node.attr in {"skip", "skipif", "xfail"}
        and isinstance(node.value, ast.Attribute)
        and node.value.attr == "mark"
        and not _has_reason(source.tree, node)
    ]
    assert silent == []


def _has_reason(tree: ast.Module, mark: ast.Attribute) -> bool:
    return any(
        any(keyword.arg == "reason" for keyword in node.keywords)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and node.func is mark
    )
