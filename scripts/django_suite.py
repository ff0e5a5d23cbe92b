"""Run Django's own tests of its tasks with wopr in the place of Django's backends.

The tests know two backends: one keeps calls, the other one runs them at once. Here both are
wopr's backend, with workers that wait, and with workers that the caller waits for.
"""

from __future__ import annotations

import argparse
import inspect
import os
import shutil
import sys
import tempfile
import unittest
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

EXPECTED = {
    "tasks.test_immediate_backend.ImmediateBackendTestCase": {
        "test_cannot_get_result": "wopr keeps results",
        "test_cannot_refresh_result": "wopr keeps results",
        "test_cannot_pass_run_after": "wopr has run_after",
        "test_throws_keyboard_interrupt": "a worker runs the task: its attempt fails, the caller "
        "is not interrupted",
        "test_complex_return_value": "the error is wopr.PayloadError, a TypeError that is never "
        "retried",
    },
    "tasks.test_dummy_backend.DummyBackendTestCase": {
        "test_refresh_result": "the test changes an object in memory; wopr reads rows",
        "test_refresh_result_async": "the test changes an object in memory; wopr reads rows",
    },
}
"""The tests that fail, and why that is right; a test that doesn't any more is told."""

PATIENCE = 60


def main() -> int:
    """Run the tests; return 0 if all pass but the expected ones."""
    parser = argparse.ArgumentParser(prog="scripts/django_suite", description=__doc__)
    parser.add_argument("source", nargs="?", default=os.environ.get("DJANGO_SOURCE"))
    source = parser.parse_args().source
    tests = Path(source or ".").resolve() / "tests"
    if not (tests / "tasks" / "test_tasks.py").is_file():
        parser.error(f"{tests} has no tests of tasks. Name a folder with Django's sources, 6.0 on.")
    sys.path.insert(0, str(tests))
    folder = tempfile.mkdtemp(prefix="wopr-django-suite-")
    try:
        return _run(Path(folder))
    finally:
        shutil.rmtree(folder)


def _run(folder: Path) -> int:
    import django
    from django.conf import settings
    from django.test.utils import get_runner

    settings.configure(
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
        INSTALLED_APPS=[],
        SECRET_KEY="not a secret",
        USE_TZ=True,
    )
    django.setup()
    close = _take_the_place_of_djangos(folder)
    for name, cases in EXPECTED.items():
        found = unittest.defaultTestLoader.loadTestsFromName(name)
        for case in {type(test) for test in found}:  # type: ignore[attr-defined]
            for method in cases:
                setattr(case, method, _expected_to_fail(getattr(case, method)))
    try:
        failures: int = get_runner(settings)(verbosity=1).run_tests(["tasks"])
    finally:
        close()
    for name, cases in EXPECTED.items():
        for method, why in cases.items():
            print(f"expected: {name.rpartition('.')[2]}.{method}: {why}")
    return int(bool(failures))


def _expected_to_fail(method: Any) -> Any:
    from asgiref.sync import async_to_sync

    def call(test: unittest.TestCase) -> None:
        if inspect.iscoroutinefunction(method):
            async_to_sync(method)(test)
        else:
            method(test)

    return unittest.expectedFailure(call)


def _take_the_place_of_djangos(folder: Path) -> Any:
    from django.tasks.backends import dummy, immediate

    from wopr import TaskQueue
    from wopr.integrations.django import WoprBackend
    from wopr.integrations.djangosignals import tell_signals
    from wopr.integrations.serving import bridge_of

    held = TaskQueue(enabled=True, database=folder / "tasks-0.duckdb")
    sync = bridge_of(held)
    tell_signals(held)

    class Waiting(WoprBackend):
        """Keeps calls; `clear` forgets them."""

        queue = held  # its options are to be none

        def clear(self) -> None:
            sync.close()
            number = int(held.database.stem.rpartition("-")[2])
            held.database = folder / f"tasks-{number + 1}.duckdb"

        @property
        def results(self) -> list[Any]:
            found = sync(held.get_tasks)
            return [self.get_result(info.id) for info in reversed(found)]

    class Running(Waiting):
        """Runs a call before `enqueue` returns, but not before Django is told of it."""

        def enqueue(self, task: Any, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
            result = super().enqueue(task, args, kwargs)
            if not held.workers:
                sync(held.start_workers)
            sync(held.resume, "default")
            sync(held.wait, result.id, PATIENCE)
            sync(held.pause, "default")  # so that the next one is told first, too
            result.refresh()
            return result

    dummy.DummyBackend, immediate.ImmediateBackend = Waiting, Running  # type: ignore[misc]
    return sync.close


if __name__ == "__main__":
    sys.exit(main())
