"""The pytest plugin: fixtures for those who ask, nothing for the others."""

from __future__ import annotations

import importlib
import tomllib

import pytest

from support.paths import ROOT
from wopr.testing import plugin

pytest_plugins = ["pytester"]

APPLICATION = """
from wopr import TaskQueue

queue = TaskQueue()

@queue.task
async def send(to: str) -> str:
    return f"sent to {to}"
"""

CONFTEST = """
import application
import pytest

@pytest.fixture
def wopr_app():
    return application.queue
"""


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """Return a project of somebody else, whose tests load the plugins that they name."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile(application=APPLICATION)
    return pytester


def run(suite: pytest.Pytester, *plugins: str, passed: int = 1) -> None:
    """Run the tests in a process of their own; warnings, also about the plugin, are errors."""
    load = [word for name in ("wopr.testing.plugin", *plugins) for word in ("-p", name)]
    if "pytest_asyncio.plugin" in plugins:
        load += ["-o", "asyncio_default_fixture_loop_scope=function"]
    result = suite.runpytest_subprocess("-W", "error", *load)
    result.assert_outcomes(passed=passed)


def test_a_test_gets_the_applications_queue_at_the_time_of_the_clock(
    suite: pytest.Pytester,
) -> None:
    suite.makeconftest(CONFTEST)
    suite.makepyfile("""
        import application
        import pytest
        from wopr.testing import assert_enqueued, drain

        @pytest.mark.asyncio
        async def test_send(wopr_queue, wopr_clock, tmp_path):
            assert wopr_queue is application.queue
            assert wopr_queue.database == tmp_path / "wopr.duckdb"
            await application.send.options(delay=60).enqueue("ada")
            await assert_enqueued(wopr_queue, application.send, ("ada",))
            assert [] == await drain(wopr_queue)
            wopr_clock.advance(60)
            [info] = await drain(wopr_queue)
            assert "sent to ada" == info.result

        @pytest.mark.asyncio
        async def test_the_next_one_starts_empty(wopr_queue):
            assert [] == await wopr_queue.get_tasks()

        def test_afterwards_it_is_as_before():
            assert not application.queue.enabled
    """)
    run(suite, "pytest_asyncio.plugin", passed=3)


def test_without_an_application_the_queue_is_a_new_one(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest
        from wopr.testing import drain

        @pytest.mark.asyncio
        async def test_it(wopr_queue):
            wopr_queue.register_task("note")(lambda: 3)
            await wopr_queue.add_task("note")
            assert [3] == [info.result for info in await drain(wopr_queue)]
    """)
    run(suite, "pytest_asyncio.plugin")


def test_it_works_with_anyio(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"

        @pytest.mark.anyio
        async def test_it(wopr_queue):
            assert [] == await wopr_queue.get_tasks()
    """)
    run(suite, "anyio.pytest_plugin")


def test_suites_that_do_not_ask_load_no_database(suite: pytest.Pytester) -> None:
    suite.makepyfile("""
        import sys

        def test_it():
            assert "wopr" in sys.modules
            assert not {"duckdb", "sqlalchemy", "alembic"} & set(sys.modules)
    """)
    run(suite)


def test_the_package_announces_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for module in project["entry-points"]["pytest11"].values():
        assert plugin is importlib.import_module(module)
